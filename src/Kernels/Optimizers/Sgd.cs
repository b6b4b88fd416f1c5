using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Stochastic gradient descent with momentum, PyTorch's update.</summary>
/// <param name="LearningRate">The step size.</param>
/// <param name="Momentum">The part of the velocity that stays; 0 keeps no velocity.</param>
/// <param name="Dampening">The part of the gradient that does not enter the velocity.</param>
/// <param name="WeightDecay">The L2 penalty, added to the gradient.</param>
/// <param name="Nesterov">1 to look ahead by the velocity, else 0.</param>
/// <param name="First">1 at a parameter's first step, at which the velocity becomes the gradient, undampened; else 0.</param>
internal readonly record struct SgdStep(double LearningRate, double Momentum, double Dampening, double WeightDecay, int Nesterov, int First);

/// <summary>The updates of the optimisers: one launch a parameter, which reads the gradient and changes the parameter and its state in place.</summary>
internal static partial class Updates
{
    /// <summary>p and its velocity after one step; without momentum the velocity is not touched and may be p.</summary>
    public static void Sgd(ComputeDevice device, in SgdStep step, in Slice p, in Slice gradient, in Slice velocity)
    {
        int chunk = device.ChunkOf(p.Length), items = (p.Length + chunk - 1) / chunk;
        if (p.Type == ElementType.Float64)
            device.Launch<double, SgdKernel<double>>(items, new(step, p.View<double>(), gradient.View<double>(), velocity.View<double>(), chunk, p.Length));
        else
            device.Launch<float, SgdKernel<float>>(items, new(step, p.View<float>(), gradient.View<float>(), velocity.View<float>(), chunk, p.Length));
    }
}

/// <summary>One work item: <c>chunk</c> elements of the parameter and its velocity.</summary>
internal readonly struct SgdKernel<T>(SgdStep step, ArrayView<T> p, ArrayView<T> gradient, ArrayView<T> velocity, int chunk, int n) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (parameter, slope, speed) = (p, gradient, velocity);
        L rate = L.Constant(-step.LearningRate), momentum = L.Constant(step.Momentum), enters = L.Constant(1 - step.Dampening), decay = L.Constant(step.WeightDecay);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            var weight = L.Load(parameter, i, end - i, decay);
            var g = L.MultiplyAdd(decay, weight, L.Load(slope, i, end - i, decay));
            if (step.Momentum != 0)
            {
                var v = step.First != 0 ? g : L.MultiplyAdd(momentum, L.Load(speed, i, end - i, decay), enters * g);
                L.Store(speed, i, end - i, v);
                g = step.Nesterov != 0 ? L.MultiplyAdd(momentum, v, g) : v;
            }
            L.Store(parameter, i, end - i, L.MultiplyAdd(rate, g, weight));
        }
    }
}

/// <summary>x cut to -limit to limit; NaN passes through.</summary>
internal readonly struct Bound(double limit) : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Min(L.Max(x, L.Constant(-limit)), L.Constant(limit));
}
