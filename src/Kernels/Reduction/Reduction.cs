using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Reductions over the middle axis of [outer, n, inner].</summary>
internal static class Reduction
{
    /// <summary>y[o, i] = sum over j of x[o, j, i].</summary>
    public static void Sum(ComputeDevice device, in Slice x, int outer, int n, int inner, in Slice y)
    {
        if (x.Type == ElementType.Float64)
            device.Launch<double, SumKernel<double>>(outer * inner, new(x.View<double>(), y.View<double>(), n, inner));
        else
            device.Launch<float, SumKernel<float>>(outer * inner, new(x.View<float>(), y.View<float>(), n, inner));
    }
}

/// <summary>One work item: the sum at one outer and inner position.</summary>
internal readonly struct SumKernel<T>(ArrayView<T> x, ArrayView<T> y, int n, int inner) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        int outer = item / inner, i = item - outer * inner;
        var sum = L.Constant(0);
        for (int j = 0; j < n; j++)
            sum += L.Splat(L.At(x, (outer * n + j) * inner + i));
        L.At(y, item) = L.First(sum);
    }
}
