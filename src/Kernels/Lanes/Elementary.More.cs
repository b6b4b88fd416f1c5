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
    /// x to the power y, through e^(y log|x|): within 3 + 2 |y log x| ULP, some 180 at the ends of float32's range. A negative x has
    /// powers at integers only, NaN elsewhere; any x to the power 0, and 1 to any power, is 1, also with NaN.
    /// </summary>
    [MethodImpl(Inline)]
    public static L Pow<L, T>(L x, L y) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L zero = L.Constant(0), one = L.Constant(1), magnitude = L.Abs(x);
        // The logarithm of 1 is 0, which an infinite power would make NaN.
        var p = L.IfEqual(magnitude, one, one, Exp<L, T>(y * Log<L, T>(magnitude)));
        var isOdd = y - L.Constant(2) * L.Floor(y * L.Constant(0.5));
        var signed = L.IfEqual(isOdd, one, -p, L.IfEqual(isOdd, zero, p, L.Constant(double.NaN)));
        signed = L.IfEqual(L.Abs(y), L.Constant(double.PositiveInfinity), p, signed);
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

    /// <summary>
    /// The error function: x times a polynomial of x² to |x| = 1, beyond it 1 - e^(-x²) times a polynomial of 1 / (|x| + 2) (of 1 / (|x| + 3) in float64).
    /// The polynomials interpolate erf x / x and e^(x²) erfc x, computed to 60 digits, at Chebyshev's points. Within 3 ULP.
    /// </summary>
    [MethodImpl(Inline)]
    public static L Erf<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        // Past the bound the answer is 1 to the precision.
        L magnitude = L.Abs(x), one = L.Constant(1), z = x * x, near, tail;
        var far = L.Max(L.Min(magnitude, L.Constant(L.FractionBits > 30 ? 6 : 4)), one);
        if (L.FractionBits > 30)
        {
            var u = L.Constant(14.4) / (far + L.Constant(3)) - L.Constant(2.6);
            near = L.Constant(-7.795898827002142e-10);
            near = L.MultiplyAdd(near, z, L.Constant(1.3720064546777686e-08));
            near = L.MultiplyAdd(near, z, L.Constant(-1.6208483801871705e-07));
            near = L.MultiplyAdd(near, z, L.Constant(1.6447424703317362e-06));
            near = L.MultiplyAdd(near, z, L.Constant(-1.492473690741966e-05));
            near = L.MultiplyAdd(near, z, L.Constant(0.00012055294904839707));
            near = L.MultiplyAdd(near, z, L.Constant(-0.0008548325975389692));
            near = L.MultiplyAdd(near, z, L.Constant(0.0052239776071164225));
            near = L.MultiplyAdd(near, z, L.Constant(-0.02686617064323777));
            near = L.MultiplyAdd(near, z, L.Constant(0.11283791670945006));
            near = L.MultiplyAdd(near, z, L.Constant(-0.37612638903183543));
            near = L.MultiplyAdd(near, z, L.Constant(1.1283791670955126));
            tail = L.Constant(-6.6976455647909395e-15);
            tail = L.MultiplyAdd(tail, u, L.Constant(6.043792147788813e-12));
            tail = L.MultiplyAdd(tail, u, L.Constant(-6.02173256030324e-12));
            tail = L.MultiplyAdd(tail, u, L.Constant(-2.5700407551346905e-10));
            tail = L.MultiplyAdd(tail, u, L.Constant(2.637756022974126e-10));
            tail = L.MultiplyAdd(tail, u, L.Constant(1.133933573114706e-08));
            tail = L.MultiplyAdd(tail, u, L.Constant(4.5267318133461335e-09));
            tail = L.MultiplyAdd(tail, u, L.Constant(-5.54127309801664e-07));
            tail = L.MultiplyAdd(tail, u, L.Constant(-2.425557485042923e-06));
            tail = L.MultiplyAdd(tail, u, L.Constant(1.956358319778174e-05));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.0003316029605792838));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.002479314697086253));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.012713147695691918));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.04969844540339414));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.15436117429436919));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.20798329133342885));
        }
        else
        {
            var u = L.Constant(12) / (far + L.Constant(2)) - L.Constant(3);
            near = L.Constant(7.875875062685488e-05);
            near = L.MultiplyAdd(near, z, L.Constant(-0.000801686428716587));
            near = L.MultiplyAdd(near, z, L.Constant(0.005189087423433974));
            near = L.MultiplyAdd(near, z, L.Constant(-0.026854212010626412));
            near = L.MultiplyAdd(near, z, L.Constant(0.11283594715160218));
            near = L.MultiplyAdd(near, z, L.Constant(-0.37612626666720334));
            near = L.MultiplyAdd(near, z, L.Constant(1.1283791658483509));
            tail = L.Constant(4.3171451032797147e-07);
            tail = L.MultiplyAdd(tail, u, L.Constant(-1.147585697734713e-06));
            tail = L.MultiplyAdd(tail, u, L.Constant(-2.8785413224691183e-05));
            tail = L.MultiplyAdd(tail, u, L.Constant(4.607581915188901e-05));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.0029251304915753145));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.02685091234341383));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.14239528253811434));
            tail = L.MultiplyAdd(tail, u, L.Constant(0.25539567625190335));
        }
        tail = one - Exp<L, T>(-far * far) * tail;
        var y = L.IfLess(magnitude, one, x * near, L.IfLess(x, L.Constant(0), -tail, tail));
        return L.IfEqual(x, x, y, x);
    }

    /// <summary>
    /// The standard normal distribution below -|x|, and e^(-x²/2): half of e^(-z²) times a polynomial of 1 / (z + 2.5) (of 1 / (z + 3) in float64), z = |x|/√2,
    /// that interpolates e^(z²) erfc z at Chebyshev's points. Relative error 1e-7 in float32 near the middle, 1e-13 in float64; nothing cancels in the tail.
    /// </summary>
    [MethodImpl(Inline)]
    public static L NormalTail<L, T>(L x, out L density) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L z = L.Abs(x) * L.Constant(0.70710678118654752), u, p, far = L.Constant(L.FractionBits > 30 ? 6.5 : 4.2), bounded = L.IfLess(far, z, far, z);
        density = ExpOfNegative<L, T>(-z * z);
        if (L.FractionBits > 30)
        {
            u = L.Constant(8.76923076923077) / (bounded + L.Constant(3)) - L.Constant(1.9230769230769234);
            p = L.Constant(-6.137644158152151e-11);
            p = L.MultiplyAdd(p, u, L.Constant(1.711458467177042e-11));
            p = L.MultiplyAdd(p, u, L.Constant(2.844562004066669e-10));
            p = L.MultiplyAdd(p, u, L.Constant(-1.1654146924337465e-09));
            p = L.MultiplyAdd(p, u, L.Constant(1.2779873485075468e-09));
            p = L.MultiplyAdd(p, u, L.Constant(1.9325611963935537e-08));
            p = L.MultiplyAdd(p, u, L.Constant(-5.372319767301806e-08));
            p = L.MultiplyAdd(p, u, L.Constant(-2.8677546407611214e-07));
            p = L.MultiplyAdd(p, u, L.Constant(1.1355417612154343e-06));
            p = L.MultiplyAdd(p, u, L.Constant(5.445491909029813e-06));
            p = L.MultiplyAdd(p, u, L.Constant(-1.9943279392598353e-05));
            p = L.MultiplyAdd(p, u, L.Constant(-0.0001485619474856985));
            p = L.MultiplyAdd(p, u, L.Constant(0.00010897652504335177));
            p = L.MultiplyAdd(p, u, L.Constant(0.00449012964004052));
            p = L.MultiplyAdd(p, u, L.Constant(0.02528367731223499));
            p = L.MultiplyAdd(p, u, L.Constant(0.08561938913472551));
            p = L.MultiplyAdd(p, u, L.Constant(0.20549379966160863));
            p = L.MultiplyAdd(p, u, L.Constant(0.3671310312265148));
            p = L.MultiplyAdd(p, u, L.Constant(0.31203524151332535));
        }
        else
        {
            u = L.Constant(7.976190476190475) / (bounded + L.Constant(2.5)) - L.Constant(2.1904761904761902);
            p = L.Constant(8.002762904855955e-06);
            p = L.MultiplyAdd(p, u, L.Constant(5.019956353301299e-06));
            p = L.MultiplyAdd(p, u, L.Constant(-0.00022140223087886937));
            p = L.MultiplyAdd(p, u, L.Constant(-0.00034584008691514027));
            p = L.MultiplyAdd(p, u, L.Constant(0.006279363705646059));
            p = L.MultiplyAdd(p, u, L.Constant(0.04605332669232809));
            p = L.MultiplyAdd(p, u, L.Constant(0.167487866998776));
            p = L.MultiplyAdd(p, u, L.Constant(0.38888324923133855));
            p = L.MultiplyAdd(p, u, L.Constant(0.3918504161775301));
        }
        return L.Constant(0.5) * density * p;
    }

    /// <summary>
    /// The standard normal distribution between 0 and |x|, to float32's rounding of its largest value, ½: |x| times a quotient of polynomials of x², fitted to
    /// the least largest error up to 5.2, past which ½ is nearer. It needs no exponential, but <see cref="NormalTail"/> says more of the tail.
    /// </summary>
    [MethodImpl(Inline)]
    public static L NormalCentre<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L magnitude = L.Abs(x), far = L.Constant(5.2), z = L.IfLess(magnitude, far, magnitude, far), s = z * z;
        var p = L.Constant(-1.50500944220967e-08);
        p = L.MultiplyAdd(p, s, L.Constant(4.938720056893208e-06));
        p = L.MultiplyAdd(p, s, L.Constant(0.00037860707825716327));
        p = L.MultiplyAdd(p, s, L.Constant(0.005878271690298));
        p = L.MultiplyAdd(p, s, L.Constant(0.05725173968777542));
        p = L.MultiplyAdd(p, s, L.Constant(0.3989419692823111));
        var q = L.Constant(0.0001265600555377189);
        q = L.MultiplyAdd(q, s, L.Constant(0.003067435046302256));
        q = L.MultiplyAdd(q, s, L.Constant(0.04144105720355345));
        q = L.MultiplyAdd(q, s, L.Constant(0.3101698730234614));
        q = L.MultiplyAdd(q, s, L.Constant(1));
        return L.IfLess(magnitude, far, z * p / q, L.Constant(0.5));
    }

    /// <summary>The sine of x and <paramref name="quarters"/> quarter turns.</summary>
    [MethodImpl(Inline)]
    private static L Turned<L, T>(L x, int quarters) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var n = L.Floor(L.MultiplyAdd(x, L.Constant(0.63661977236758134), L.Constant(0.5)));
        // π/2 in parts: the first two have so few bits (9 and 12, or 33 each) that their products with n are exact.
        L r;
        if (L.FractionBits > 30)
            r = L.MultiplyAdd(n, L.Constant(-2.0222662487959506e-21), L.MultiplyAdd(n, L.Constant(-6.077100506303966e-11), L.MultiplyAdd(n, L.Constant(-1.5707963267341256), x)));
        else
            r = L.MultiplyAdd(n, L.Constant(-7.549790126404332e-8), L.MultiplyAdd(n, L.Constant(-4.837512969970703e-4), L.MultiplyAdd(n, L.Constant(-1.5703125), x)));
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
