using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>The products of GPUs, and the plain one that is always right.</summary>
internal static class PortableMatMul
{
    /// <summary>The smallest size of every axis for which tiles pay.</summary>
    private const int SmallestTiled = 16;

    /// <summary>Tiles in shared memory where all axes are long; else one work item for each sum. On ILGPU's CPU accelerator barriers cost more than they save.</summary>
    public static void Run<T, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output) where T : unmanaged where O : struct, IOutput<T>
    {
        if (device.IsEmulated || shape.M < SmallestTiled || shape.N < SmallestTiled || shape.K < SmallestTiled)
            Reference<T, O>(device, shape, a, b, output);
        else
            Tiled<T, Side16, O>(device, shape, a, b, output);
    }

    /// <summary>Tiles in shared memory, of one size.</summary>
    public static void Tiled<T, S, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where S : unmanaged, IGroupSide where O : struct, IOutput<T> =>
        Tiled<T, S, MatrixLines<T>, MatrixLines<T>, O>(device, shape, new(a, isLeft: true), new(b, isLeft: false), output);

    /// <summary>Tiles in shared memory, of operands that need not be matrices in memory.</summary>
    public static void Tiled<T, S, A, B, O>(ComputeDevice device, in MatMulShape shape, A a, B b, O output)
        where T : unmanaged where S : unmanaged, IGroupSide where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
    {
        int tile = 4 * S.Side, tiles = shape.Batch * ((shape.M + tile - 1) / tile) * ((shape.N + tile - 1) / tile);
        device.LaunchGroups<T, TiledProduct<T, S, A, B, O>>(new(tiles, S.Side * S.Side), new(new(shape), a, b, output));
    }

    /// <summary>One work item for each sum, on any machine: the oracle of all other variants.</summary>
    public static void Reference<T, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where O : struct, IOutput<T> =>
        device.Launch<T, ReferenceProduct<T, O>>(shape.Batch * shape.M * shape.N, new(new(shape), new(a), new(b), a.Data.View<T>(), b.Data.View<T>(), output));
}

/// <summary>The sizes of a product, as a kernel's argument.</summary>
internal readonly struct ProductSizes(in MatMulShape shape)
{
    public readonly int M = shape.M, N = shape.N, K = shape.K;
}

/// <summary>The strides of a matrix, as a kernel's argument.</summary>
internal readonly struct MatrixStrides(in Matrix matrix)
{
    public readonly int Row = matrix.RowStride, Column = matrix.ColumnStride, Batch = matrix.BatchStride;
}

/// <summary>One work item computes one sum.</summary>
internal readonly struct ReferenceProduct<T, O>(ProductSizes sizes, MatrixStrides aStrides, MatrixStrides bStrides, ArrayView<T> a, ArrayView<T> b, O output) : IKernel<T>
    where T : unmanaged where O : struct, IOutput<T>
{
    private readonly ProductSizes sizes = sizes;
    private readonly MatrixStrides aStrides = aStrides, bStrides = bStrides;
    private readonly ArrayView<T> a = a, b = b;
    private readonly O output = output;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        int line = item / sizes.N, column = item - line * sizes.N, batch = line / sizes.M, row = line - batch * sizes.M;
        int ia = batch * aStrides.Batch + row * aStrides.Row, ib = batch * bStrides.Batch + column * bStrides.Column;
        var sum = L.Constant(0);
        for (int k = 0; k < sizes.K; k++, ia += aStrides.Column, ib += bStrides.Row)
            sum = L.MultiplyAdd(L.Splat(L.At(a, ia)), L.Splat(L.At(b, ib)), sum);
        output.Store(sum, batch, row, column, 1);
    }
}
