using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// As <see cref="StagedProduct{T, V, A, B, O}"/>, over float32 rounded to 16 bits on its way to shared memory: a thread reads the numbers of the next stage while this one is
/// computed with, and rounds and stores them behind it. For CUDA from compute capability 8.0 on.
/// </summary>
internal readonly struct NarrowProduct<T, V, A, B, O>(ProductSizes sizes, ProductOperand<T, A> a, ProductOperand<T, B> b, O output) : IGroupKernel<T>
    where T : unmanaged where V : unmanaged, INarrowVariant where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
{
    private readonly ProductSizes sizes = sizes;
    private readonly ProductOperand<T, A> a = a;
    private readonly ProductOperand<T, B> b = b;
    private readonly O output = output;

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        var memory = SharedMemory.Allocate<T>(ProductTile.NarrowSharedFloats);
        int thread = Group.IdxX;
        var place = new TilePlace(sizes);
        var walkA = new TileWalk(a.Source.RunsAlongK, thread);
        var walkB = new TileWalk(b.Source.RunsAlongK, thread);
        Ptx.Begin();
        V.Place(thread);
        Keep(Read<L, A>(a, walkA, place.Batch, place.Row, 0), walkA, 0);
        Keep(Read<L, B>(b, walkB, place.Batch, place.Column, 0), walkB, ProductTile.NarrowStageBytes / 2);
        Group.Barrier();
        int stage = 0;
        for (int k = 0; k < sizes.K; k += ProductTile.Depth)
        {
            var nextA = Read<L, A>(a, walkA, place.Batch, place.Row, k + ProductTile.Depth);
            var nextB = Read<L, B>(b, walkB, place.Batch, place.Column, k + ProductTile.Depth);
            V.Multiply(stage);
            stage = ProductTile.NarrowStageBytes - stage;
            Keep(nextA, walkA, stage);
            Keep(nextB, walkB, stage + ProductTile.NarrowStageBytes / 2);
            Group.Barrier();
        }
        Slab<T, V, O>.Store<L>(memory, place, sizes, output, thread);
    }

    /// <summary>A thread's eight numbers of a tile, zeros past the ends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Eight Read<L, S>(in ProductOperand<T, S> operand, in TileWalk walk, int batch, int first, int k) where L : unmanaged, ILane<L, T> where S : struct, ITileSource<T> => new(
        Read<L, S>(operand, walk, batch, first, k, 0), Read<L, S>(operand, walk, batch, first, k, 1), Read<L, S>(operand, walk, batch, first, k, 2), Read<L, S>(operand, walk, batch, first, k, 3),
        Read<L, S>(operand, walk, batch, first, k, 4), Read<L, S>(operand, walk, batch, first, k, 5), Read<L, S>(operand, walk, batch, first, k, 6), Read<L, S>(operand, walk, batch, first, k, 7));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float Read<L, S>(in ProductOperand<T, S> operand, in TileWalk walk, int batch, int first, int k, int i) where L : unmanaged, ILane<L, T> where S : struct, ITileSource<T>
    {
        int line = first + walk.Line + i * walk.LineStep, depth = k + walk.Depth + i * walk.DepthStep;
        int at = line < operand.Lines && depth < sizes.K ? operand.Source.Place(batch, line, depth) : -1;
        return at >= 0 ? L.At(operand.Source.Data.Cast<float>(), at) : 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Keep(in Eight numbers, in TileWalk walk, int to)
    {
        Keep(numbers.X0, walk, to, 0);
        Keep(numbers.X1, walk, to, 1);
        Keep(numbers.X2, walk, to, 2);
        Keep(numbers.X3, walk, to, 3);
        Keep(numbers.X4, walk, to, 4);
        Keep(numbers.X5, walk, to, 5);
        Keep(numbers.X6, walk, to, 6);
        Keep(numbers.X7, walk, to, 7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Keep(float number, in TileWalk walk, int to, int i) =>
        V.Convert(to + ProductTile.NarrowAt(walk.Depth + i * walk.DepthStep, walk.Line + i * walk.LineStep), number);

    /// <summary>Numbers in registers: a struct's fields stay there, an array's elements do not.</summary>
    private readonly struct Eight(float x0, float x1, float x2, float x3, float x4, float x5, float x6, float x7)
    {
        public readonly float X0 = x0, X1 = x1, X2 = x2, X3 = x3, X4 = x4, X5 = x5, X6 = x6, X7 = x7;
    }
}
