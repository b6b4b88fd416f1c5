using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

internal static partial class Elementary
{
    /// <summary>-1, 0 or 1; NaN stays.</summary>
    [MethodImpl(Inline)]
    public static L Sign<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfLess(L.Constant(0), x, L.Constant(1), L.IfLess(x, L.Constant(0), L.Constant(-1), x));

    /// <summary>The nearest integer, halves to the even one.</summary>
    [MethodImpl(Inline)]
    public static L Round<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var down = L.Floor(x);
        var part = x - down;
        var isOdd = down - L.Constant(2) * L.Floor(down * L.Constant(0.5));
        var up = L.IfLess(L.Constant(0.5), part, L.Constant(1), L.IfEqual(part, L.Constant(0.5), isOdd, L.Constant(0)));
        return down + up;
    }

    /// <summary>log(1 + x) with the rounding of 1 + x made good: log(u) + (x - (u - 1)) / u, u = 1 + x. Within 4 ULP.</summary>
    [MethodImpl(Inline)]
    public static L Log1p<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var u = L.Constant(1) + x;
        var y = Log<L, T>(u) + (x - (u - L.Constant(1))) / u;
        y = L.IfEqual(u, L.Constant(1), x, y);
        return L.IfLessOrEqual(x, L.Constant(-1), Log<L, T>(u), L.IfEqual(x, L.Constant(double.PositiveInfinity), x, y));
    }

    /// <summary>
    /// x to the power y, through e^(y log|x|): its relative error grows with |y log x|, to some 90 ULP at the ends of the range. A negative x has
    /// powers at integers only, NaN elsewhere; any x to the power 0 is 1.
    /// </summary>
    [MethodImpl(Inline)]
    public static L Pow<L, T>(L x, L y) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L zero = L.Constant(0), one = L.Constant(1);
        var p = Exp<L, T>(y * Log<L, T>(L.Abs(x)));
        var isOdd = y - L.Constant(2) * L.Floor(y * L.Constant(0.5));
        var signed = L.IfEqual(isOdd, one, -p, L.IfEqual(isOdd, zero, p, L.Constant(double.NaN)));
        p = L.IfLess(x, zero, signed, p);
        // The square, which training uses most, exactly.
        p = L.IfEqual(y, L.Constant(2), x * x, L.IfEqual(y, one, x, p));
        return L.IfEqual(y, zero, one, p);
    }

    /// <summary>The sine; the argument is reduced by multiples of π/2 in three parts, which holds its precision to |x| of some 10⁵ in float32 and 10⁸ in float64.</summary>
    [MethodImpl(Inline)]
    public static L Sin<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Turned<L, T>(x, 0);

    /// <summary>The cosine; as <see cref="Sin"/>.</summary>
    [MethodImpl(Inline)]
    public static L Cos<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Turned<L, T>(x, 1);

    /// <summary>The error function: its series to |x| = 2, beyond it 1 - e^(-x²) times the continued fraction of its complement. Within 1e-7 in float32, 1e-14 in float64, absolutely, and relative near 0.</summary>
    [MethodImpl(Inline)]
    public static L Erf<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L magnitude = L.Min(L.Abs(x), L.Constant(6)), z = magnitude * magnitude;
        // erf x = 2/√π e^(-x²) Σ 2^k x^(2k+1) / (1·3···(2k+1)): all terms positive, so nothing cancels.
        int terms = L.FractionBits > 30 ? 52 : 26;
        L sum = L.Constant(1);
        for (int k = terms; k >= 1; k--)
            sum = L.MultiplyAdd(sum, z * L.Constant(2.0 / (2 * k + 1)), L.Constant(1));
        var series = L.Constant(1.1283791670955126) * magnitude * Exp<L, T>(-z) * sum;
        // erfc x = e^(-x²)/√π · 1/(x + ½/(x + 1/(x + 3/2/(x + ...)))).
        int depth = L.FractionBits > 30 ? 60 : 20;
        var far = L.Max(magnitude, L.Constant(2));
        var fraction = far;
        for (int k = depth; k >= 1; k--)
            fraction = far + L.Constant(0.5 * k) / fraction;
        var tail = L.Constant(1) - L.Constant(0.56418958354775629) * Exp<L, T>(-far * far) / fraction;
        var y = L.IfLess(magnitude, L.Constant(2), series, tail);
        y = L.IfLess(x, L.Constant(0), -y, y);
        return L.IfEqual(x, x, y, x);
    }

    /// <summary>The sine of x and <paramref name="quarters"/> quarter turns.</summary>
    [MethodImpl(Inline)]
    private static L Turned<L, T>(L x, int quarters) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var n = L.Floor(L.MultiplyAdd(x, L.Constant(0.63661977236758134), L.Constant(0.5)));
        L r;
        if (L.FractionBits > 30)
            r = L.MultiplyAdd(n, L.Constant(-2.0222662487959506e-21), L.MultiplyAdd(n, L.Constant(-6.0771005065061922e-11), L.MultiplyAdd(n, L.Constant(-1.5707963267341256), x)));
        else
            r = L.MultiplyAdd(n, L.Constant(-7.5497899548918861e-8), L.MultiplyAdd(n, L.Constant(-4.8381328582763672e-4), L.MultiplyAdd(n, L.Constant(-1.5703125), x)));
        var turn = n + L.Constant(quarters);
        var quarter = turn - L.Constant(4) * L.Floor(turn * L.Constant(0.25));
        var z = r * r;
        L s = L.Constant(-1.0 / 5040), c = L.Constant(-1.0 / 720);
        if (L.FractionBits > 30)
        {
            s = L.Constant(1.0 / 355687428096000);
            s = L.MultiplyAdd(s, z, L.Constant(-1.0 / 1307674368000));
            s = L.MultiplyAdd(s, z, L.Constant(1.0 / 6227020800));
            s = L.MultiplyAdd(s, z, L.Constant(-1.0 / 39916800));
            s = L.MultiplyAdd(s, z, L.Constant(1.0 / 362880));
            s = L.MultiplyAdd(s, z, L.Constant(-1.0 / 5040));
            c = L.Constant(-1.0 / 6402373705728000);
            c = L.MultiplyAdd(c, z, L.Constant(1.0 / 20922789888000));
            c = L.MultiplyAdd(c, z, L.Constant(-1.0 / 87178291200));
            c = L.MultiplyAdd(c, z, L.Constant(1.0 / 479001600));
            c = L.MultiplyAdd(c, z, L.Constant(-1.0 / 3628800));
            c = L.MultiplyAdd(c, z, L.Constant(1.0 / 40320));
            c = L.MultiplyAdd(c, z, L.Constant(-1.0 / 720));
        }
        else
        {
            s = L.MultiplyAdd(L.Constant(1.0 / 362880), z, s);
            c = L.MultiplyAdd(L.Constant(1.0 / 40320), z, c);
        }
        s = L.MultiplyAdd(s, z, L.Constant(1.0 / 120));
        s = L.MultiplyAdd(s, z, L.Constant(-1.0 / 6));
        s = L.MultiplyAdd(s * z, r, r);
        c = L.MultiplyAdd(c, z, L.Constant(1.0 / 24));
        c = L.MultiplyAdd(c, z, L.Constant(-0.5));
        c = L.MultiplyAdd(c, z, L.Constant(1));
        var isOdd = quarter - L.Constant(2) * L.Floor(quarter * L.Constant(0.5));
        var y = L.IfEqual(isOdd, L.Constant(0), s, c);
        y = L.IfLess(quarter, L.Constant(2), y, -y);
        return L.IfLess(L.Abs(x), L.Constant(double.PositiveInfinity), y, x - x);
    }
}
