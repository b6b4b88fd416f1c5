using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// A floating format of 16 bits, in integer operations on the bits of float32: the same bits on every device. Rounding is to nearest even; a NaN keeps its sign and the upper
/// bits of its payload, and becomes a quiet one. Each formula stands twice, for one number (a GPU's thread) and for eight of the CPU.
/// </summary>
internal interface INarrow
{
    /// <summary>The 16 bits nearest to a float.</summary>
    static abstract uint Round(uint single);

    /// <summary>The float of 16 bits, exactly.</summary>
    static abstract uint Widen(uint bits);

    /// <inheritdoc cref="Round(uint)"/>
    static abstract Vector256<uint> Round(Vector256<uint> single);

    /// <inheritdoc cref="Widen(uint)"/>
    static abstract Vector256<uint> Widen(Vector256<uint> bits);
}

/// <summary>IEEE 754 half precision: 5 bits of exponent, 10 of fraction.</summary>
internal readonly struct Float16Bits : INarrow
{
    // Float32's bits of infinity, of 2^16 (where rounding gives infinity), of 2^-14 (the smallest normal half), of 1/2, and the distance of the two formats' exponents.
    private const uint Infinity = 0x7f800000, TooLarge = 0x47800000, Normal = 0x38800000, Half = 0x3f000000, Distance = 0x38000000;

    public static uint Round(uint single)
    {
        uint sign = single >> 16 & 0x8000, size = single & 0x7fffffff;
        return sign | (size > Infinity ? 0x7e00 | (size >> 13 & 0x1ff)
            : size >= TooLarge ? 0x7c00
            : size >= Normal ? (size - Distance + 0xfff + (size >> 13 & 1)) >> 13
            // The last place of 1/2 is that of a subnormal half: the adder rounds.
            : Narrow.Bits(Narrow.Single(size) + 0.5f) - Half);
    }

    public static uint Widen(uint bits)
    {
        uint sign = (bits & 0x8000) << 16, size = (bits & 0x7fff) << 13;
        return sign | (size >= 0x0f800000 ? size | Infinity
            : size >= 0x00800000 ? size + Distance
            : Narrow.Bits(Narrow.Single(size + Normal) - 6.103515625e-5f));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Round(Vector256<uint> single)
    {
        var size = single & Vector256.Create(0x7fffffffu);
        var odd = (size >>> 13) & Vector256.Create(1u);
        var special = Vector256.ConditionalSelect(
            Vector256.GreaterThan(size, Vector256.Create(Infinity)), Vector256.Create(0x7e00u) | ((size >>> 13) & Vector256.Create(0x1ffu)), Vector256.Create(0x7c00u));
        var normal = (size - Vector256.Create(Distance - 0xfff) + odd) >>> 13;
        var tiny = (size.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(Half);
        var rounded = Vector256.ConditionalSelect(Vector256.LessThan(size, Vector256.Create(Normal)), tiny,
            Vector256.ConditionalSelect(Vector256.LessThan(size, Vector256.Create(TooLarge)), normal, special));
        return rounded | ((single >>> 16) & Vector256.Create(0x8000u));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Widen(Vector256<uint> bits)
    {
        var size = (bits & Vector256.Create(0x7fffu)) << 13;
        var tiny = ((size + Vector256.Create(Normal)).AsSingle() - Vector256.Create(6.103515625e-5f)).AsUInt32();
        var widened = Vector256.ConditionalSelect(Vector256.LessThan(size, Vector256.Create(0x00800000u)), tiny,
            Vector256.ConditionalSelect(Vector256.LessThan(size, Vector256.Create(0x0f800000u)), size + Vector256.Create(Distance), size | Vector256.Create(Infinity)));
        return widened | ((bits & Vector256.Create(0x8000u)) << 16);
    }
}

/// <summary>The upper half of float32: 8 bits of exponent, 7 of fraction.</summary>
internal readonly struct BFloat16Bits : INarrow
{
    public static uint Round(uint single) =>
        (single & 0x7fffffff) > 0x7f800000 ? single >> 16 | 0x40 : (single + 0x7fff + (single >> 16 & 1)) >> 16;

    public static uint Widen(uint bits) => bits << 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Round(Vector256<uint> single)
    {
        var upper = single >>> 16;
        return Vector256.ConditionalSelect(Vector256.GreaterThan(single & Vector256.Create(0x7fffffffu), Vector256.Create(0x7f800000u)),
            upper | Vector256.Create(0x40u), (single + Vector256.Create(0x7fffu) + (upper & Vector256.Create(1u))) >>> 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Widen(Vector256<uint> bits) => bits << 16;
}

/// <summary>What both formats share.</summary>
internal static class Narrow
{
    // ILGPU knows the signed two of BitConverter's four.
    public static uint Bits(float x) => (uint)BitConverter.SingleToInt32Bits(x);

    public static float Single(uint bits) => BitConverter.Int32BitsToSingle((int)bits);

    /// <summary>
    /// The bits of a float beside a double, odd ones where it is not the double itself: rounded to fewer bits they give what the double would (Boldo and Melquiond, 2008).
    /// </summary>
    public static uint Bits(double x)
    {
        float near = (float)x;
        uint bits = Bits(near);
        double back = near;
        return back == x || double.IsNaN(x) || (bits & 1) != 0 ? bits : Math.Abs(back) < Math.Abs(x) ? bits + 1 : bits - 1;
    }
}

/// <summary>Conversions from and to 16 bits, each rounded once.</summary>
internal readonly struct Narrow<N> : IConversion<float, ushort>, IConversion<double, ushort>, IConversion<int, ushort>, IConversion<ushort, float>, IConversion<ushort, double>,
    IConversion<ushort, int>, IConversion<float, float> where N : INarrow
{
    static ushort IConversion<float, ushort>.Convert(float x) => (ushort)N.Round(Narrow.Bits(x));

    static ushort IConversion<double, ushort>.Convert(double x) => (ushort)N.Round(Narrow.Bits(x));

    static ushort IConversion<int, ushort>.Convert(int x)
    {
        // What is below the bits that count only tells whether something is there; so 24 bits of float32 hold it.
        uint size = (uint)Math.Abs((long)x), kept = size < 1 << 24 ? size : (size & ~0xffu) | ((size & 0xff) != 0 ? 0x100u : 0);
        return (ushort)N.Round(Narrow.Bits(x < 0 ? -(float)kept : kept));
    }

    static float IConversion<ushort, float>.Convert(ushort x) => Narrow.Single(N.Widen(x));

    static double IConversion<ushort, double>.Convert(ushort x) => Narrow.Single(N.Widen(x));

    static int IConversion<ushort, int>.Convert(ushort x) => Conversion.Cut(Narrow.Single(N.Widen(x)));

    static float IConversion<float, float>.Convert(float x) => Narrow.Single(N.Widen(N.Round(Narrow.Bits(x))));
}

/// <summary>From one format of 16 bits to the other.</summary>
internal readonly struct Renarrowed<N, M> : IConversion<ushort, ushort> where N : INarrow where M : INarrow
{
    public static ushort Convert(ushort x) => (ushort)M.Round(N.Widen(x));
}
