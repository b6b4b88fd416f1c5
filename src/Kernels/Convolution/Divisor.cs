using System.Numerics;
using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>Divides numbers from 0 on by one that does not change, with a product and a shift (Granlund and Montgomery, PLDI 1994, section 4): processors for graphics have no division.</summary>
internal readonly struct Divisor
{
    private readonly ulong multiplier;
    private readonly int divisor, shift;

    /// <param name="divisor">1 or more.</param>
    public Divisor(int divisor)
    {
        this.divisor = divisor;
        shift = 31 + BitOperations.Log2((uint)divisor) + (BitOperations.IsPow2(divisor) ? 0 : 1);
        multiplier = (1UL << shift) / (uint)divisor + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Divide(int n) => (int)((ulong)n * multiplier >> shift);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Divide(int n, out int rest)
    {
        int quotient = Divide(n);
        rest = n - quotient * divisor;
        return quotient;
    }
}
