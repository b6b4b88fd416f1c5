using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>RMSprop (Tieleman and Hinton, 2012; centred: Graves, 2013), PyTorch's update.</summary>
/// <param name="LearningRate">The step size.</param>
/// <param name="Alpha">The part of the running means that stays.</param>
/// <param name="Epsilon">What is added to the root in the denominator.</param>
/// <param name="WeightDecay">The L2 penalty, added to the gradient.</param>
/// <param name="Momentum">The part of the velocity that stays; 0 keeps no velocity.</param>
/// <param name="Centered">1 to divide by the deviation of the gradients, not by their size; else 0.</param>
internal readonly record struct RmsPropStep(double LearningRate, double Alpha, double Epsilon, double WeightDecay, double Momentum, int Centered);

internal static partial class Updates
{
    /// <summary>p and its state after one step; the mean unless centred, and the velocity without momentum, are not touched and may be p.</summary>
    public static void RmsProp(ComputeDevice device, in RmsPropStep step, in Slice p, in Slice gradient, in Slice square, in Slice mean, in Slice velocity)
    {
        if (p.Type == ElementType.Float64)
            RmsProp<double>(device, step, p, gradient, square, mean, velocity);
        else
            RmsProp<float>(device, step, p, gradient, square, mean, velocity);
    }

    private static void RmsProp<T>(ComputeDevice device, in RmsPropStep step, in Slice p, in Slice gradient, in Slice square, in Slice mean, in Slice velocity)
        where T : unmanaged
    {
        int chunk = device.ChunkOf(p.Length);
        device.Launch<T, RmsPropKernel<T>>((p.Length + chunk - 1) / chunk, new(
            step, p.View<T>(), gradient.View<T>(), square.View<T>(), mean.View<T>(), velocity.View<T>(), chunk, p.Length));
    }
}

/// <summary>One work item: <c>chunk</c> elements of the parameter and its state.</summary>
internal readonly struct RmsPropKernel<T>(
    RmsPropStep step, ArrayView<T> p, ArrayView<T> gradient, ArrayView<T> square, ArrayView<T> mean, ArrayView<T> velocity, int chunk, int n)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (parameter, slope, second, first, speed) = (p, gradient, square, mean, velocity);
        L decay = L.Constant(step.WeightDecay), alpha = L.Constant(step.Alpha), enters = L.Constant(1 - step.Alpha);
        L epsilon = L.Constant(step.Epsilon), momentum = L.Constant(step.Momentum), rate = L.Constant(-step.LearningRate);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            var weight = L.Load(parameter, i, end - i, decay);
            var g = L.MultiplyAdd(decay, weight, L.Load(slope, i, end - i, decay));
            var v = L.MultiplyAdd(alpha, L.Load(second, i, end - i, decay), enters * g * g);
            L.Store(second, i, end - i, v);
            if (step.Centered != 0)
            {
                var m = L.Load(first, i, end - i, decay);
                m = L.MultiplyAdd(g - m, enters, m);
                L.Store(first, i, end - i, m);
                v -= m * m;
            }
            var move = g / (L.Sqrt(v) + epsilon);
            if (step.Momentum != 0)
            {
                move = L.MultiplyAdd(momentum, L.Load(speed, i, end - i, decay), move);
                L.Store(speed, i, end - i, move);
            }
            L.Store(parameter, i, end - i, L.MultiplyAdd(rate, move, weight));
        }
    }
}
