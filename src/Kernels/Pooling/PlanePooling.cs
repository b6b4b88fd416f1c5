using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// What the pooling kernels of the CPU's direct path share. They first pool the rows of a window, a whole image row of vectors at once whatever the
/// stride, into a line in the first cache; the line is split by column modulo the stride, so that neighbouring outputs read neighbours; then its columns.
/// </summary>
internal static class RowPool
{
    /// <summary>The widest line.</summary>
    public const int MaxColumns = 2048;

    /// <summary>Scratch elements of a line: a vector may be read or written past its end, and past each part of a split one.</summary>
    public const int Pitch = MaxColumns + 128;

    /// <summary>The place that stands for none while maxima are compared: more than any, and the last integer up to which float counts.</summary>
    public const int NoPlace = 1 << 24;

    public static bool Fits<W>(W columns) where W : struct, IWindows => Length(columns) <= MaxColumns && columns.Input - columns.Start(0) <= MaxColumns;

    /// <summary>Columns from the first tap of the first window to the last tap of the last.</summary>
    public static int Length<W>(W columns) where W : struct, IWindows
    {
        int last = columns.Output - 1;
        return columns.Start(last) + (columns.Taps(last) - 1) * columns.Step + 1 - columns.Start(0);
    }

    /// <summary>The taps of a window that lie in the image: from first to end.</summary>
    public static (int First, int End) Inside<W>(W windows, int output) where W : struct, IWindows
    {
        int start = windows.Start(output), step = windows.Step, first = start < 0 ? (-start + step - 1) / step : 0;
        int end = Math.Min(windows.Taps(output), (windows.Input - start + step - 1) / step);
        return (first, Math.Max(first, end));
    }

    /// <summary>The place after one more candidate: kept where the best so far is no smaller; a NaN takes over, as PyTorch's does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Place<L, T>(L best, L value, L place, L candidate) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfEqual(value, value, L.IfLess(best, value, candidate, place), candidate);

    /// <summary>As <see cref="Place"/> for candidates that do not come in order: of equal values the smaller place wins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Earlier<L, T>(L best, L value, L place, L candidate) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfEqual(value, value, L.IfLess(best, value, candidate, L.IfEqual(best, value, L.Min(place, candidate), place)), candidate);

    /// <summary>Elements of an image; places past <paramref name="remaining"/> hold anything, for which the whole view, not the row, is the bound.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Peek<L, T>(ArrayView<T> view, int index, int remaining) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        index + L.Width <= view.Length ? L.Load(view, index) : L.Load(view, index, remaining, L.Constant(0));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fill<L, T>(ArrayView<T> line, int from, int to, L value) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        for (int i = from; i < to; i += L.Width)
            L.Store(line, i, value);
    }

    /// <summary>Sorts a line by column modulo the stride; part p starts at p * pitch.</summary>
    public static unsafe void Split<T>(T* line, T* parts, int length, int stride, int pitch) where T : unmanaged
    {
        for (int p = 0; p < stride; p++)
            Strided.Pick(line + p, stride, parts + p * pitch, (length - p + stride - 1) / stride);
    }
}

/// <summary>One work item: <c>chunk</c> planes of maxima and, where <c>saves</c> is 1, their places.</summary>
internal readonly struct MaxPlanes<T, W>(W rows, W columns, ArrayView<T> x, ArrayView<T> y, ArrayView<int> indices, int saves, int planes, int chunk) : IKernel<T>
    where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across) = (rows, columns);
        T* scratch = stackalloc T[4 * RowPool.Pitch];
        int length = RowPool.Length(across), stride = across.Stride, pitch = stride > 1 ? (length + stride - 1) / stride : 0;
        T* line = scratch, places = scratch + RowPool.Pitch;
        T* values = stride > 1 ? scratch + 2 * RowPool.Pitch : line, found = stride > 1 ? scratch + 3 * RowPool.Pitch : places;
        int end = Math.Min(planes, (item + 1) * chunk);
        for (int plane = item * chunk; plane < end; plane++)
        {
            for (int oh = 0; oh < down.Output; oh++)
            {
                PoolRows<L>(plane * down.Input * across.Input, oh, Direct.View(line, RowPool.Pitch), Direct.View(places, RowPool.Pitch), length);
                if (stride > 1)
                {
                    RowPool.Split(line, values, length, stride, pitch);
                    if (saves != 0)
                        RowPool.Split(places, found, length, stride, pitch);
                }
                int into = (plane * down.Output + oh) * across.Output;
                if (stride > 0)
                    PoolColumns<L>(Direct.View(values, RowPool.Pitch), Direct.View(found, RowPool.Pitch), pitch, into);
                else
                    PoolUneven<L>(Direct.View(values, RowPool.Pitch), Direct.View(found, RowPool.Pitch), into);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PoolRows<L>(int image, int oh, ArrayView<T> line, ArrayView<T> places, int length) where L : unmanaged, ILane<L, T>
    {
        var (down, source) = (rows, x);
        int width = columns.Input, padding = -columns.Start(0), start = down.Start(oh), step = down.Step;
        var (first, end) = RowPool.Inside(down, oh);
        L lowest = L.Constant(double.NegativeInfinity), none = L.Constant(RowPool.NoPlace);
        RowPool.Fill<L, T>(line, 0, padding, lowest);
        RowPool.Fill<L, T>(places, 0, padding, none);
        for (int j = 0; j < width; j += L.Width)
        {
            L best = lowest, place = none;
            for (int kh = first; kh < end; kh++)
            {
                int ih = start + kh * step;
                var value = RowPool.Peek<L, T>(source, image + ih * width + j, width - j);
                if (saves != 0)
                    place = kh == first ? L.Constant(ih * width + j) + L.Ramp() : RowPool.Place<L, T>(best, value, place, L.Constant(ih * width + j) + L.Ramp());
                best = kh == first ? value : L.Max(best, value);
            }
            L.Store(line, padding + j, best);
            if (saves != 0)
                L.Store(places, padding + j, place);
        }
        RowPool.Fill<L, T>(line, padding + width, length, lowest);
        RowPool.Fill<L, T>(places, padding + width, length, none);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PoolColumns<L>(ArrayView<T> values, ArrayView<T> found, int pitch, int into) where L : unmanaged, ILane<L, T>
    {
        var across = columns;
        int taps = across.Taps(0), step = across.Step, stride = across.Stride;
        for (int j = 0; j < across.Output; j += L.Width)
        {
            L best = L.Load(values, j), place = L.Load(found, j);
            for (int kw = 1; kw < taps; kw++)
            {
                int at = kw * step % stride * pitch + kw * step / stride + j;
                var value = L.Load(values, at);
                if (saves != 0)
                    place = RowPool.Earlier<L, T>(best, value, place, L.Load(found, at));
                best = L.Max(best, value);
            }
            Put(into + j, across.Output - j, best, place);
        }
    }

    /// <summary>Windows of varying sizes, one output after the other.</summary>
    private void PoolUneven<L>(ArrayView<T> values, ArrayView<T> found, int into) where L : unmanaged, ILane<L, T>
    {
        var across = columns;
        for (int ow = 0; ow < across.Output; ow++)
        {
            int start = across.Start(ow) - across.Start(0);
            L best = L.Splat(L.At(values, start)), place = L.Splat(L.At(found, start));
            for (int kw = 1; kw < across.Taps(ow); kw++)
            {
                var value = L.Splat(L.At(values, start + kw));
                place = RowPool.Earlier<L, T>(best, value, place, L.Splat(L.At(found, start + kw)));
                best = L.Max(best, value);
            }
            Put(into + ow, 1, best, place);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Put<L>(int index, int remaining, L best, L place) where L : unmanaged, ILane<L, T>
    {
        L.Store(y, index, remaining, best);
        if (saves != 0)
            L.StoreIntegers(indices, index, remaining, L.IfLess(place, L.Constant(RowPool.NoPlace), place, L.Constant(-1)));
    }
}

/// <summary>One work item: <c>chunk</c> planes of dx, to each of which every dy is added at its saved place.</summary>
internal readonly struct SpreadPlanes<T>(ArrayView<T> dy, ArrayView<int> indices, ArrayView<T> dx, int output, int input, int planes, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        int end = Math.Min(planes, (item + 1) * chunk);
        for (int plane = item * chunk; plane < end && input > 0; plane++)
        {
            T* to = (T*)Unsafe.AsPointer(ref L.At(dx, plane * input));
            new Span<T>(to, input).Clear();
            if (output == 0)
                continue;
            T* from = (T*)Unsafe.AsPointer(ref L.At(dy, plane * output));
            int* places = (int*)Unsafe.AsPointer(ref L.At(indices, plane * output));
            for (int i = 0; i < output; i++)
            {
                if (places[i] >= 0)
                    to[places[i]] = Sums.Add(to[places[i]], from[i]);
            }
        }
    }
}

/// <summary>One work item: <c>chunk</c> planes of averages.</summary>
internal readonly struct AveragePlanes<T, W>(W rows, W columns, int divisor, ArrayView<T> x, ArrayView<T> y, int planes, int chunk) : IKernel<T>
    where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across) = (rows, columns);
        T* scratch = stackalloc T[3 * RowPool.Pitch];
        int length = RowPool.Length(across), stride = across.Stride, pitch = stride > 1 ? (length + stride - 1) / stride : 0;
        T* line = scratch, values = stride > 1 ? scratch + RowPool.Pitch : line;
        var widths = Direct.View(scratch + 2 * RowPool.Pitch, RowPool.Pitch);
        for (int ow = 0; ow < across.Output; ow++)
            L.At(widths, ow) = L.First(L.Constant(divisor != 0 ? divisor : across.Divisor(ow)));
        int end = Math.Min(planes, (item + 1) * chunk);
        for (int plane = item * chunk; plane < end; plane++)
        {
            for (int oh = 0; oh < down.Output; oh++)
            {
                SumRows<L>(plane * down.Input * across.Input, oh, Direct.View(line, RowPool.Pitch), length);
                if (stride > 1)
                    RowPool.Split(line, values, length, stride, pitch);
                var height = L.Constant(divisor != 0 ? 1 : down.Divisor(oh));
                int into = (plane * down.Output + oh) * across.Output;
                if (stride > 0)
                    SumColumns(Direct.View(values, RowPool.Pitch), widths, pitch, height, into);
                else
                    SumUneven(Direct.View(values, RowPool.Pitch), widths, height, into);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SumRows<L>(int image, int oh, ArrayView<T> line, int length) where L : unmanaged, ILane<L, T>
    {
        var (down, source) = (rows, x);
        int width = columns.Input, padding = -columns.Start(0), start = down.Start(oh);
        var (first, end) = RowPool.Inside(down, oh);
        RowPool.Fill<L, T>(line, 0, padding, L.Constant(0));
        for (int j = 0; j < width; j += L.Width)
        {
            var sum = L.Constant(0);
            for (int kh = first; kh < end; kh++)
                sum += RowPool.Peek<L, T>(source, image + (start + kh) * width + j, width - j);
            L.Store(line, padding + j, sum);
        }
        RowPool.Fill<L, T>(line, padding + width, length, L.Constant(0));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SumColumns<L>(ArrayView<T> values, ArrayView<T> widths, int pitch, L height, int into) where L : unmanaged, ILane<L, T>
    {
        var (across, output) = (columns, y);
        int taps = across.Taps(0), stride = across.Stride;
        for (int j = 0; j < across.Output; j += L.Width)
        {
            var sum = L.Load(values, j);
            for (int kw = 1; kw < taps; kw++)
                sum += L.Load(values, kw % stride * pitch + kw / stride + j);
            L.Store(output, into + j, across.Output - j, sum / (height * L.Load(widths, j)));
        }
    }

    /// <summary>Windows of varying sizes, vectors along each: a global average is one such window.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SumUneven<L>(ArrayView<T> values, ArrayView<T> widths, L height, int into) where L : unmanaged, ILane<L, T>
    {
        var (across, output) = (columns, y);
        for (int ow = 0; ow < across.Output; ow++)
        {
            int start = across.Start(ow), taps = across.Taps(ow);
            var sum = L.Load(values, start, taps, L.Constant(0));
            for (int kw = L.Width; kw < taps; kw += L.Width)
                sum += L.Load(values, start + kw, taps - kw, L.Constant(0));
            L.Store(output, into + ow, 1, L.Splat(L.Sum(sum)) / (height * L.Splat(L.At(widths, ow))));
        }
    }
}

/// <summary>One work item: <c>chunk</c> planes of dx, to each of which every dy is added over its window.</summary>
internal readonly struct AverageGradientPlanes<T, W>(W rows, W columns, int divisor, ArrayView<T> dy, ArrayView<T> dx, int planes, int chunk) : IKernel<T>
    where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across, target) = (rows, columns, dx);
        int input = down.Input * across.Input, output = down.Output * across.Output, end = Math.Min(planes, (item + 1) * chunk);
        for (int plane = item * chunk; plane < end && input > 0; plane++)
        {
            T* to = (T*)Unsafe.AsPointer(ref L.At(target, plane * input));
            new Span<T>(to, input).Clear();
            for (int i = 0; i < output; i++)
            {
                int oh = i / across.Output, ow = i % across.Output;
                var (top, bottom) = RowPool.Inside(down, oh);
                var (left, right) = RowPool.Inside(across, ow);
                var share = L.Splat(L.At(dy, plane * output + i)) / L.Constant(divisor != 0 ? divisor : down.Divisor(oh) * across.Divisor(ow));
                for (int kh = top; kh < bottom; kh++)
                {
                    int row = (down.Start(oh) + kh) * across.Input + across.Start(ow), j = left;
                    for (; j + L.Width <= right; j += L.Width)
                        L.Store(target, plane * input + row + j, L.Load(target, plane * input + row + j) + share);
                    for (; j < right; j++)
                        to[row + j] = Sums.Add(to[row + j], L.First(share));
                }
            }
        }
    }
}

/// <summary>Sums of single numbers of a type that is float or double.</summary>
internal static class Sums
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Add<T>(T a, T b) where T : unmanaged => typeof(T) == typeof(float)
        ? Unsafe.BitCast<float, T>(Unsafe.BitCast<T, float>(a) + Unsafe.BitCast<T, float>(b))
        : Unsafe.BitCast<double, T>(Unsafe.BitCast<T, double>(a) + Unsafe.BitCast<T, double>(b));
}
