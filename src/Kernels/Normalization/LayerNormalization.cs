using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Normalisation of the rows of [rows, n] by their own mean and variance, with a weight and a bias for each column.</summary>
internal static class LayerNormalization
{
    /// <summary>Rows whose parts of the weights' gradients are summed first: fixed, so that the bits are.</summary>
    private const int BlockRows = 64;

    /// <summary>y = (x - mean) / √(variance + epsilon) * weight + bias; statistics gets mean and 1/√ of each row, [rows, 2].</summary>
    public static void Forward(ComputeDevice device, double epsilon, in Slice x, Slice? weight, Slice? bias, int rows, int n, in Slice y, in Slice statistics)
    {
        int chunk = device.IsDirect ? Math.Max(1, 8192 / Math.Max(1, n)) : 1, items = (rows + chunk - 1) / chunk, flags = (weight is null ? 0 : 1) + (bias is null ? 0 : 2);
        if (x.Type == ElementType.Float64)
            device.Launch<double, LayerNormKernel<double>>(items, new(flags, epsilon, x.View<double>(), (weight ?? x).View<double>(), (bias ?? x).View<double>(), y.View<double>(), statistics.View<double>(), n, chunk, rows));
        else
            device.Launch<float, LayerNormKernel<float>>(items, new(flags, epsilon, x.View<float>(), (weight ?? x).View<float>(), (bias ?? x).View<float>(), y.View<float>(), statistics.View<float>(), n, chunk, rows));
    }

    /// <summary>The gradients of x, of the weight (Σ g x̂ over rows) and of the bias (Σ g over rows).</summary>
    public static void Backward(ComputeDevice device, in Slice x, in Slice gradient, in Slice statistics, Slice? weight, int rows, int n, in Slice result, in Slice weightGradient, in Slice biasGradient)
    {
        int blocks = (rows + BlockRows - 1) / BlockRows;
        var work = device.Memory.Rent(2L * blocks * n * x.Type.Size(), "partial gradients of a layer normalisation");
        Slice first = new(work, 0, blocks * n, x.Type), second = new(work, blocks * n, blocks * n, x.Type);
        int weighted = weight is null ? 0 : 1;
        if (x.Type == ElementType.Float64)
        {
            device.Launch<double, LayerNormGradientKernel<double>>(blocks, new(weighted, x.View<double>(), gradient.View<double>(), statistics.View<double>(), (weight ?? x).View<double>(),
                result.View<double>(), first.View<double>(), second.View<double>(), n, BlockRows, rows));
        }
        else
        {
            device.Launch<float, LayerNormGradientKernel<float>>(blocks, new(weighted, x.View<float>(), gradient.View<float>(), statistics.View<float>(), (weight ?? x).View<float>(),
                result.View<float>(), first.View<float>(), second.View<float>(), n, BlockRows, rows));
        }
        Reduction.Sum(device, first, 1, blocks, n, weightGradient);
        Reduction.Sum(device, second, 1, blocks, n, biasGradient);
        device.Memory.Return(work);
    }
}

/// <summary>One work item: <c>chunk</c> rows. Flags: 1 with a weight, 2 with a bias.</summary>
internal readonly struct LayerNormKernel<T>(int flags, double epsilon, ArrayView<T> x, ArrayView<T> weight, ArrayView<T> bias, ArrayView<T> y, ArrayView<T> statistics, int n, int chunk, int rows)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination, w, b) = (x, y, weight, bias);
        L zero = L.Constant(0), one = L.Constant(1), length = L.Constant(n);
        for (int row = item * chunk; row < Math.Min(item * chunk + chunk, rows); row++)
        {
            int at = row * n;
            L sum = zero;
            for (int j = 0; j < n; j += L.Width)
                sum += L.Load(source, at + j, n - j, zero);
            var mean = L.Splat(L.Sum(sum)) / length;
            L squares = zero;
            for (int j = 0; j < n; j += L.Width)
            {
                var d = L.Load(source, at + j, n - j, mean) - mean;
                squares = L.MultiplyAdd(d, d, squares);
            }
            var scale = one / L.Sqrt(L.Splat(L.Sum(squares)) / length + L.Constant(epsilon));
            L.At(statistics, 2 * row) = L.First(mean);
            L.At(statistics, 2 * row + 1) = L.First(scale);
            for (int j = 0; j < n; j += L.Width)
            {
                var value = (L.Load(source, at + j, n - j, mean) - mean) * scale;
                if ((flags & 1) != 0)
                    value *= L.Load(w, j, n - j, one);
                if ((flags & 2) != 0)
                    value += L.Load(b, j, n - j, one);
                L.Store(destination, at + j, n - j, value);
            }
        }
    }
}

/// <summary>One work item: a block of rows of x's gradient, and their parts of the weight's and bias's.</summary>
internal readonly struct LayerNormGradientKernel<T>(
    int weighted, ArrayView<T> x, ArrayView<T> gradient, ArrayView<T> statistics, ArrayView<T> weight, ArrayView<T> result, ArrayView<T> weightPart, ArrayView<T> biasPart, int n, int block, int rows)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, incoming, destination, w, parts, sums) = (x, gradient, result, weight, weightPart, biasPart);
        L zero = L.Constant(0), length = L.Constant(n);
        for (int j = 0; j < n; j += L.Width)
        {
            L.Store(parts, item * n + j, n - j, zero);
            L.Store(sums, item * n + j, n - j, zero);
        }
        for (int row = item * block; row < Math.Min(item * block + block, rows); row++)
        {
            int at = row * n;
            L mean = L.Splat(L.At(statistics, 2 * row)), scale = L.Splat(L.At(statistics, 2 * row + 1)), sum = zero, product = zero;
            for (int j = 0; j < n; j += L.Width)
            {
                L g = L.Load(incoming, at + j, n - j, zero), normal = (L.Load(source, at + j, n - j, mean) - mean) * scale;
                L.Store(parts, item * n + j, n - j, L.MultiplyAdd(g, normal, L.Load(parts, item * n + j, n - j, zero)));
                L.Store(sums, item * n + j, n - j, L.Load(sums, item * n + j, n - j, zero) + g);
                if (weighted != 0)
                    g *= L.Load(w, j, n - j, zero);
                sum += g;
                product = L.MultiplyAdd(g, normal, product);
            }
            L average = L.Splat(L.Sum(sum)) / length, slope = L.Splat(L.Sum(product)) / length;
            for (int j = 0; j < n; j += L.Width)
            {
                L g = L.Load(incoming, at + j, n - j, zero), normal = (L.Load(source, at + j, n - j, mean) - mean) * scale;
                if (weighted != 0)
                    g *= L.Load(w, j, n - j, zero);
                L.Store(destination, at + j, n - j, (g - average - normal * slope) * scale);
            }
        }
    }
}
