using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolutions in which every filter reads one channel, on the CPU's direct path. What a strip of output rows reads is copied into a padded scratch
/// area that stays in the first cache; there every tap of a whole vector of outputs is one unmasked load, at any stride, dilation and padding.
/// </summary>
internal static class Depthwise
{
    /// <summary>Filters of one channel from which on they are many enough to fill the rows of a packed product.</summary>
    private const int RowsOfProduct = 8;

    /// <summary>Whether the shape is depthwise and a strip of it fits the scratch area.</summary>
    public static bool Serves(in Conv2dShape s) => s.GroupChannels == 1 && s.GroupOutputs < RowsOfProduct && Window.FitsStrip(s.Y, s.X);

    /// <summary>As <see cref="Serves"/> for the input gradient, whose packed product would have one row however many filters there are.</summary>
    public static bool ServesInputGradient(in Conv2dShape s) => s.GroupChannels == 1 && Window.FitsStrip(Transposed(s.Y), Transposed(s.X));

    public static void Forward<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y) where T : unmanaged
    {
        int planes = s.Batch * s.Outputs, chunk = Chunk(s);
        device.Launch<T, DepthwisePlanes<T>>((planes + chunk - 1) / chunk, new(
            new(s.Y, 1), new(s.X, 1), s.Outputs, 1, s.GroupOutputs, 0, x.View<T>(), weight.View<T>(), tail, y.View<T>(), planes, chunk));
    }

    public static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        int planes = s.Batch * s.Channels, chunk = Chunk(s);
        device.Launch<T, DepthwisePlanes<T>>((planes + chunk - 1) / chunk, new(
            new(Transposed(s.Y), s.Y.Stride), new(Transposed(s.X), s.X.Stride), s.Channels, s.GroupOutputs, 1, 1,
            dy.View<T>(), weight.View<T>(), new(bias), dx.View<T>(), planes, chunk));
    }

    public static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        using var images = new BatchPieces(device, s.Batch, s.Batch, dweight);
        int planes = s.Batch * s.Outputs, chunk = Chunk(s);
        device.Launch<T, DepthwiseWeights<T>>((planes + chunk - 1) / chunk, new(s, x.View<T>(), dy.View<T>(), images.Sums.View<T>(), chunk));
        images.AddUp<T>();
    }

    /// <summary>The axis of the convolution from dy to dx: stride 1 over dy with zeros between its elements, the taps in reverse.</summary>
    private static ConvAxis Transposed(ConvAxis a) => new(a.Output, a.Kernel, 1, a.Span - 1 - a.Padding, a.Dilation, a.Input);

    /// <summary>Planes of one work item: enough to hide the hand-over.</summary>
    private static int Chunk(in Conv2dShape s) => Math.Max(1, 65536 / Math.Max(1, s.OutputPlane * s.Taps));
}

/// <summary>An axis whose input has <c>insert - 1</c> zeros between its elements.</summary>
internal readonly struct SpreadAxis(ConvAxis axis, int insert)
{
    public readonly ConvAxis Axis = axis;
    public readonly int Insert = insert;
}

/// <summary>
/// One work item: <c>chunk</c> planes of y, each the sum over <c>sources</c> planes of x times their filters (in reverse order for the gradient), and
/// finished. Plane p of y reads planes <c>p * sources / share</c> on.
/// </summary>
internal readonly struct DepthwisePlanes<T>(
    SpreadAxis rows, SpreadAxis columns, int channels, int sources, int share, int reversed, ArrayView<T> x, ArrayView<T> weight, ConvolutionTail tail,
    ArrayView<T> y, int planes, int chunk) : IKernel<T> where T : unmanaged
{
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        int end = Math.Min(planes, (item + 1) * chunk);
        for (int plane = item * chunk; plane < end; plane++)
            Plane<L>(plane);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    private unsafe void Plane<L>(int plane) where L : unmanaged, ILane<L, T>
    {
        var (ya, xa) = (rows.Axis, columns.Axis);
        T* scratch = stackalloc T[Window.StripCapacity + 64];
        int* offsets = stackalloc int[ya.Kernel * xa.Kernel];
        int blockColumns = Math.Min(xa.Output, Window.MaxStripColumns), taps = ya.Kernel * xa.Kernel, channel = plane % channels;
        var window = Window.OfStrip(ya, xa, blockColumns);
        bool square = Square3.Serves(ya, xa);
        for (int t = 0; t < taps; t++)
        {
            int tap = reversed != 0 ? taps - 1 - t : t;
            offsets[t] = window.Offset(tap / xa.Kernel, tap % xa.Kernel);
        }
        var cells = Direct.View(scratch, Window.StripCapacity);
        for (int column = 0; column < xa.Output; column += blockColumns)
        {
            int width = Math.Min(blockColumns, xa.Output - column);
            for (int row = 0; row < ya.Output; row += window.Rows)
            {
                int height = Math.Min(window.Rows, ya.Output - row);
                for (int source = 0; source < sources; source++)
                {
                    long image = (long)plane * sources / share + source;
                    window.Fill(scratch, (T*)Unsafe.AsPointer(ref L.At(x, 0)) + image * ya.Input * xa.Input, rows.Insert, columns.Insert, row, height, column);
                    int destination = (plane * ya.Output + row) * xa.Output + column, filter = (channel * sources + source) * taps;
                    if (square)
                        DownRowsOfSquare<L>(scratch, window, filter, source > 0, destination, height, width);
                    else if (width > 2 * L.Width)
                        AcrossColumns<L>(cells, window, offsets, taps, filter, source > 0, destination, height, width);
                    else
                        DownRows<L>(cells, window, offsets, taps, filter, source > 0, destination, height, width);
                }
            }
        }
        int size = ya.Output * xa.Output;
        tail.Finish<T, L>((T*)Unsafe.AsPointer(ref L.At(y, 0)), (nint)plane * size, size, channel, 1, size);
    }

    /// <summary>Four vectors of a row at once; the last of a row ends with the row, and so may overlap others, which hold the same there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private unsafe void AcrossColumns<L>(ArrayView<T> cells, Window window, int* offsets, int taps, int filter, bool add, int destination, int height, int width)
        where L : unmanaged, ILane<L, T>
    {
        var (filters, output) = (weight, y);
        int w = L.Width, stride = window.RowStep, pitch = columns.Axis.Output, last = width - w;
        for (int r = 0; r < height; r++)
        {
            for (int j = 0; j < width; j += 4 * w)
            {
                int j0 = Math.Min(j, last), j1 = Math.Min(j + w, last), j2 = Math.Min(j + 2 * w, last), j3 = Math.Min(j + 3 * w, last);
                int at = r * stride, into = destination + r * pitch;
                L zero = L.Constant(0), a = zero, b = zero, c = zero, d = zero;
                if (add)
                    (a, b, c, d) = (L.Load(output, into + j0), L.Load(output, into + j1), L.Load(output, into + j2), L.Load(output, into + j3));
                for (int t = 0; t < taps; t++)
                {
                    int from = at + offsets[t];
                    var factor = L.Splat(L.At(filters, filter + t));
                    a = L.MultiplyAdd(factor, L.Load(cells, from + j0), a);
                    b = L.MultiplyAdd(factor, L.Load(cells, from + j1), b);
                    c = L.MultiplyAdd(factor, L.Load(cells, from + j2), c);
                    d = L.MultiplyAdd(factor, L.Load(cells, from + j3), d);
                }
                // All four lie where the group before has summed already: only the places past it are new.
                if (add && j > last)
                    a = b = c = d = L.IfLess(L.Ramp(), L.Constant(j - last), L.Load(output, into + last), a);
                L.Store(output, into + j0, a);
                L.Store(output, into + j1, b);
                L.Store(output, into + j2, c);
                L.Store(output, into + j3, d);
            }
        }
    }

    /// <summary>A vector of four rows at once: for images that are narrower than a few vectors. The last vector of a row ends with it, if the row is that long.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private unsafe void DownRows<L>(ArrayView<T> cells, Window window, int* offsets, int taps, int filter, bool add, int destination, int height, int width)
        where L : unmanaged, ILane<L, T>
    {
        var (filters, output) = (weight, y);
        int stride = window.RowStep, pitch = columns.Axis.Output;
        for (int r = 0; r < height; r += 4)
        {
            for (int next = 0; next < width; next += L.Width)
            {
                int j = Math.Max(0, Math.Min(next, width - L.Width)), left = width - j, last = height - r - 1;
                int at = r * stride + j, into = destination + r * pitch + j;
                L zero = L.Constant(0), a = zero, b = zero, c = zero, d = zero;
                for (int t = 0; t < taps; t++)
                {
                    int from = at + offsets[t];
                    var factor = L.Splat(L.At(filters, filter + t));
                    a = L.MultiplyAdd(factor, L.Load(cells, from), a);
                    b = L.MultiplyAdd(factor, L.Load(cells, from + stride), b);
                    c = L.MultiplyAdd(factor, L.Load(cells, from + 2 * stride), c);
                    d = L.MultiplyAdd(factor, L.Load(cells, from + 3 * stride), d);
                }
                Put(output, into, pitch, last, left, add, next - j, a, b, c, d);
            }
        }
    }

    /// <summary>As <see cref="DownRows"/> for filters of 3x3 neighbours: the four rows share what they read, half of the loads, and the filter stays in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private unsafe void DownRowsOfSquare<L>(T* cells, Window window, int filter, bool add, int destination, int height, int width)
        where L : unmanaged, ILane<L, T>
    {
        var (filters, output) = (weight, y);
        int pitch = columns.Axis.Output;
        nint stride = window.RowStep, second = window.Offset(0, 1), third = window.Offset(0, 2);
        int first = reversed != 0 ? filter + 8 : filter, step = reversed != 0 ? -1 : 1;
        L w0 = L.Splat(L.At(filters, first)), w1 = L.Splat(L.At(filters, first + step)), w2 = L.Splat(L.At(filters, first + 2 * step));
        L w3 = L.Splat(L.At(filters, first + 3 * step)), w4 = L.Splat(L.At(filters, first + 4 * step)), w5 = L.Splat(L.At(filters, first + 5 * step));
        L w6 = L.Splat(L.At(filters, first + 6 * step)), w7 = L.Splat(L.At(filters, first + 7 * step)), w8 = L.Splat(L.At(filters, first + 8 * step));
        for (int r = 0; r < height; r += 4)
        {
            for (int next = 0; next < width; next += L.Width)
            {
                int j = Math.Max(0, Math.Min(next, width - L.Width)), left = width - j, last = height - r - 1;
                int into = destination + r * pitch + j;
                T* at = cells + r * stride + j;
                L zero = L.Constant(0);
                L p = *(L*)at, q = *(L*)(at + second), s = *(L*)(at + third);
                L a = Square3.Row<L, T>(p, q, s, w0, w1, w2, zero);
                at += stride;
                (p, q, s) = (*(L*)at, *(L*)(at + second), *(L*)(at + third));
                a = Square3.Row<L, T>(p, q, s, w3, w4, w5, a);
                L b = Square3.Row<L, T>(p, q, s, w0, w1, w2, zero);
                at += stride;
                (p, q, s) = (*(L*)at, *(L*)(at + second), *(L*)(at + third));
                a = Square3.Row<L, T>(p, q, s, w6, w7, w8, a);
                b = Square3.Row<L, T>(p, q, s, w3, w4, w5, b);
                L c = Square3.Row<L, T>(p, q, s, w0, w1, w2, zero);
                at += stride;
                (p, q, s) = (*(L*)at, *(L*)(at + second), *(L*)(at + third));
                b = Square3.Row<L, T>(p, q, s, w6, w7, w8, b);
                c = Square3.Row<L, T>(p, q, s, w3, w4, w5, c);
                L d = Square3.Row<L, T>(p, q, s, w0, w1, w2, zero);
                at += stride;
                (p, q, s) = (*(L*)at, *(L*)(at + second), *(L*)(at + third));
                c = Square3.Row<L, T>(p, q, s, w6, w7, w8, c);
                d = Square3.Row<L, T>(p, q, s, w3, w4, w5, d);
                at += stride;
                (p, q, s) = (*(L*)at, *(L*)(at + second), *(L*)(at + third));
                d = Square3.Row<L, T>(p, q, s, w6, w7, w8, d);
                Put(output, into, pitch, last, left, add, next - j, a, b, c, d);
            }
        }
    }

    /// <summary>Up to four rows of a vector; columns that the vector before has summed already are not added to again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<L>(ArrayView<T> output, int into, int pitch, int last, int left, bool add, int summed, L a, L b, L c, L d) where L : unmanaged, ILane<L, T>
    {
        Put(output, into, left, a, add, summed);
        if (last > 0)
            Put(output, into + pitch, left, b, add, summed);
        if (last > 1)
            Put(output, into + 2 * pitch, left, c, add, summed);
        if (last > 2)
            Put(output, into + 3 * pitch, left, d, add, summed);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<L>(ArrayView<T> output, int index, int remaining, L value, bool add, int summed) where L : unmanaged, ILane<L, T>
    {
        if (add)
        {
            var before = L.Load(output, index, remaining, value);
            value = L.IfLess(L.Ramp(), L.Constant(summed), before, before + value);
        }
        L.Store(output, index, remaining, value);
    }
}

/// <summary>Filters of 3x3 neighbours whose outputs lie side by side: what three rows of outputs read is loaded once for all of them.</summary>
internal static class Square3
{
    public static bool Serves(ConvAxis y, ConvAxis x) => y.Kernel == 3 && x.Kernel == 3 && y.Stride == 1 && y.Dilation == 1;

    /// <summary>One row of a filter over three neighbours, added to a sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Row<L, T>(L p, L q, L s, L w0, L w1, L w2, L sum) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.MultiplyAdd(s, w2, L.MultiplyAdd(q, w1, L.MultiplyAdd(p, w0, sum)));
}
