using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// Elementary functions over the primitives of a lane, one source for every machine and both precisions: a reduction of the argument and a
/// polynomial long enough for the precision. NaN passes through all of them.
/// </summary>
internal static partial class Elementary
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    /// <summary>e to the x: x = n ln 2 + r with |r| at most ln 2 / 2, and the series of e^r. Within 2 ULP; overflows to infinity, and falls to 0 through the subnormals.</summary>
    [MethodImpl(Inline)]
    public static L Exp<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var q = ReducedExpm1<L, T>(Clamped<L, T>(x), out var n);
        var half = L.Floor(n * L.Constant(0.5));
        return (q + L.Constant(1)) * L.PowerOfTwo(half) * L.PowerOfTwo(n - half);
    }

    /// <summary>e to the x for x of at most 0, in fewer steps than <see cref="Exp"/>: within 2 ULP, 0 where the answer is subnormal.</summary>
    [MethodImpl(Inline)]
    public static L ExpOfNegative<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        // At the bound the power's exponent is that of 0.
        L low = L.Constant(L.FractionBits > 30 ? -709 : -88);
        var q = ReducedExpm1<L, T>(L.IfLess(x, low, low, x), out var n);
        var power = L.PowerOfTwo(n);
        return L.MultiplyAdd(q, power, power);
    }

    /// <summary>e to the x, minus 1, exact near 0. Within 3 ULP.</summary>
    [MethodImpl(Inline)]
    public static L Expm1<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var q = ReducedExpm1<L, T>(Clamped<L, T>(x), out var n);
        var half = L.Floor(n * L.Constant(0.5));
        L low = L.PowerOfTwo(half), high = L.PowerOfTwo(n - half);
        // 2^n (q + 1) - 1: for n = 0 that is q itself, without the rounding of the 1.
        return L.IfEqual(n, L.Constant(0), q, (q * low + (low - L.Constant(1) / high)) * high);
    }

    /// <summary>The natural logarithm: x = m 2^e with m between √½ and √2, and the series of the area tangent. Within 2 ULP; -infinity at 0, NaN below.</summary>
    [MethodImpl(Inline)]
    public static L Log<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var smallest = L.Constant(L.FractionBits > 30 ? 2.2250738585072014e-308 : 1.1754943508222875e-38);
        var lifted = L.IfLess(x, smallest, x * L.Constant(18014398509481984.0), x); // 2^54
        var e = L.Exponent(lifted);
        var m = lifted * L.Constant(0.5) * L.PowerOfTwo(L.Constant(1) - e);
        var above = L.IfLess(L.Constant(1.4142135623730951), m, L.Constant(1), L.Constant(0));
        m = L.IfLess(L.Constant(1.4142135623730951), m, m * L.Constant(0.5), m);
        e = e + above - L.IfLess(x, smallest, L.Constant(54), L.Constant(0));
        var f = m - L.Constant(1);
        var s = f / (f + L.Constant(2));
        var z = s * s;
        var p = L.Constant(1.0 / 9);
        if (L.FractionBits > 30)
        {
            p = L.Constant(1.0 / 21);
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 19));
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 17));
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 15));
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 13));
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 11));
            p = L.MultiplyAdd(p, z, L.Constant(1.0 / 9));
        }
        p = L.MultiplyAdd(p, z, L.Constant(1.0 / 7));
        p = L.MultiplyAdd(p, z, L.Constant(1.0 / 5));
        p = L.MultiplyAdd(p, z, L.Constant(1.0 / 3));
        // log m = 2 s + 2 s z p, and 2 s = f - s f, which keeps f exact.
        var log = f - s * (f - L.Constant(2) * z * p);
        var y = L.MultiplyAdd(e, Ln2High<L, T>(), L.MultiplyAdd(e, Ln2Low<L, T>(), log));
        y = L.IfEqual(x, L.Constant(double.PositiveInfinity), x, y);
        y = L.IfLessOrEqual(x, L.Constant(0), L.IfEqual(x, L.Constant(0), L.Constant(double.NegativeInfinity), L.Constant(double.NaN)), y);
        return L.IfEqual(x, x, y, x);
    }

    /// <summary>The hyperbolic tangent, through <see cref="Expm1"/>; exact near 0. Within 4 ULP.</summary>
    [MethodImpl(Inline)]
    public static L Tanh<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        // Past 20 the answer is 1 to either precision; the bound keeps the exponential finite.
        var magnitude = L.Abs(x);
        magnitude = L.IfLess(L.Constant(20), magnitude, L.Constant(20), magnitude);
        var e = Expm1<L, T>(magnitude + magnitude);
        var y = e / (e + L.Constant(2));
        return L.IfLess(x, L.Constant(0), -y, L.IfEqual(x, L.Constant(0), x, y));
    }

    /// <summary>1 / (1 + e^-x). Within 3 ULP.</summary>
    [MethodImpl(Inline)]
    public static L Sigmoid<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.Constant(1) / (L.Constant(1) + Exp<L, T>(-x));

    /// <summary>Bounds past which e^x is infinite or zero, so that exponents stay in range; NaN stays.</summary>
    [MethodImpl(Inline)]
    private static L Clamped<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L high = L.Constant(L.FractionBits > 30 ? 710 : 89), low = L.Constant(L.FractionBits > 30 ? -746 : -104);
        return L.IfLess(high, x, high, L.IfLess(x, low, low, x));
    }

    /// <summary>e^r - 1 for the rest r of x = n ln 2 + r.</summary>
    [MethodImpl(Inline)]
    private static L ReducedExpm1<L, T>(L x, out L n) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        n = L.Floor(L.MultiplyAdd(x, L.Constant(1.4426950408889634), L.Constant(0.5)));
        var r = L.MultiplyAdd(n, -Ln2Low<L, T>(), L.MultiplyAdd(n, -Ln2High<L, T>(), x));
        L p;
        if (L.FractionBits > 30)
        {
            p = L.Constant(1.0 / 6227020800);
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 479001600));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 39916800));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 3628800));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 362880));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 40320));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 5040));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 720));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 120));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 24));
            p = L.MultiplyAdd(p, r, L.Constant(1.0 / 6));
        }
        else
        {
            // The least largest error with so many coefficients, 3e-9: the series would need one more.
            p = L.Constant(0.0013950550043972572);
            p = L.MultiplyAdd(p, r, L.Constant(0.008368923360463486));
            p = L.MultiplyAdd(p, r, L.Constant(0.04166620492106002));
            p = L.MultiplyAdd(p, r, L.Constant(0.16666518556921273));
        }
        p = L.MultiplyAdd(p, r, L.Constant(0.5));
        return L.MultiplyAdd(p * r, r, r);
    }

    /// <summary>ln 2 with so few bits that its products with exponents are exact.</summary>
    [MethodImpl(Inline)]
    private static L Ln2High<L, T>() where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.Constant(L.FractionBits > 30 ? 0.69314718036912382 : 0.693359375);

    /// <summary>What <see cref="Ln2High"/> lacks.</summary>
    [MethodImpl(Inline)]
    private static L Ln2Low<L, T>() where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.Constant(L.FractionBits > 30 ? 1.9082149292705877e-10 : -2.1219444005469058e-4);
}
