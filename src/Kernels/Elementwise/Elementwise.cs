using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>The drivers of all element-wise functions: one kernel for an arity, whatever the function, the type and the device.</summary>
internal static class Elementwise
{
    /// <summary>y = f(x) over contiguous slices; x and y may be the same.</summary>
    public static void Map<F>(ComputeDevice device, F function, in Slice x, in Slice y) where F : struct, IUnary
    {
        if (x.Type == ElementType.Float64)
            Map<double, F>(device, function, x, y);
        else
            Map<float, F>(device, function, x, y);
    }

    /// <summary>y = f(a, b) over contiguous slices of one length; y may be a or b.</summary>
    public static void Zip<F>(ComputeDevice device, F function, in Slice a, in Slice b, in Slice y) where F : struct, IBinary
    {
        if (a.Type == ElementType.Float64)
            Zip<double, F>(device, function, a, b, y);
        else
            Zip<float, F>(device, function, a, b, y);
    }

    /// <summary>y = f(a, b) where a and b are walked through by strides, 0 on a broadcast axis; y is contiguous in <paramref name="shape"/>.</summary>
    public static void Zip<F>(ComputeDevice device, F function, ReadOnlySpan<int> shape, in Slice a, int[] aStrides, in Slice b, int[] bStrides, in Slice y)
        where F : struct, IBinary
    {
        var layout = new StridedLayout(shape, aStrides, bStrides);
        if (a.Type == ElementType.Float64)
            Zip<double, F>(device, function, layout, a, b, y);
        else
            Zip<float, F>(device, function, layout, a, b, y);
    }

    /// <summary>y = f(a, b, c) over strided operands, as the strided <c>Zip</c>.</summary>
    public static void Zip<F>(
        ComputeDevice device, F function, ReadOnlySpan<int> shape, in Slice a, int[] aStrides, in Slice b, int[] bStrides, in Slice c, int[] cStrides, in Slice y)
        where F : struct, ITernary
    {
        var layout = new StridedLayout(shape, aStrides, bStrides, cStrides);
        if (a.Type == ElementType.Float64)
            Zip<double, F>(device, function, layout, a, b, c, y);
        else
            Zip<float, F>(device, function, layout, a, b, c, y);
    }

    private static void Map<T, F>(ComputeDevice device, F function, in Slice x, in Slice y) where T : unmanaged where F : struct, IUnary
    {
        int chunk = device.ChunkOf(y.Length);
        device.Launch<T, MapKernel<T, F>>(Chunks(y.Length, chunk), new(function, x.View<T>(), y.View<T>(), chunk, y.Length));
    }

    private static void Zip<T, F>(ComputeDevice device, F function, in Slice a, in Slice b, in Slice y) where T : unmanaged where F : struct, IBinary
    {
        int chunk = device.ChunkOf(y.Length);
        device.Launch<T, ZipKernel<T, F>>(Chunks(y.Length, chunk), new(function, a.View<T>(), b.View<T>(), y.View<T>(), chunk, y.Length));
    }

    private static void Zip<T, F>(ComputeDevice device, F function, StridedLayout layout, in Slice a, in Slice b, in Slice y)
        where T : unmanaged where F : struct, IBinary
    {
        int n = layout.Count, chunk = device.ChunkOf(n);
        for (int launch = 0; launch < layout.Outer; launch++)
        {
            device.Launch<T, StridedZipKernel<T, F>>(Chunks(n, chunk), new(
                function, new(layout), Strided<T>(a, layout, 0, launch), layout.Strides(0), Strided<T>(b, layout, 1, launch), layout.Strides(1),
                y.Block.View<T>(y.Offset + launch * n, n), chunk));
        }
    }

    private static void Zip<T, F>(ComputeDevice device, F function, StridedLayout layout, in Slice a, in Slice b, in Slice c, in Slice y)
        where T : unmanaged where F : struct, ITernary
    {
        int n = layout.Count, chunk = device.ChunkOf(n);
        for (int launch = 0; launch < layout.Outer; launch++)
        {
            device.Launch<T, StridedZip3Kernel<T, F>>(Chunks(n, chunk), new(
                function, new(layout), Strided<T>(a, layout, 0, launch), layout.Strides(0), Strided<T>(b, layout, 1, launch), layout.Strides(1),
                Strided<T>(c, layout, 2, launch), layout.Strides(2), y.Block.View<T>(y.Offset + launch * n, n), chunk));
        }
    }

    private static ArrayView<T> Strided<T>(in Slice slice, StridedLayout layout, int operand, int launch) where T : unmanaged
    {
        int start = layout.OuterOffset(operand, launch);
        return slice.Block.View<T>(slice.Offset + start, slice.Length - start);
    }

    private static int Chunks(int n, int chunk) => (n + chunk - 1) / chunk;
}

/// <summary>One work item: <c>chunk</c> elements of y = f(x).</summary>
internal readonly struct MapKernel<T, F>(F function, ArrayView<T> x, ArrayView<T> y, int chunk, int n) : IKernel<T>
    where T : unmanaged where F : struct, IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (f, source, destination) = (function, x, y);
        int i = item * chunk, end = Math.Min(i + chunk, n);
        for (; i + L.Width <= end; i += L.Width)
            L.Store(destination, i, f.Apply<L, T>(L.Load(source, i)));
        if (i < end)
            L.Store(destination, i, end - i, f.Apply<L, T>(L.Load(source, i, end - i, L.Constant(1))));
    }
}

/// <summary>One work item: <c>chunk</c> elements of y = f(a, b), all contiguous.</summary>
internal readonly struct ZipKernel<T, F>(F function, ArrayView<T> a, ArrayView<T> b, ArrayView<T> y, int chunk, int n) : IKernel<T>
    where T : unmanaged where F : struct, IBinary
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (f, left, right, destination) = (function, a, b, y);
        int i = item * chunk, end = Math.Min(i + chunk, n);
        for (; i + L.Width <= end; i += L.Width)
            L.Store(destination, i, f.Apply<L, T>(L.Load(left, i), L.Load(right, i)));
        if (i < end)
            L.Store(destination, i, end - i, f.Apply<L, T>(L.Load(left, i, end - i, L.Constant(1)), L.Load(right, i, end - i, L.Constant(1))));
    }
}

/// <summary>Where linear positions of a strided iteration lie on its four axes.</summary>
internal readonly struct RowGrid(int n1, int n2, int n3, int n)
{
    public readonly int Inner = n3, Count = n;

    public RowGrid(StridedLayout layout) : this(layout.Size(1), layout.Size(2), layout.Size(3), layout.Count)
    {
    }

    /// <summary>Where an operand's row starts.</summary>
    public int Start(int row, Strides4 strides)
    {
        int i2 = row % n2, rest = row / n2;
        return strides.Row(rest / n1, rest % n1, i2);
    }
}

/// <summary>One work item: <c>chunk</c> elements of y = f(a, b), row by row; an operand's innermost stride may be 1, 0 (one value for the row) or any other.</summary>
internal readonly struct StridedZipKernel<T, F>(F function, RowGrid grid, ArrayView<T> a, Strides4 aStrides, ArrayView<T> b, Strides4 bStrides, ArrayView<T> y, int chunk)
    : IKernel<T> where T : unmanaged where F : struct, IBinary
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (f, left, right, destination) = (function, a, b, y);
        int sa = aStrides.S3, sb = bStrides.S3, i = item * chunk, end = Math.Min(i + chunk, grid.Count);
        while (i < end)
        {
            int row = i / grid.Inner, column = i - row * grid.Inner, run = Math.Min(grid.Inner - column, end - i);
            int ia = grid.Start(row, aStrides) + column * sa, ib = grid.Start(row, bStrides) + column * sb;
            for (int j = 0; j < run; j += L.Width)
                L.Store(destination, i + j, run - j, f.Apply<L, T>(Rows.Load<L, T>(left, ia, sa, j, run - j), Rows.Load<L, T>(right, ib, sb, j, run - j)));
            i += run;
        }
    }
}

/// <summary>As <see cref="StridedZipKernel{T, F}"/> with three operands.</summary>
internal readonly struct StridedZip3Kernel<T, F>(
    F function, RowGrid grid, ArrayView<T> a, Strides4 aStrides, ArrayView<T> b, Strides4 bStrides, ArrayView<T> c, Strides4 cStrides, ArrayView<T> y, int chunk)
    : IKernel<T> where T : unmanaged where F : struct, ITernary
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (f, first, second, third, destination) = (function, a, b, c, y);
        int sa = aStrides.S3, sb = bStrides.S3, sc = cStrides.S3, i = item * chunk, end = Math.Min(i + chunk, grid.Count);
        while (i < end)
        {
            int row = i / grid.Inner, column = i - row * grid.Inner, run = Math.Min(grid.Inner - column, end - i);
            int ia = grid.Start(row, aStrides) + column * sa, ib = grid.Start(row, bStrides) + column * sb, ic = grid.Start(row, cStrides) + column * sc;
            for (int j = 0; j < run; j += L.Width)
            {
                L.Store(destination, i + j, run - j, f.Apply<L, T>(
                    Rows.Load<L, T>(first, ia, sa, j, run - j), Rows.Load<L, T>(second, ib, sb, j, run - j), Rows.Load<L, T>(third, ic, sc, j, run - j)));
            }
            i += run;
        }
    }
}

/// <summary>Loads from rows of any stride.</summary>
internal static class Rows
{
    /// <summary>Elements j, j + 1, ... of a row that starts at <paramref name="start"/>, of which <paramref name="remaining"/> are left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<L, T>(ArrayView<T> view, int start, int stride, int j, int remaining) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        stride == 1 ? L.Load(view, start + j, remaining, L.Constant(1))
        : stride == 0 ? L.Splat(L.At(view, start))
        : L.Gather(view, start + j * stride, stride, remaining);
}
