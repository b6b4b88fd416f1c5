namespace TransferEngine.Kernels;

/// <summary>max(x, 0); NaN passes through. The derivative at 0 is 0, as PyTorch's, and is taken from the output, which has x's sign.</summary>
internal readonly struct Relu : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLessOrEqual(x, L.Constant(0), L.Constant(0), x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfLessOrEqual(y, L.Constant(0), L.Constant(0), L.Constant(1));
}
