using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>A bfloat16 number on the host, as <see cref="Half"/> is a float16: the upper 16 bits of a float. For reading and making tensors of <see cref="ElementType.BFloat16"/>.</summary>
/// <param name="Bits">A sign, 8 bits of exponent, 7 of fraction.</param>
public readonly record struct BFloat16(ushort Bits)
{
    /// <summary>Rounds to the nearest, of two equally near ones to that whose last bit is 0; a NaN stays one.</summary>
    /// <param name="value">The number.</param>
    public static explicit operator BFloat16(float value) => new((ushort)BFloat16Bits.Round(BitConverter.SingleToUInt32Bits(value)));

    /// <summary>Rounds once, as from float.</summary>
    /// <param name="value">The number.</param>
    public static explicit operator BFloat16(double value) => new((ushort)BFloat16Bits.Round(Narrow.Bits(value)));

    /// <summary>The same number as a float.</summary>
    /// <param name="value">The number.</param>
    public static implicit operator float(BFloat16 value) => BitConverter.UInt32BitsToSingle(BFloat16Bits.Widen(value.Bits));

    /// <summary>The number's text, as a float's.</summary>
    public override string ToString() => ((float)this).ToString(System.Globalization.CultureInfo.InvariantCulture);
}
