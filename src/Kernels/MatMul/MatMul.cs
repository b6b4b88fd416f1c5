using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>The sizes of <see cref="Batch"/> products [M, K] x [K, N].</summary>
internal readonly record struct MatMulShape(int Batch, int M, int N, int K)
{
    /// <summary>Whether the results above the diagonal are not wanted: panels may leave them out.</summary>
    public bool LowerTriangle { get; init; }

    /// <summary>A type of 16 bits that all numbers of both operands are of, though float32; Float32 if nothing is known.</summary>
    public ElementType Operands { get; init; }
}

/// <summary>
/// Matrices in a slice, read through strides in elements: transposition swaps <see cref="RowStride"/> and <see cref="ColumnStride"/>,
/// a matrix that is shared by the whole batch has <see cref="BatchStride"/> 0.
/// </summary>
internal readonly record struct Matrix(Slice Data, int RowStride, int ColumnStride, int BatchStride)
{
    /// <summary>Row-major matrices of <paramref name="columns"/> columns, one after the other.</summary>
    public static Matrix RowMajor(Slice data, int rows, int columns) => new(data, columns, 1, rows * columns);

    /// <summary>The same numbers, read with rows and columns exchanged.</summary>
    public Matrix Transposed => this with { RowStride = ColumnStride, ColumnStride = RowStride };
}

/// <summary>
/// Batched matrix product: c[batch] = epilogue(a[batch] b[batch]) with c row-major [Batch, M, N]. This is the one place that chooses the variant:
/// packed SIMD tiles or vector kernels on the CPU's direct path, on CUDA what <see cref="TunedMatMul"/> serves, the portable kernels elsewhere. In no variant does the order of a sum depend on the number of workers.
/// </summary>
internal static class MatMul
{
    /// <summary>The plain product, in the type of <paramref name="c"/>.</summary>
    public static void Run(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, Slice c)
    {
        if (c.Type == ElementType.Float64)
            Run<double>(device, shape, a, b, c);
        else
            Run<float>(device, shape, a, b, c);
    }

    private static void Run<T>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, Slice c) where T : unmanaged
    {
        bool gram = device.IsDirect && GramProduct.Serves(shape, a, b);
        Run<T, Identity<T>>(device, shape with { LowerTriangle = gram }, a, b, c, default);
        if (gram)
            GramProduct.Mirror<T>(device, c, shape.M);
    }

    /// <summary>The product plus a bias for each column, [N] and contiguous.</summary>
    public static void Run(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, Slice bias, Slice c)
    {
        if (c.Type == ElementType.Float64)
            Run<double, ColumnBias<double, Same>>(device, shape, a, b, c, new(bias.View<double>(), default));
        else
            Run<float, ColumnBias<float, Same>>(device, shape, a, b, c, new(bias.View<float>(), default));
    }

    /// <summary>The product with an epilogue that runs on the sums before they are stored.</summary>
    public static void Run<T, E>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, Slice c, E epilogue)
        where T : unmanaged where E : struct, IEpilogue<T>
    {
        Run<T, RowMajor<T, E>>(device, shape, a, b, new RowMajor<T, E>(c.View<T>(), shape.M, shape.N, epilogue));
    }

    /// <summary>As <see cref="Run{T, E}"/>, added to what <paramref name="c"/> holds.</summary>
    public static void Accumulate<T, E>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, Slice c, E epilogue)
        where T : unmanaged where E : struct, IEpilogue<T>
    {
        Run<T, AddedRowMajor<T, E>>(device, shape, a, b, new AddedRowMajor<T, E>(c.View<T>(), shape.M, shape.N, epilogue));
    }

    /// <summary>The product into any output: where each sum goes, and what is done to it first, is the output's affair.</summary>
    public static void Run<T, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output) where T : unmanaged where O : struct, IOutput<T>
    {
        if (shape.Batch == 0 || shape.M == 0 || shape.N == 0)
            return;
        if (device.IsDirect)
            RunDirect<T, O>(device, shape, a, b, output);
        else if (!TunedMatMul.TryRun<T, MatrixLines<T>, MatrixLines<T>, O>(device, shape, new(a, isLeft: true), new(b, isLeft: false), output))
            PortableMatMul.Run<T, O>(device, shape, a, b, output);
    }

    private static void RunDirect<T, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output) where T : unmanaged where O : struct, IOutput<T>
    {
        if (Vector512.IsHardwareAccelerated)
            RunDirect<T, Simd512<T>, O>(device, shape, a, b, output);
        else if (Vector256.IsHardwareAccelerated)
            RunDirect<T, Simd256<T>, O>(device, shape, a, b, output);
        else
            RunDirect<T, Simd128<T>, O>(device, shape, a, b, output);
    }

    private static unsafe void RunDirect<T, L, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where L : unmanaged, ILane<L, T> where O : struct, IOutput<T>
    {
        if (VectorProduct.TryRun<T, L, O>(device, shape, a, b, output))
            return;
        // A column or two past the last whole panel cost a tile as much as a whole vector of them: they are dot products with the rows of A.
        int width = PackedProduct.PanelColumns<T, L>(), odd = shape.N % width;
        if (odd > 2 || shape.N < width || shape.M < width || a.ColumnStride != 1)
            odd = 0;
        var left = new StridedPanels<T>(a.Data.Pointer<T>(), a.RowStride, a.ColumnStride, a.BatchStride);
        var right = new StridedPanels<T>(b.Data.Pointer<T>(), b.ColumnStride, b.RowStride, b.BatchStride);
        PackedProduct.Run<T, L, StridedPanels<T>, StridedPanels<T>, O>(device, shape with { N = shape.N - odd }, left, right, output);
        for (int column = shape.N - odd; column < shape.N; column++)
        {
            var vector = b with { Data = b.Data with { Offset = b.Data.Offset + column * b.ColumnStride } };
            var work = new ShiftedOutput<T, O>(output, column);
            if (!VectorProduct.TryRun<T, L, ShiftedOutput<T, O>>(device, shape with { N = 1 }, a, vector, work))
            {
                right = new StridedPanels<T>(vector.Data.Pointer<T>(), b.ColumnStride, b.RowStride, b.BatchStride);
                PackedProduct.Run<T, L, StridedPanels<T>, StridedPanels<T>, ShiftedOutput<T, O>>(device, shape with { N = 1 }, left, right, work);
            }
        }
    }
}
