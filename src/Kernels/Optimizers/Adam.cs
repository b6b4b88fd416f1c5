using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019), PyTorch's updates.</summary>
/// <param name="LearningRate">The step size.</param>
/// <param name="Beta1">The part of the running mean of gradients that stays.</param>
/// <param name="Beta2">The part of the running mean of squared gradients that stays.</param>
/// <param name="Epsilon">What is added to the root in the denominator.</param>
/// <param name="WeightDecay">The L2 penalty, or the relative decay of the weights where <paramref name="Decoupled"/>.</param>
/// <param name="Step">The number of this step, from 1 on.</param>
/// <param name="Decoupled">1 for AdamW's decay, 0 for Adam's.</param>
/// <param name="AmsGrad">1 to divide by the largest second moment so far (Reddi et al., ICLR 2018), else 0.</param>
internal readonly record struct AdamStep(
    double LearningRate, double Beta1, double Beta2, double Epsilon, double WeightDecay, int Step, int Decoupled, int AmsGrad);

internal static partial class Updates
{
    /// <summary>p and its moments after one step; without AMSGrad the largest moment is not touched and may be p.</summary>
    public static void Adam(ComputeDevice device, in AdamStep step, in Slice p, in Slice gradient, in Slice mean, in Slice square, in Slice largest)
    {
        if (p.Type == ElementType.Float64)
            Adam<double>(device, step, p, gradient, mean, square, largest);
        else
            Adam<float>(device, step, p, gradient, mean, square, largest);
    }

    private static void Adam<T>(ComputeDevice device, in AdamStep step, in Slice p, in Slice gradient, in Slice mean, in Slice square, in Slice largest)
        where T : unmanaged
    {
        int chunk = device.ChunkOf(p.Length);
        double correction1 = 1 - Math.Pow(step.Beta1, step.Step), correction2 = Math.Sqrt(1 - Math.Pow(step.Beta2, step.Step));
        device.Launch<T, AdamKernel<T>>((p.Length + chunk - 1) / chunk, new(
            step, step.LearningRate / correction1, 1 / correction2, p.View<T>(), gradient.View<T>(), mean.View<T>(), square.View<T>(), largest.View<T>(), chunk, p.Length));
    }
}

/// <summary>One work item: <c>chunk</c> elements of the parameter and its moments; the bias corrections come computed.</summary>
internal readonly struct AdamKernel<T>(
    AdamStep step, double rate, double rootScale, ArrayView<T> p, ArrayView<T> gradient, ArrayView<T> mean, ArrayView<T> square, ArrayView<T> largest, int chunk, int n)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (parameter, slope, first, second, maximum) = (p, gradient, mean, square, largest);
        L keep = L.Constant(step.Decoupled != 0 ? 1 - step.LearningRate * step.WeightDecay : 1), penalty = L.Constant(step.Decoupled != 0 ? 0 : step.WeightDecay);
        L enters1 = L.Constant(1 - step.Beta1), beta2 = L.Constant(step.Beta2), enters2 = L.Constant(1 - step.Beta2);
        L scale = L.Constant(rootScale), epsilon = L.Constant(step.Epsilon), stride = L.Constant(-rate);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            var weight = L.Load(parameter, i, end - i, keep) * keep;
            var g = L.MultiplyAdd(penalty, weight, L.Load(slope, i, end - i, keep));
            var m = L.Load(first, i, end - i, keep);
            m = L.MultiplyAdd(g - m, enters1, m);
            var v = L.MultiplyAdd(beta2, L.Load(second, i, end - i, keep), enters2 * g * g);
            L.Store(first, i, end - i, m);
            L.Store(second, i, end - i, v);
            if (step.AmsGrad != 0)
            {
                v = L.Max(v, L.Load(maximum, i, end - i, keep));
                L.Store(maximum, i, end - i, v);
            }
            L.Store(parameter, i, end - i, L.MultiplyAdd(stride, m / L.MultiplyAdd(L.Sqrt(v), scale, epsilon), weight));
        }
    }
}
