namespace TransferEngine.Kernels;

/// <summary>e to the x; its own derivative.</summary>
internal readonly struct Exp : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Exp<L, T>(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => y;
}

/// <summary>e to the x, minus 1.</summary>
internal readonly struct Expm1 : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Expm1<L, T>(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => y + L.Constant(1);
}

/// <summary>The natural logarithm.</summary>
internal readonly struct Log : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Log<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(1) / x;
}

/// <summary>log(1 + x), exact near 0.</summary>
internal readonly struct Log1p : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Log1p<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(1) / (L.Constant(1) + x);
}

/// <summary>The square root; infinite derivative at 0.</summary>
internal readonly struct Sqrt : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Sqrt(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(0.5) / y;
}

/// <summary>1 / √x.</summary>
internal readonly struct Rsqrt : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(1) / L.Sqrt(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(-0.5) * y * y * y;
}

/// <summary>x².</summary>
internal readonly struct Square : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => x * x;

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => x + x;
}

/// <summary>The magnitude; derivative 0 at 0, as PyTorch's.</summary>
internal readonly struct Abs : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Abs(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sign<L, T>(x);
}

/// <summary>The sine.</summary>
internal readonly struct Sine : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sin<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Cos<L, T>(x);
}

/// <summary>The cosine.</summary>
internal readonly struct Cosine : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Cos<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => -Elementary.Sin<L, T>(x);
}

/// <summary>x to a constant power; derivative 0 everywhere where the power is 0.</summary>
internal readonly struct Power(double exponent) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Pow<L, T>(x, L.Constant(exponent));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => exponent == 0 ? L.Constant(0) : L.Constant(exponent) * Elementary.Pow<L, T>(x, L.Constant(exponent - 1));
}

/// <summary>The error function, 2/√π times the integral of e^(-t²) from 0 to x.</summary>
internal readonly struct ErrorFunction : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Erf<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(1.1283791670955126) * Elementary.Exp<L, T>(-x * x);
}

/// <summary>-1, 0 or 1.</summary>
internal readonly struct Sign : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sign<L, T>(x);
}

/// <summary>The largest integer not above x.</summary>
internal readonly struct Floor : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Floor(x);
}

/// <summary>The smallest integer not below x.</summary>
internal readonly struct Ceiling : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => -L.Floor(-x);
}

/// <summary>The nearest integer, halves to the even one.</summary>
internal readonly struct Round : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Round<L, T>(x);
}
