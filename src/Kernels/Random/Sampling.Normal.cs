using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

internal static partial class Sampling
{
    /// <summary>Normal, by Box and Muller's transform.</summary>
    public static void Normal(ComputeDevice device, PhiloxState state, double mean, double deviation, in Slice y) =>
        Draw(device, state, new NormalDraw(mean, deviation), y, y);
}

internal readonly struct NormalDraw(double mean, double deviation) : IDraw
{
    public static int Inputs => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Apply<L, T>(ref L a, ref L b, L xa, L xb) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var radius = L.Sqrt(L.Constant(-2) * Elementary.Log<L, T>(L.Constant(1) - a)) * L.Constant(deviation);
        var angle = b * L.Constant(2 * Math.PI);
        a = L.MultiplyAdd(radius, Elementary.Cos<L, T>(angle), L.Constant(mean));
        b = L.MultiplyAdd(radius, Elementary.Sin<L, T>(angle), L.Constant(mean));
    }
}
