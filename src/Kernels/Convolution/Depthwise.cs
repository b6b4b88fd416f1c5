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

    public static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged =>
        device.Launch<T, DepthwiseWeights<T>>(s.Outputs, new(s, x.View<T>(), dy.View<T>(), dweight.View<T>()));

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
                    if (width > 2 * L.Width)
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
                // Columns that the vector before has summed already are not added to again.
                int summed = add ? next - j : 0;
                Put(output, into, left, a, add, summed);
                if (last > 0)
                    Put(output, into + pitch, left, b, add, summed);
                if (last > 1)
                    Put(output, into + 2 * pitch, left, c, add, summed);
                if (last > 2)
                    Put(output, into + 3 * pitch, left, d, add, summed);
            }
        }
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

/// <summary>One work item: the gradient of one filter, nine taps at a time, each in a register over the whole batch.</summary>
internal readonly struct DepthwiseWeights<T>(Conv2dShape shape, ArrayView<T> x, ArrayView<T> dy, ArrayView<T> dweight) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (s, gradient) = (shape, dy);
        T* scratch = stackalloc T[Window.StripCapacity + 64];
        int* offsets = stackalloc int[s.Taps + 8];
        int blockColumns = Math.Min(s.X.Output, Window.MaxStripColumns), channel = item / s.GroupOutputs;
        var window = Window.OfStrip(s.Y, s.X, blockColumns);
        for (int t = 0; t < s.Taps + 8; t++)
            offsets[t] = t < s.Taps ? window.Offset(t / s.X.Kernel, t % s.X.Kernel) : 0;
        var cells = Direct.View(scratch, Window.StripCapacity);
        int stride = window.RowStep;
        for (int t = 0; t < s.Taps; t += 9)
        {
            int o0 = offsets[t], o1 = offsets[t + 1], o2 = offsets[t + 2], o3 = offsets[t + 3], o4 = offsets[t + 4];
            int o5 = offsets[t + 5], o6 = offsets[t + 6], o7 = offsets[t + 7], o8 = offsets[t + 8];
            L zero = L.Constant(0), s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero;
            for (int n = 0; n < s.Batch; n++)
            {
                T* image = (T*)Unsafe.AsPointer(ref L.At(x, 0)) + (long)(n * s.Channels + channel) * s.InputPlane;
                for (int column = 0; column < s.X.Output; column += blockColumns)
                {
                    int width = Math.Min(blockColumns, s.X.Output - column);
                    for (int row = 0; row < s.Y.Output; row += window.Rows)
                    {
                        int height = Math.Min(window.Rows, s.Y.Output - row);
                        window.Fill(scratch, image, 1, 1, row, height, column);
                        for (int r = 0; r < height; r++)
                        {
                            int from = ((n * s.Outputs + item) * s.Y.Output + row + r) * s.X.Output + column;
                            for (int next = 0; next < width; next += L.Width)
                            {
                                // The last vector ends with the row; what the one before it has counted is zero in it.
                                int j = Math.Max(0, Math.Min(next, width - L.Width)), at = r * stride + j;
                                var g = L.Load(gradient, from + j, width - j, zero);
                                if (j < next)
                                    g = L.IfLess(L.Ramp(), L.Constant(next - j), zero, g);
                                s0 = L.MultiplyAdd(g, L.Load(cells, at + o0), s0);
                                s1 = L.MultiplyAdd(g, L.Load(cells, at + o1), s1);
                                s2 = L.MultiplyAdd(g, L.Load(cells, at + o2), s2);
                                s3 = L.MultiplyAdd(g, L.Load(cells, at + o3), s3);
                                s4 = L.MultiplyAdd(g, L.Load(cells, at + o4), s4);
                                s5 = L.MultiplyAdd(g, L.Load(cells, at + o5), s5);
                                s6 = L.MultiplyAdd(g, L.Load(cells, at + o6), s6);
                                s7 = L.MultiplyAdd(g, L.Load(cells, at + o7), s7);
                                s8 = L.MultiplyAdd(g, L.Load(cells, at + o8), s8);
                            }
                        }
                    }
                }
            }
            int into = item * s.Taps + t, left = s.Taps - t;
            Put(into, 0, left, s0);
            Put(into, 1, left, s1);
            Put(into, 2, left, s2);
            Put(into, 3, left, s3);
            Put(into, 4, left, s4);
            Put(into, 5, left, s5);
            Put(into, 6, left, s6);
            Put(into, 7, left, s7);
            Put(into, 8, left, s8);
        }
    }

    private void Put<L>(int index, int place, int left, L sum) where L : unmanaged, ILane<L, T>
    {
        if (place < left)
            L.At(dweight, index + place) = L.Sum(sum);
    }
}
