using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Copies between strided places: permute, expand, slice, concat, pad, flip and their gradients are all this. Elements are moved, not computed
/// with, so 4-byte integers travel as floats, bit for bit, and numbers of 16 bits as integers, one by one.
/// </summary>
internal static class Movement
{
    /// <summary>The rows and columns of one cache block of a transposition: 4 KiB of floats on either side.</summary>
    private const int Tile = 32;

    /// <summary>y = x walked through by strides over <paramref name="shape"/>, 0 on a broadcast axis; y is contiguous. A stride may be negative.</summary>
    public static void CopyStrided(ComputeDevice device, ReadOnlySpan<int> shape, in Slice x, int[] strides, in Slice y) =>
        Copy(device, shape, x, strides, y, Contiguous(shape));

    /// <summary>The inverse: contiguous x into the places of y that strides walk through. No place may be walked through twice.</summary>
    public static void CopyInto(ComputeDevice device, ReadOnlySpan<int> shape, in Slice x, in Slice y, int[] strides) =>
        Copy(device, shape, x, Contiguous(shape), y, strides);

    /// <summary>Copies every element of <paramref name="shape"/> from its place in x to its place in y; each slice starts at its element 0, 0, ...</summary>
    public static void Copy(ComputeDevice device, ReadOnlySpan<int> shape, in Slice x, int[] xStrides, in Slice y, int[] yStrides)
    {
        var layout = new StridedLayout(shape, xStrides, yStrides);
        if (x.Type.IsNarrow())
            CopyNarrow(device, layout, x, y);
        else if (x.Type.Size() == 8)
            Copy<double>(device, layout, x, y);
        else
            Copy<float>(device, layout, x, y);
    }

    /// <summary>Sets every element of a contiguous slice.</summary>
    public static void Fill(ComputeDevice device, in Slice y, double value)
    {
        int chunk = device.ChunkOf(y.Length), items = (y.Length + chunk - 1) / chunk;
        if (y.Type.IsNarrow())
            device.Launch<float, FillNarrowKernel>(items, new(y.View<ushort>(), y.Type == ElementType.Float16 ? BitConverter.HalfToUInt16Bits((System.Half)value) : ((BFloat16)value).Bits, chunk, y.Length));
        else if (y.Type == ElementType.Float64)
            device.Launch<double, FillKernel<double>>(items, new(y.View<double>(), value, chunk, y.Length));
        else
            device.Launch<float, FillKernel<float>>(items, new(y.View<float>(), y.Type == ElementType.Int32 ? BitConverter.Int32BitsToSingle((int)value) : (float)value, chunk, y.Length));
    }

    /// <summary>Adds 1 to an integer.</summary>
    public static void Increment(ComputeDevice device, in Slice y) => device.Launch<float, IncrementKernel>(1, new(y.View<int>()));

    /// <summary>The strides of a contiguous tensor.</summary>
    public static int[] Contiguous(ReadOnlySpan<int> shape)
    {
        var strides = new int[shape.Length];
        for (int axis = shape.Length - 1, step = 1; axis >= 0; step *= shape[axis--])
            strides[axis] = step;
        return strides;
    }

    private static void Copy<T>(ComputeDevice device, StridedLayout layout, in Slice x, in Slice y) where T : unmanaged
    {
        int n = layout.Count;
        if (n == 0)
            return;
        var (sx, sy) = (layout.Strides(0), layout.Strides(1));
        // Whole blocks are viewed, and starts passed as numbers, so that no index is negative where a stride is.
        var (source, destination) = (Whole<T>(x), Whole<T>(y));
        int across = UnitAxis(layout, sx), along = UnitAxis(layout, sy);
        bool transposes = device.IsDirect && across >= 0 && along >= 0 && across != along;
        for (int launch = 0; launch < layout.Outer; launch++)
        {
            int startX = x.Offset + layout.OuterOffset(0, launch), startY = y.Offset + layout.OuterOffset(1, launch);
            if (transposes)
            {
                var plan = new TransposePlan(layout, sx, sy, across, along, Tile);
                device.Launch<T, TransposeKernel<T>>(plan.Items, new(plan, source, startX, destination, startY));
            }
            else
            {
                int chunk = device.ChunkOf(n);
                device.Launch<T, StridedCopyKernel<T>>((n + chunk - 1) / chunk, new(new(layout), source, startX, sx, destination, startY, sy, chunk));
            }
        }
    }

    private static void CopyNarrow(ComputeDevice device, StridedLayout layout, in Slice x, in Slice y)
    {
        int n = layout.Count, chunk = device.ChunkOf(n);
        for (int launch = 0; launch < layout.Outer; launch++)
        {
            device.Launch<float, CopyNarrowKernel>((n + chunk - 1) / chunk, new(
                new(layout), Whole<ushort>(x), x.Offset + layout.OuterOffset(0, launch), layout.Strides(0), Whole<ushort>(y), y.Offset + layout.OuterOffset(1, launch), layout.Strides(1), chunk));
        }
    }

    private static ArrayView<T> Whole<T>(in Slice slice) where T : unmanaged => slice.Block.View<T>(0, slice.Block.Bytes / Unsafe.SizeOf<T>());

    /// <summary>The last axis of more than one element over which neighbours are neighbours in memory, or -1.</summary>
    private static int UnitAxis(StridedLayout layout, Strides4 strides)
    {
        for (int axis = 3; axis >= 0; axis--)
        {
            if (layout.Size(axis) > 1 && strides.At(axis) == 1)
                return axis;
        }
        return -1;
    }
}

/// <summary>One work item: <c>chunk</c> elements copied, row by row.</summary>
internal readonly struct StridedCopyKernel<T>(
    RowGrid grid, ArrayView<T> x, int xStart, Strides4 xStrides, ArrayView<T> y, int yStart, Strides4 yStrides, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (x, y);
        int sx = xStrides.S3, sy = yStrides.S3, i = item * chunk, end = Math.Min(i + chunk, grid.Count);
        while (i < end)
        {
            int row = i / grid.Inner, column = i - row * grid.Inner, run = Math.Min(grid.Inner - column, end - i);
            int from = xStart + grid.Start(row, xStrides) + column * sx, to = yStart + grid.Start(row, yStrides) + column * sy;
            if (sy == 1 && (sx == 1 || sx == 0) && run >= L.Width)
            {
                for (int j = 0; j < run; j += L.Width)
                    L.Store(destination, to + j, run - j, sx == 1 ? L.Load(source, from + j, run - j, L.Constant(0)) : L.Splat(L.At(source, from)));
            }
            else
            {
                for (int j = 0; j < run; j++)
                    L.At(destination, to + j * sy) = L.At(source, from + j * sx);
            }
            i += run;
        }
    }
}

/// <summary>As <see cref="StridedCopyKernel{T}"/>, of numbers of 16 bits.</summary>
internal readonly struct CopyNarrowKernel(
    RowGrid grid, ArrayView<ushort> x, int xStart, Strides4 xStrides, ArrayView<ushort> y, int yStart, Strides4 yStrides, int chunk) : IKernel<float>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
    {
        var (source, destination) = (x, y);
        int sx = xStrides.S3, sy = yStrides.S3, i = item * chunk, end = Math.Min(i + chunk, grid.Count);
        while (i < end)
        {
            int row = i / grid.Inner, column = i - row * grid.Inner, run = Math.Min(grid.Inner - column, end - i);
            int from = xStart + grid.Start(row, xStrides) + column * sx, to = yStart + grid.Start(row, yStrides) + column * sy;
            for (int j = 0; j < run; j++)
                L.At(destination, to + j * sy) = L.At(source, from + j * sx);
            i += run;
        }
    }
}

/// <summary>
/// How a copy that changes which axis is contiguous is cut into cache blocks: <c>across</c> is the axis along which reads are contiguous,
/// <c>along</c> that of the writes; the two other axes are walked through block by block.
/// </summary>
internal readonly struct TransposePlan
{
    public readonly int Across, Along, AcrossStep, AlongStep, AcrossTiles, AlongTiles, Tile, Items;
    private readonly int inner, xInner, xOuter, yInner, yOuter;

    public TransposePlan(StridedLayout layout, Strides4 x, Strides4 y, int across, int along, int tile)
    {
        (Across, Along, Tile) = (layout.Size(across), layout.Size(along), tile);
        (AcrossStep, AlongStep) = (y.At(across), x.At(along));
        (AcrossTiles, AlongTiles) = ((Across + tile - 1) / tile, (Along + tile - 1) / tile);
        int outerAxis = 0;
        while (outerAxis == across || outerAxis == along)
            outerAxis++;
        int innerAxis = 6 - across - along - outerAxis;
        inner = layout.Size(innerAxis);
        (xInner, xOuter, yInner, yOuter) = (x.At(innerAxis), x.At(outerAxis), y.At(innerAxis), y.At(outerAxis));
        Items = AcrossTiles * AlongTiles * inner * layout.Size(outerAxis);
    }

    public int StartX(int plane) => plane / inner * xOuter + plane % inner * xInner;

    public int StartY(int plane) => plane / inner * yOuter + plane % inner * yInner;
}

/// <summary>One work item: one cache block of a transposition, read and written a line at a time.</summary>
internal readonly struct TransposeKernel<T>(TransposePlan plan, ArrayView<T> x, int xStart, ArrayView<T> y, int yStart) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (x, y);
        int tile = plan.Tile, alongTile = item % plan.AlongTiles, rest = item / plan.AlongTiles;
        int acrossTile = rest % plan.AcrossTiles, plane = rest / plan.AcrossTiles;
        int along = Math.Min(tile, plan.Along - alongTile * tile), across = Math.Min(tile, plan.Across - acrossTile * tile);
        int from = xStart + plan.StartX(plane) + alongTile * tile * plan.AlongStep + acrossTile * tile;
        int to = yStart + plan.StartY(plane) + acrossTile * tile * plan.AcrossStep + alongTile * tile;
        int read = plan.AlongStep, write = plan.AcrossStep;
        for (int i = 0; i < across; i++)
        {
            for (int j = 0; j < along; j++)
                L.At(destination, to + i * write + j) = L.At(source, from + i + j * read);
        }
    }
}

/// <summary>The one work item: y[0] += 1.</summary>
internal readonly struct IncrementKernel(ArrayView<int> y) : IKernel<float>
{
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float> => L.At(y, item) += 1;
}

/// <summary>One work item: <c>chunk</c> elements set to a value.</summary>
internal readonly struct FillKernel<T>(ArrayView<T> y, T value, int chunk, int n) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var destination = y;
        var filled = L.Splat(value);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
            L.Store(destination, i, end - i, filled);
    }
}

/// <summary>As <see cref="FillKernel{T}"/>, of numbers of 16 bits.</summary>
internal readonly struct FillNarrowKernel(ArrayView<ushort> y, ushort bits, int chunk, int n) : IKernel<float>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
    {
        var destination = y;
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i++)
            L.At(destination, i) = bits;
    }
}
