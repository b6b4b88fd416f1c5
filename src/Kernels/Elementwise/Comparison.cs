namespace TransferEngine.Kernels;

/// <summary>x &gt; bound as 1 or 0; 0 for NaN.</summary>
internal readonly struct GreaterThan(double bound) : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfLess(L.Constant(bound), x, L.Constant(1), L.Constant(0));
}
