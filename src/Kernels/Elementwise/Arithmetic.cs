namespace TransferEngine.Kernels;

internal readonly struct Add : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a + b;
}

internal readonly struct Subtract : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a - b;
}

internal readonly struct Multiply : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a * b;
}

internal readonly struct Divide : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a / b;
}

/// <summary>x * scale + shift.</summary>
internal readonly struct Affine(double scale, double shift) : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.MultiplyAdd(x, L.Constant(scale), L.Constant(shift));
}

/// <summary>numerator / x.</summary>
internal readonly struct Reciprocal(double numerator) : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(numerator) / x;
}

/// <summary>a * scale + b: accumulates a multiple.</summary>
internal readonly struct MultiplyAccumulate(double scale) : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.MultiplyAdd(a, L.Constant(scale), b);
}
