using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>Where a stream of random numbers stands: its seed is the key, its position the counter of the next block of four words.</summary>
internal readonly record struct PhiloxState(ulong Seed, ulong Position)
{
    /// <summary>The captured draw that the state was taken by, if any.</summary>
    public RecordedDraw? Draw { get; init; }

    public PhiloxState Advance(ulong counters) => this with { Position = Position + counters };
}

/// <summary>A kernel of random numbers, which can be had for another state of its stream.</summary>
internal interface IDrawing<K> where K : struct
{
    K At(PhiloxState state);
}

/// <summary>
/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011): ten rounds that turn a counter of 128
/// bits and a key of 64 into four random words. Nothing is carried from number to number, so any thread computes any part of a stream.
/// </summary>
internal readonly struct Philox(uint w0, uint w1, uint w2, uint w3)
{
    public readonly uint W0 = w0, W1 = w1, W2 = w2, W3 = w3;

    /// <summary>The block of a stream at a counter.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Philox At(ulong seed, ulong counter) => Words((uint)counter, (uint)(counter >> 32), 0, 0, (uint)seed, (uint)(seed >> 32));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Philox Words(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1)
    {
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0, p1 = 0xCD9E8D57UL * c2;
            c0 = (uint)(p1 >> 32) ^ c1 ^ k0;
            c1 = (uint)p1;
            c2 = (uint)(p0 >> 32) ^ c3 ^ k1;
            c3 = (uint)p0;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        return new(c0, c1, c2, c3);
    }

    /// <summary>A number in [0, 1) with the 24 bits that a float holds.</summary>
    public static double Unit(uint word) => (int)(word >> 8) * (1.0 / (1 << 24));

    /// <summary>A number in [0, 1) with the 53 bits that a double holds.</summary>
    public static double Unit(uint high, uint low) => ((int)(high >> 5) * 67108864.0 + (int)(low >> 6)) * (1.0 / (1L << 53));
}
