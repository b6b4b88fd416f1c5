namespace TransferEngine.Kernels;

/// <summary>A function of one number, written once for every lane. Its settings (a slope, a bound) are its fields.</summary>
internal interface IUnary
{
    L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

/// <summary>A function whose derivative stands beside it, as a function of the input or, where <see cref="FromOutput"/>, of the output.</summary>
internal interface IDifferentiable : IUnary
{
    static abstract bool FromOutput { get; }

    L Derivative<L, T>(L saved) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

/// <summary>A function of two numbers.</summary>
internal interface IBinary
{
    L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

/// <summary>A function of three numbers.</summary>
internal interface ITernary
{
    L Apply<L, T>(L a, L b, L c) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

/// <summary>The chain rule: gradient times derivative, for the fused backward pass of any <see cref="IDifferentiable"/>.</summary>
internal readonly struct Chain<F>(F function) : IBinary where F : struct, IDifferentiable
{
    public L Apply<L, T>(L gradient, L saved) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        gradient * function.Derivative<L, T>(saved);
}
