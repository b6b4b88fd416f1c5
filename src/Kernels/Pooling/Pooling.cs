namespace TransferEngine.Kernels;

/// <summary>
/// Pooling over the last two axes of [planes, rows, columns] and its gradients. Every gradient is gathered, or one work item owns a whole plane: no
/// atomics, and the same bits whatever the number of workers. A maximum's place is its index in its plane, an Int32; -1 where a window holds no input.
/// </summary>
internal static class Pooling
{
    /// <summary>Largest inputs and, where <paramref name="indices"/> is given, their places. NaN wins; of equal inputs the first.</summary>
    public static void Max<W>(ComputeDevice device, int planes, W rows, W columns, in Slice x, in Slice y, in Slice? indices) where W : struct, IWindows
    {
        if (x.Type == ElementType.Float64)
            Max<double, W>(device, planes, rows, columns, x, y, indices);
        else
            Max<float, W>(device, planes, rows, columns, x, y, indices);
    }

    /// <summary>The gradient of a maximum: dx at each place is the sum of dy over the windows whose maximum it was.</summary>
    public static void Spread<W>(ComputeDevice device, int planes, W rows, W columns, in Slice dy, in Slice indices, in Slice dx) where W : struct, IWindows
    {
        if (dy.Type == ElementType.Float64)
            Spread<double, W>(device, planes, rows, columns, dy, indices, dx);
        else
            Spread<float, W>(device, planes, rows, columns, dy, indices, dx);
    }

    /// <summary>The elements of x at saved places: the transpose of <see cref="Spread"/>.</summary>
    public static void Pick(ComputeDevice device, int planes, in Slice x, in Slice indices, in Slice y)
    {
        if (x.Type == ElementType.Float64)
            Pick<double>(device, planes, x, indices, y);
        else
            Pick<float>(device, planes, x, indices, y);
    }

    /// <summary>Averages over windows; the divisor is the windows' own, or <paramref name="divisor"/> where that is not 0.</summary>
    public static void Average<W>(ComputeDevice device, int planes, W rows, W columns, int divisor, in Slice x, in Slice y) where W : struct, IWindows
    {
        if (x.Type == ElementType.Float64)
            Average<double, W>(device, planes, rows, columns, divisor, x, y);
        else
            Average<float, W>(device, planes, rows, columns, divisor, x, y);
    }

    /// <summary>The gradient of <see cref="Average"/>.</summary>
    public static void AverageGradient<W>(ComputeDevice device, int planes, W rows, W columns, int divisor, in Slice dy, in Slice dx) where W : struct, IWindows
    {
        if (dy.Type == ElementType.Float64)
            AverageGradient<double, W>(device, planes, rows, columns, divisor, dy, dx);
        else
            AverageGradient<float, W>(device, planes, rows, columns, divisor, dy, dx);
    }

    private static void Max<T, W>(ComputeDevice device, int planes, W rows, W columns, in Slice x, in Slice y, in Slice? indices) where T : unmanaged where W : struct, IWindows
    {
        if (y.Length == 0)
            return;
        var places = (indices ?? y).Block.View<int>((indices ?? y).Offset, (indices ?? y).Length);
        int saves = indices is null ? 0 : 1;
        if (device.IsDirect && x.Length > 0 && RowPool.Fits(columns) && rows.Input * columns.Input <= RowPool.NoPlace)
            device.Launch<T, MaxPlanes<T, W>>(Chunks(planes, Chunk(rows, columns)), new(rows, columns, x.View<T>(), y.View<T>(), places, saves, planes, Chunk(rows, columns)));
        else
            device.Launch<T, PlainMax<T, W>>(y.Length, new(rows, columns, x.View<T>(), y.View<T>(), places, saves));
    }

    private static void Spread<T, W>(ComputeDevice device, int planes, W rows, W columns, in Slice dy, in Slice indices, in Slice dx) where T : unmanaged where W : struct, IWindows
    {
        int chunk = Chunk(rows, columns);
        if (device.IsDirect)
            device.Launch<T, SpreadPlanes<T>>(Chunks(planes, chunk), new(dy.View<T>(), indices.View<int>(), dx.View<T>(), rows.Output * columns.Output, rows.Input * columns.Input, planes, chunk));
        else
            device.Launch<T, PlainSpread<T, W>>(dx.Length, new(rows, columns, dy.View<T>(), indices.View<int>(), dx.View<T>()));
    }

    private static void Pick<T>(ComputeDevice device, int planes, in Slice x, in Slice indices, in Slice y) where T : unmanaged
    {
        if (y.Length == 0)
            return;
        int chunk = device.ChunkOf(y.Length);
        device.Launch<T, PickKernel<T>>(Chunks(y.Length, chunk), new(x.View<T>(), indices.View<int>(), y.View<T>(), x.Length / planes, y.Length / planes, chunk));
    }

    private static void Average<T, W>(ComputeDevice device, int planes, W rows, W columns, int divisor, in Slice x, in Slice y) where T : unmanaged where W : struct, IWindows
    {
        if (y.Length == 0)
            return;
        if (device.IsDirect && x.Length > 0 && RowPool.Fits(columns))
            device.Launch<T, AveragePlanes<T, W>>(Chunks(planes, Chunk(rows, columns)), new(rows, columns, divisor, x.View<T>(), y.View<T>(), planes, Chunk(rows, columns)));
        else
            device.Launch<T, PlainAverage<T, W>>(y.Length, new(rows, columns, divisor, x.View<T>(), y.View<T>()));
    }

    private static void AverageGradient<T, W>(ComputeDevice device, int planes, W rows, W columns, int divisor, in Slice dy, in Slice dx) where T : unmanaged where W : struct, IWindows
    {
        int chunk = Chunk(rows, columns);
        if (device.IsDirect)
            device.Launch<T, AverageGradientPlanes<T, W>>(Chunks(planes, chunk), new(rows, columns, divisor, dy.View<T>(), dx.View<T>(), planes, chunk));
        else
            device.Launch<T, PlainAverageGradient<T, W>>(dx.Length, new(rows, columns, divisor, dy.View<T>(), dx.View<T>()));
    }

    /// <summary>Planes of one work item: enough to hide the hand-over.</summary>
    private static int Chunk<W>(W rows, W columns) where W : struct, IWindows =>
        Math.Max(1, 8192 / Math.Max(1, Math.Max(rows.Input * columns.Input, rows.Output * columns.Output)));

    private static int Chunks(int n, int chunk) => (n + chunk - 1) / chunk;
}
