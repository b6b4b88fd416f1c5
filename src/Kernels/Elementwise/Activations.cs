using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>1 / (1 + e^-x).</summary>
internal readonly struct Sigmoid : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sigmoid<L, T>(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => y * (L.Constant(1) - y);
}

/// <summary>The hyperbolic tangent.</summary>
internal readonly struct Tanh : IDifferentiable
{
    public static bool FromOutput => true;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Tanh<L, T>(x);

    public L Derivative<L, T>(L y) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Constant(1) - y * y;
}

/// <summary>x times its sigmoid.</summary>
internal readonly struct Silu : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => x * Elementary.Sigmoid<L, T>(x);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var s = Elementary.Sigmoid<L, T>(x);
        return s * (L.Constant(1) + x * (L.Constant(1) - s));
    }
}

/// <summary>x Φ(x), Φ the standard normal distribution: Hendrycks and Gimpel 2016. Its derivative is Φ(x) + x φ(x), φ the density.</summary>
internal readonly struct Gelu : IDifferentiable
{
    public static bool FromOutput => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        if (L.FractionBits <= 30)
            return L.MultiplyAdd(L.Abs(x), Elementary.NormalCentre<L, T>(x), L.Constant(0.5) * x);
        var tail = Elementary.NormalTail<L, T>(x, out _);
        return x * L.IfLess(x, L.Constant(0), tail, L.Constant(1) - tail);
    }

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var tail = Elementary.NormalTail<L, T>(x, out var density);
        return L.IfLess(x, L.Constant(0), tail, L.Constant(1) - tail) + x * density * L.Constant(0.39894228040143268);
    }
}

/// <summary>The tanh approximation of <see cref="Gelu"/>: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).</summary>
internal readonly struct GeluTanh : IDifferentiable
{
    private const double Scale = 0.79788456080286536, Cubic = 0.044715;

    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.Constant(0.5) * x * (L.Constant(1) + Elementary.Tanh<L, T>(L.Constant(Scale) * x * (L.Constant(1) + L.Constant(Cubic) * x * x)));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var t = Elementary.Tanh<L, T>(L.Constant(Scale) * x * (L.Constant(1) + L.Constant(Cubic) * x * x));
        var inner = L.Constant(Scale) * (L.Constant(1) + L.Constant(3 * Cubic) * x * x);
        return L.Constant(0.5) * (L.Constant(1) + t + x * (L.Constant(1) - t * t) * inner);
    }
}

/// <summary>x where positive, elsewhere slope times x; derivative at 0 the slope, as PyTorch's.</summary>
internal readonly struct LeakyRelu(double slope) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(L.Constant(0), x, x, x * L.Constant(slope));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(L.Constant(0), x, L.Constant(1), L.Constant(slope));
}

/// <summary>x where positive, elsewhere alpha (e^x - 1): Clevert et al. 2016.</summary>
internal readonly struct Elu(double alpha) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(L.Constant(0), x, x, L.Constant(alpha) * Elementary.Expm1<L, T>(x));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(L.Constant(0), x, L.Constant(1), L.Constant(alpha) * Elementary.Exp<L, T>(x));
}

/// <summary>log(1 + e^(beta x)) / beta, and x itself past the threshold of beta x, as PyTorch's.</summary>
internal readonly struct Softplus(double beta, double threshold) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var z = x * L.Constant(beta);
        return L.IfLess(L.Constant(threshold), z, x, Elementary.Log1p<L, T>(Elementary.Exp<L, T>(z)) / L.Constant(beta));
    }

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var z = x * L.Constant(beta);
        return L.IfLess(L.Constant(threshold), z, L.Constant(1), Elementary.Sigmoid<L, T>(z));
    }
}

/// <summary>-log(1 + e^-x), without overflow: min(x, 0) - log(1 + e^-|x|).</summary>
internal readonly struct LogSigmoid : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Min(x, L.Constant(0)) - Elementary.Log1p<L, T>(Elementary.Exp<L, T>(-L.Abs(x)));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sigmoid<L, T>(-x);
}

/// <summary>x, not below low nor above high; NaN passes through. Derivative 1 at the bounds, as PyTorch's.</summary>
internal readonly struct Clamp(double low, double high) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(x, L.Constant(low), L.Constant(low), L.IfLess(L.Constant(high), x, L.Constant(high), x));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(x, L.Constant(low), L.Constant(0), L.IfLess(L.Constant(high), x, L.Constant(0), L.Constant(1)));
}

/// <summary>x between low and high, else the bound. Derivative 0 at the bounds, as PyTorch's.</summary>
internal readonly struct HardTanh(double low, double high) : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(x, L.Constant(low), L.Constant(low), L.IfLess(L.Constant(high), x, L.Constant(high), x));

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLessOrEqual(x, L.Constant(low), L.Constant(0), L.IfLess(x, L.Constant(high), L.Constant(1), L.Constant(0)));
}

/// <summary>min(max(x + 3, 0), 6) / 6; derivative 0 at ±3.</summary>
internal readonly struct HardSigmoid : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Min(L.Max(x + L.Constant(3), L.Constant(0)), L.Constant(6)) / L.Constant(6);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLessOrEqual(x, L.Constant(-3), L.Constant(0), L.IfLess(x, L.Constant(3), L.Constant(1.0 / 6), L.Constant(0)));
}

/// <summary>x times its hard sigmoid: Howard et al. 2019.</summary>
internal readonly struct HardSwish : IDifferentiable
{
    public static bool FromOutput => false;

    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => x * L.Min(L.Max(x + L.Constant(3), L.Constant(0)), L.Constant(6)) / L.Constant(6);

    public L Derivative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(x, L.Constant(-3), L.Constant(0), L.IfLessOrEqual(x, L.Constant(3), x / L.Constant(3) + L.Constant(0.5), L.Constant(1)));
}
