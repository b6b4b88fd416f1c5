using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>a * b + c: x times its channel's scale plus its shift.</summary>
internal readonly struct ScaleShift : ITernary
{
    public L Apply<L, T>(L a, L b, L c) where L : unmanaged, ILane<L, T> where T : unmanaged => L.MultiplyAdd(a, b, c);
}

/// <summary>Moves a running statistic a towards the batch's b.</summary>
internal readonly struct MoveTowards(double momentum, double scale) : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.MultiplyAdd(b, L.Constant(momentum * scale), a * L.Constant(1 - momentum));
}

/// <summary>Statistics of the channels of [batch, channels, size], and the gradient of normalising by them. Applying them is an element-wise kernel.</summary>
internal static class BatchNormalization
{
    /// <summary>mean[c] and variance[c] (over all elements, biased) of each channel.</summary>
    public static void Statistics(ComputeDevice device, in Slice x, int batch, int channels, int size, in Slice mean, in Slice variance)
    {
        if (x.Type == ElementType.Float64)
            device.Launch<double, ChannelStatisticsKernel<double>>(channels, new(x.View<double>(), mean.View<double>(), variance.View<double>(), batch, channels, size));
        else
            device.Launch<float, ChannelStatisticsKernel<float>>(channels, new(x.View<float>(), mean.View<float>(), variance.View<float>(), batch, channels, size));
    }

    /// <summary>
    /// biasGradient[c] = Σ g, weightGradient[c] = Σ g x̂, and, unless <paramref name="wantsInput"/> is 0,
    /// result = w / σ (g - Σ g / M - x̂ Σ g x̂ / M), with x̂ = (x - mean) / σ, M the elements of a channel, σ = √(variance + epsilon).
    /// </summary>
    public static void Backward(
        ComputeDevice device, int wantsInput, double epsilon, in Slice x, in Slice gradient, in Slice mean, in Slice variance, Slice? weight, int batch, int channels, int size,
        in Slice weightGradient, in Slice biasGradient, in Slice result)
    {
        int weighted = weight is null ? 0 : 1;
        if (x.Type == ElementType.Float64)
        {
            device.Launch<double, BatchGradientKernel<double>>(channels, new(wantsInput, weighted, epsilon, x.View<double>(), gradient.View<double>(), mean.View<double>(), variance.View<double>(),
                (weight ?? mean).View<double>(), weightGradient.View<double>(), biasGradient.View<double>(), result.View<double>(), batch, channels, size));
        }
        else
        {
            device.Launch<float, BatchGradientKernel<float>>(channels, new(wantsInput, weighted, epsilon, x.View<float>(), gradient.View<float>(), mean.View<float>(), variance.View<float>(),
                (weight ?? mean).View<float>(), weightGradient.View<float>(), biasGradient.View<float>(), result.View<float>(), batch, channels, size));
        }
    }
}

/// <summary>
/// One work item: a channel. Each image's part is read once from memory: its own mean and squared deviations, merged with those so far by Chan's formula
/// (Chan, Golub and LeVeque 1979), which loses nothing to cancellation.
/// </summary>
internal readonly struct ChannelStatisticsKernel<T>(ArrayView<T> x, ArrayView<T> mean, ArrayView<T> variance, int batch, int channels, int size) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var source = x;
        L zero = L.Constant(0), average = zero, squares = zero, length = L.Constant(size);
        for (int n = 0; n < batch; n++)
        {
            int at = (n * channels + item) * size;
            L sum = zero, more = zero;
            int j = 0;
            for (; j + 2 * L.Width <= size; j += 2 * L.Width)
            {
                sum += L.Load(source, at + j);
                more += L.Load(source, at + j + L.Width);
            }
            for (; j < size; j += L.Width)
                sum += L.Load(source, at + j, size - j, zero);
            var own = L.Splat(L.Sum(sum + more)) / length;
            L deviation = zero;
            for (j = 0; j < size; j += L.Width)
            {
                var d = L.Load(source, at + j, size - j, own) - own;
                deviation = L.MultiplyAdd(d, d, deviation);
            }
            var difference = own - average;
            L before = L.Constant(n), after = L.Constant(n + 1);
            average += difference / after;
            squares = squares + L.Splat(L.Sum(deviation)) + difference * difference * (length * before / after);
        }
        L.At(mean, item) = L.First(average);
        L.At(variance, item) = L.First(squares / (length * L.Constant(batch)));
    }
}

/// <summary>One work item: a channel of the gradients.</summary>
internal readonly struct BatchGradientKernel<T>(
    int wantsInput, int weighted, double epsilon, ArrayView<T> x, ArrayView<T> gradient, ArrayView<T> mean, ArrayView<T> variance, ArrayView<T> weight, ArrayView<T> weightGradient,
    ArrayView<T> biasGradient, ArrayView<T> result, int batch, int channels, int size) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, incoming, destination) = (x, gradient, result);
        L zero = L.Constant(0), sum = zero, product = zero, centre = L.Splat(L.At(mean, item));
        for (int n = 0; n < batch; n++)
        {
            int at = (n * channels + item) * size;
            L own = zero, ownProduct = zero;
            for (int j = 0; j < size; j += L.Width)
            {
                var g = L.Load(incoming, at + j, size - j, zero);
                own += g;
                ownProduct = L.MultiplyAdd(g, L.Load(source, at + j, size - j, centre) - centre, ownProduct);
            }
            sum += own;
            product += ownProduct;
        }
        var scale = L.Constant(1) / L.Sqrt(L.Splat(L.At(variance, item)) + L.Constant(epsilon));
        sum = L.Splat(L.Sum(sum));
        product = L.Splat(L.Sum(product)) * scale;
        L.At(biasGradient, item) = L.First(sum);
        L.At(weightGradient, item) = L.First(product);
        if (wantsInput == 0)
            return;
        var count = L.Constant((double)batch * size);
        var a = weighted != 0 ? L.Splat(L.At(weight, item)) * scale : scale;
        var b = -a * scale * product / count;
        var c = -a * sum / count - b * centre;
        for (int n = 0; n < batch; n++)
        {
            int at = (n * channels + item) * size;
            for (int j = 0; j < size; j += L.Width)
            {
                L g = L.Load(incoming, at + j, size - j, zero), value = L.Load(source, at + j, size - j, zero);
                L.Store(destination, at + j, size - j, L.MultiplyAdd(a, g, L.MultiplyAdd(b, value, c)));
            }
        }
    }
}
