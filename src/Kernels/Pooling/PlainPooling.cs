using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>One work item: one output of a maximum and its place.</summary>
internal readonly struct PlainMax<T, W>(W rows, W columns, ArrayView<T> x, ArrayView<T> y, ArrayView<int> indices, int saves) : IKernel<T>
    where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across, source) = (rows, columns, x);
        int ow = item % across.Output, rest = item / across.Output, oh = rest % down.Output;
        int image = rest / down.Output * down.Input * across.Input;
        int inside = 0, width = across.Taps(ow);
        L best = L.Constant(double.NegativeInfinity), tap = L.Constant(-1);
        for (int kh = 0; kh < down.Taps(oh); kh++)
        {
            int ih = down.Start(oh) + kh * down.Step;
            if (ih < 0 || ih >= down.Input)
                continue;
            for (int kw = 0; kw < width; kw++)
            {
                int iw = across.Start(ow) + kw * across.Step;
                if (iw < 0 || iw >= across.Input)
                    continue;
                var value = L.Splat(L.At(source, image + ih * across.Input + iw));
                var candidate = L.Constant(kh * width + kw);
                tap = inside == 0 ? candidate : RowPool.Place<L, T>(best, value, tap, candidate);
                best = L.Max(best, value);
                inside++;
            }
        }
        L.At(y, item) = L.First(best);
        if (saves == 0)
            return;
        // The tap goes through memory to become an integer, and only then a place, as a float cannot count the pixels of every image.
        L.StoreIntegers(indices, item, 1, tap);
        int taken = L.At(indices, item);
        if (taken >= 0)
            L.At(indices, item) = (down.Start(oh) + taken / width * down.Step) * across.Input + across.Start(ow) + taken % width * across.Step;
    }
}

/// <summary>One work item: one element of dx, gathered from the windows that may have taken it.</summary>
internal readonly struct PlainSpread<T, W>(W rows, W columns, ArrayView<T> dy, ArrayView<int> indices, ArrayView<T> dx) : IKernel<T>
    where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across, gradient, places) = (rows, columns, dy, indices);
        int plane = down.Input * across.Input, place = item % plane, ih = place / across.Input, iw = place % across.Input;
        int map = item / plane * down.Output * across.Output;
        var sum = L.Constant(0);
        for (int oh = down.FirstOutput(ih); oh < down.EndOutput(ih); oh++)
        {
            for (int ow = across.FirstOutput(iw); ow < across.EndOutput(iw); ow++)
            {
                int at = map + oh * across.Output + ow;
                if (L.At(places, at) == place)
                    sum += L.Splat(L.At(gradient, at));
            }
        }
        L.At(dx, item) = L.First(sum);
    }
}

/// <summary>One work item: <c>chunk</c> elements of y, each the element of its plane of x at a saved place.</summary>
internal readonly struct PickKernel<T>(ArrayView<T> x, ArrayView<int> indices, ArrayView<T> y, int input, int output, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, places, destination) = (x, indices, y);
        int end = Math.Min((int)destination.Length, (item + 1) * chunk);
        for (int i = item * chunk; i < end; i++)
        {
            int place = L.At(places, i);
            L.At(destination, i) = place < 0 ? L.First(L.Constant(0)) : L.At(source, i / output * input + place);
        }
    }
}

/// <summary>One work item: one output of an average.</summary>
internal readonly struct PlainAverage<T, W>(W rows, W columns, int divisor, ArrayView<T> x, ArrayView<T> y) : IKernel<T> where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across, source) = (rows, columns, x);
        int ow = item % across.Output, rest = item / across.Output, oh = rest % down.Output;
        int image = rest / down.Output * down.Input * across.Input;
        int top = Math.Max(0, down.Start(oh)), bottom = Math.Min(down.Input, down.Start(oh) + down.Taps(oh));
        int left = Math.Max(0, across.Start(ow)), right = Math.Min(across.Input, across.Start(ow) + across.Taps(ow));
        var sum = L.Constant(0);
        for (int ih = top; ih < bottom; ih++)
            for (int iw = left; iw < right; iw++)
                sum += L.Splat(L.At(source, image + ih * across.Input + iw));
        L.At(y, item) = L.First(sum / L.Constant(divisor != 0 ? divisor : down.Divisor(oh) * across.Divisor(ow)));
    }
}

/// <summary>One work item: one element of dx, gathered from the averages that counted it.</summary>
internal readonly struct PlainAverageGradient<T, W>(W rows, W columns, int divisor, ArrayView<T> dy, ArrayView<T> dx) : IKernel<T> where T : unmanaged where W : struct, IWindows
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (down, across, gradient) = (rows, columns, dy);
        int plane = down.Input * across.Input, place = item % plane, ih = place / across.Input, iw = place % across.Input;
        int map = item / plane * down.Output * across.Output;
        var sum = L.Constant(0);
        for (int oh = down.FirstOutput(ih); oh < down.EndOutput(ih); oh++)
            for (int ow = across.FirstOutput(iw); ow < across.EndOutput(iw); ow++)
                sum += L.Splat(L.At(gradient, map + oh * across.Output + ow)) / L.Constant(divisor != 0 ? divisor : down.Divisor(oh) * across.Divisor(ow));
        L.At(dx, item) = L.First(sum);
    }
}
