using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// A group computes a tile (<see cref="ProductTile"/>) of a float32 product. Copies that pass the registers by fill stages of shared memory two ahead of the one that
/// is computed with, so that one barrier a stage suffices. For CUDA from compute capability 8.0 on; <typeparamref name="T"/> is float, and a type argument
/// only because outputs have one.
/// </summary>
internal readonly struct StagedProduct<T, V, A, B, O>(ProductSizes sizes, ProductOperand<T, A> a, ProductOperand<T, B> b, O output) : IGroupKernel<T>
    where T : unmanaged where V : unmanaged, IProductVariant where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
{
    private readonly ProductSizes sizes = sizes;
    private readonly ProductOperand<T, A> a = a;
    private readonly ProductOperand<T, B> b = b;
    private readonly O output = output;

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        var memory = SharedMemory.Allocate<T>(ProductTile.SharedFloats);
        int thread = Group.IdxX, steps = (sizes.K + ProductTile.Depth - 1) / ProductTile.Depth;
        var place = new TilePlace(sizes);
        Ptx.Begin();
        V.Place(thread);
        for (int step = 0; step < ProductTile.Stages - 1; step++)
            Fill(place, step, step, thread);
        int stage = 0, next = ProductTile.Stages - 1;
        for (int step = 0; step < steps; step++)
        {
            Ptx.WaitForCopiesButTheLatest();
            Group.Barrier();
            Fill(place, step + ProductTile.Stages - 1, next, thread);
            V.Multiply(stage * ProductTile.StageBytes);
            stage = stage == ProductTile.Stages - 1 ? 0 : stage + 1;
            next = next == ProductTile.Stages - 1 ? 0 : next + 1;
        }
        Ptx.WaitForCopies();
        Slab<T, V, O>.Store<L>(memory, place, sizes, output, thread);
    }

    /// <summary>Starts the copies of a step; past the last one, of none. A group of copies is closed in any case: waiting counts them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Fill(in TilePlace place, int step, int stage, int thread)
    {
        int k = step * ProductTile.Depth;
        if (k < sizes.K)
        {
            Fill(a, place.Batch, place.Row, k, stage * ProductTile.StageBytes, thread);
            Fill(b, place.Batch, place.Column, k, stage * ProductTile.StageBytes + ProductTile.StageBytes / 2, thread);
        }
        Ptx.CommitCopies();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Fill<S>(in ProductOperand<T, S> operand, int batch, int first, int k, int to, int thread) where S : struct, ITileSource<T>
    {
        if (operand.Wide != 0)
        {
            int line = 4 * (thread & 31), present = IntrinsicMath.Clamp(operand.Lines - first - line, 0, 4);
            for (int depth = thread >> 5; depth < ProductTile.Depth; depth += 8)
            {
                int count = k + depth < sizes.K ? present : 0;
                int from = count > 0 ? operand.Source.Place(batch, first + line, k + depth) : 0;
                Ptx.Copy16(to + ProductTile.At(depth, line), operand.Address + 4L * from, 4 * count);
            }
            return;
        }
        var walk = new TileWalk(operand.Source.RunsAlongK, thread);
        for (int i = 0; i < ProductTile.Numbers / ProductTile.Threads; i++)
        {
            int line = walk.Line + i * walk.LineStep, depth = walk.Depth + i * walk.DepthStep;
            int from = first + line < operand.Lines && k + depth < sizes.K ? operand.Source.Place(batch, first + line, k + depth) : -1;
            Ptx.Copy4(to + ProductTile.At(depth, line), operand.Address + 4L * IntrinsicMath.Max(from, 0), from >= 0 ? 4 : 0);
        }
    }
}

/// <summary>The eight numbers of a tile that a thread brings, so that neighbouring threads read neighbours in memory.</summary>
internal readonly struct TileWalk(int runsAlongK, int thread)
{
    public readonly int Line = runsAlongK != 0 ? thread >> 4 : thread & 127, Depth = runsAlongK != 0 ? thread & 15 : thread >> 7;
    public readonly int LineStep = runsAlongK != 0 ? 16 : 0, DepthStep = runsAlongK != 0 ? 0 : 2;
}

/// <summary>Takes a tile's sums out, through shared memory: there neighbouring threads hold neighbouring columns, whatever the fragments' layout was.</summary>
internal static class Slab<T, V, O> where T : unmanaged where V : unmanaged, IProductVariant where O : struct, IOutput<T>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(ArrayView<T> memory, in TilePlace place, in ProductSizes sizes, in O output, int thread) where L : unmanaged, ILane<L, T>
    {
        for (int pass = 0; pass < ProductTile.Passes; pass++)
        {
            Group.Barrier(); // the stages, or the pass before, have been read
            V.Store(pass);
            Group.Barrier();
            for (int i = thread; i < ProductTile.SlabRows * ProductTile.Side; i += ProductTile.Threads)
            {
                int slabRow = i >> 7, column = i & (ProductTile.Side - 1), row = place.Row + V.RowOf(pass, slabRow);
                if (row < sizes.M && place.Column + column < sizes.N)
                    output.Store(L.Splat(memory[slabRow * ProductTile.SlabStride + column]), place.Batch, row, place.Column + column, 1);
            }
        }
    }
}
