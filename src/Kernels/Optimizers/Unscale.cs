using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

internal static partial class Updates
{
    /// <summary>g *= factor; where a number of g is not finite, found[0] = 1.</summary>
    public static void Unscale(ComputeDevice device, double factor, in Slice g, in Slice found)
    {
        int chunk = device.ChunkOf(g.Length), items = (g.Length + chunk - 1) / chunk;
        if (g.Type == ElementType.Float64)
            device.Launch<double, UnscaleKernel<double>>(items, new(factor, double.MaxValue, g.View<double>(), found.View<int>(), chunk, g.Length));
        else
            device.Launch<float, UnscaleKernel<float>>(items, new(factor, float.MaxValue, g.View<float>(), found.View<int>(), chunk, g.Length));
    }
}

/// <summary>One work item: <c>chunk</c> elements of g. All who find something write the same.</summary>
internal readonly struct UnscaleKernel<T>(double factor, T largest, ArrayView<T> g, ArrayView<int> found, int chunk, int n) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (slope, flag) = (g, found);
        L scale = L.Constant(factor), most = L.Splat(largest), none = L.Constant(0), one = L.Constant(1), wrong = none;
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            var x = L.Load(slope, i, end - i, none);
            wrong = L.Max(wrong, L.IfLessOrEqual(L.Abs(x), most, none, one)); // a NaN is not less either
            L.Store(slope, i, end - i, x * scale);
        }
        if (L.IsOne(L.Splat(L.Largest(wrong))))
            L.At(flag, 0) = 1;
    }
}
