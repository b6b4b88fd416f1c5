using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Softmax, its logarithm and cross-entropy over rows of [rows, n], each row while it is in the cache.</summary>
internal static class Softmax
{
    /// <summary>y = e^(x - max) / Σ, or with <paramref name="log"/> 1 its logarithm.</summary>
    public static void Forward(ComputeDevice device, int log, in Slice x, int rows, int n, in Slice y)
    {
        int chunk = RowsOfItem(device, n), items = (rows + chunk - 1) / chunk;
        if (x.Type == ElementType.Float64)
            device.Launch<double, SoftmaxKernel<double>>(items, new(log, x.View<double>(), y.View<double>(), n, chunk, rows));
        else
            device.Launch<float, SoftmaxKernel<float>>(items, new(log, x.View<float>(), y.View<float>(), n, chunk, rows));
    }

    /// <summary>The gradient of x from the output y and its gradient: y (g - Σ g y), or for the logarithm g - e^y Σ g.</summary>
    public static void Backward(ComputeDevice device, int log, in Slice y, in Slice gradient, int rows, int n, in Slice result)
    {
        int chunk = RowsOfItem(device, n), items = (rows + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.Launch<double, SoftmaxGradientKernel<double>>(items, new(log, y.View<double>(), gradient.View<double>(), result.View<double>(), n, chunk, rows));
        else
            device.Launch<float, SoftmaxGradientKernel<float>>(items, new(log, y.View<float>(), gradient.View<float>(), result.View<float>(), n, chunk, rows));
    }

    /// <summary>
    /// For each row of logits, the cross-entropy with its target and the weight that the row has in a mean, and, if <paramref name="gradient"/> is given,
    /// the derivative of the row's loss by its logits. A row whose target is <paramref name="ignored"/> gives 0 in all; one whose target is no class gives NaN.
    /// </summary>
    public static void CrossEntropy(
        ComputeDevice device, double smoothing, int ignored, in Slice logits, in Slice targets, Slice? weights, int rows, int n, in Slice loss, in Slice rowWeights, Slice? gradient)
    {
        int chunk = RowsOfItem(device, n), items = (rows + chunk - 1) / chunk, flags = (weights is null ? 0 : 1) + (gradient is null ? 0 : 2);
        if (logits.Type == ElementType.Float64)
        {
            device.Launch<double, CrossEntropyKernel<double>>(items, new(smoothing, ignored, flags, logits.View<double>(), targets.View<int>(), (weights ?? logits).View<double>(),
                loss.View<double>(), rowWeights.View<double>(), (gradient ?? loss).View<double>(), n, chunk, rows));
        }
        else
        {
            device.Launch<float, CrossEntropyKernel<float>>(items, new(smoothing, ignored, flags, logits.View<float>(), targets.View<int>(), (weights ?? logits).View<float>(),
                loss.View<float>(), rowWeights.View<float>(), (gradient ?? loss).View<float>(), n, chunk, rows));
        }
    }

    /// <summary>Rows of one work item: on the CPU some 8,000 elements.</summary>
    private static int RowsOfItem(ComputeDevice device, int n) => device.IsDirect ? Math.Max(1, 8192 / Math.Max(1, n)) : 1;
}

/// <summary>One work item: <c>chunk</c> rows of y.</summary>
internal readonly struct SoftmaxKernel<T>(int log, ArrayView<T> x, ArrayView<T> y, int n, int chunk, int rows) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (x, y);
        for (int row = item * chunk; row < Math.Min(item * chunk + chunk, rows); row++)
        {
            int at = row * n;
            var largest = SoftmaxRows.Largest<L, T>(source, at, n);
            if (log != 0)
            {
                var shift = largest + Elementary.Log<L, T>(SoftmaxRows.SumOfExp<L, T>(source, at, n, largest));
                for (int j = 0; j < n; j += L.Width)
                    L.Store(destination, at + j, n - j, L.Load(source, at + j, n - j, shift) - shift);
                continue;
            }
            L sum = L.Constant(0);
            for (int j = 0; j < n; j += L.Width)
            {
                // Places past the row hold -infinity, whose exponential adds nothing.
                var e = Elementary.ExpOfNegative<L, T>(L.Load(source, at + j, n - j, L.Constant(double.NegativeInfinity)) - largest);
                sum += e;
                L.Store(destination, at + j, n - j, e);
            }
            var scale = L.Constant(1) / L.Splat(L.Sum(sum));
            for (int j = 0; j < n; j += L.Width)
                L.Store(destination, at + j, n - j, L.Load(destination, at + j, n - j, scale) * scale);
        }
    }
}

/// <summary>One work item: <c>chunk</c> rows of the gradient.</summary>
internal readonly struct SoftmaxGradientKernel<T>(int log, ArrayView<T> y, ArrayView<T> gradient, ArrayView<T> result, int n, int chunk, int rows) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (output, incoming, destination) = (y, gradient, result);
        for (int row = item * chunk; row < Math.Min(item * chunk + chunk, rows); row++)
        {
            int at = row * n;
            L zero = L.Constant(0), sum = zero;
            for (int j = 0; j < n; j += L.Width)
            {
                var g = L.Load(incoming, at + j, n - j, zero);
                sum = log != 0 ? sum + g : L.MultiplyAdd(g, L.Load(output, at + j, n - j, zero), sum);
            }
            sum = L.Splat(L.Sum(sum));
            for (int j = 0; j < n; j += L.Width)
            {
                L g = L.Load(incoming, at + j, n - j, zero), p = L.Load(output, at + j, n - j, zero);
                L.Store(destination, at + j, n - j, log != 0 ? g - Elementary.Exp<L, T>(p) * sum : p * (g - sum));
            }
        }
    }
}

/// <summary>One work item: <c>chunk</c> rows of losses, of weights, and of derivatives. Flags: 1 with class weights, 2 with derivatives.</summary>
internal readonly struct CrossEntropyKernel<T>(
    double smoothing, int ignored, int flags, ArrayView<T> logits, ArrayView<int> targets, ArrayView<T> weights, ArrayView<T> loss, ArrayView<T> rowWeights, ArrayView<T> gradient,
    int n, int chunk, int rows) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, derivative) = (logits, gradient);
        L zero = L.Constant(0), one = L.Constant(1), spread = L.Constant(smoothing / n), sharp = L.Constant(1 - smoothing);
        for (int row = item * chunk; row < Math.Min(item * chunk + chunk, rows); row++)
        {
            int at = row * n, target = L.At(targets, row);
            if (target == ignored || target < 0 || target >= n)
            {
                var value = target == ignored ? zero : L.Constant(double.NaN);
                L.At(loss, row) = L.First(value);
                L.At(rowWeights, row) = L.First(value);
                if ((flags & 2) != 0)
                {
                    for (int j = 0; j < n; j += L.Width)
                        L.Store(derivative, at + j, n - j, value);
                }
                continue;
            }
            var largest = SoftmaxRows.Largest<L, T>(source, at, n);
            var sum = SoftmaxRows.SumOfExp<L, T>(source, at, n, largest);
            var shift = largest + Elementary.Log<L, T>(sum);
            var weight = (flags & 1) != 0 ? L.Splat(L.At(weights, target)) : one;
            // Σ w and Σ w log p over the classes, which smoothing needs.
            L total = L.Constant(n), smooth = zero;
            if (smoothing != 0)
            {
                L w = zero, wp = zero;
                for (int j = 0; j < n; j += L.Width)
                {
                    var each = (flags & 1) != 0 ? L.Load(weights, j, n - j, zero) : L.IfLess(L.Ramp(), L.Constant(n - j), one, zero);
                    w += each;
                    wp += each * (L.Load(source, at + j, n - j, shift) - shift);
                }
                total = L.Splat(L.Sum(w));
                smooth = L.Splat(L.Sum(wp));
            }
            var own = sharp * weight;
            L.At(loss, row) = L.First(-(own * (L.Splat(L.At(source, at + target)) - shift)) - spread * smooth);
            L.At(rowWeights, row) = L.First(weight);
            if ((flags & 2) == 0)
                continue;
            var scale = smoothing != 0 ? own + spread * total : own;
            for (int j = 0; j < n; j += L.Width)
            {
                var d = scale * Elementary.Exp<L, T>(L.Load(source, at + j, n - j, shift) - shift);
                if (smoothing != 0)
                    d -= spread * ((flags & 1) != 0 ? L.Load(weights, j, n - j, zero) : one);
                L.Store(derivative, at + j, n - j, d);
            }
            L.At(derivative, at + target) = L.First(L.Splat(L.At(derivative, at + target)) - own);
        }
    }
}

internal static class SoftmaxRows
{
    /// <summary>The largest of a row, in every place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Largest<L, T>(ArrayView<T> x, int at, int n) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L low = L.Constant(double.NegativeInfinity), largest = low;
        for (int j = 0; j < n; j += L.Width)
            largest = L.Max(largest, L.Load(x, at + j, n - j, low));
        return L.Splat(L.Largest(largest));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L SumOfExp<L, T>(ArrayView<T> x, int at, int n, L largest) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L low = L.Constant(double.NegativeInfinity), sum = L.Constant(0);
        for (int j = 0; j < n; j += L.Width)
            sum += Elementary.ExpOfNegative<L, T>(L.Load(x, at + j, n - j, low) - largest);
        return L.Splat(L.Sum(sum));
    }
}
