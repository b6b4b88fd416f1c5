using System.Numerics;
using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// Sorts on the CPU's direct path: each work item a few lines, of keys that are unsigned integers in the wanted order, and their positions. Long
/// lines by the digits of the keys from the lowest on (a counting sort each, left out where all have the same digit), short ones by merging.
/// </summary>
internal static unsafe class LineSort<T, K> where T : unmanaged where K : unmanaged, IBinaryInteger<K>
{
    private const int InsertionRun = 16, DigitBits = 8, Digits = 1 << DigitBits;

    /// <summary>The length from which on counting digits is faster than merging.</summary>
    private static int CountedFrom => sizeof(K) == 4 ? 96 : 256;

    public static void Run(ComputeDevice device, SortedAxis axis, in Slice x, in Slice y, in Slice index)
    {
        int chunk = Math.Max(1, 4096 / axis.Size);
        var work = new Work(device, axis, chunk, x.Pointer<T>(), y.Pointer<T>(), index.Pointer<int>());
        device.RunWork((axis.Lines + chunk - 1) / chunk, ref work);
    }

    /// <summary>One work item: <c>chunk</c> lines of y and index.</summary>
    private readonly struct Work(ComputeDevice device, SortedAxis axis, int chunk, T* x, T* y, int* index) : IWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int n = axis.Size, step = axis.Inner;
            var block = device.Memory.Rent(2L * n * (sizeof(K) + sizeof(int)), "keys of a sort");
            try
            {
                K* keys = (K*)block.Address;
                int* places = (int*)(keys + 2 * n);
                Entries entries = new(keys, places), other = new(keys + n, places + n);
                K flip = axis.Descending != 0 ? K.AllBitsSet : K.Zero;
                for (int line = item * chunk; line < Math.Min(item * chunk + chunk, axis.Lines); line++)
                {
                    int start = axis.Start(line);
                    for (int j = 0; j < n; j++)
                        (keys[j], places[j]) = (Key(x[start + j * step]) ^ flip, j);
                    int* order = n < CountedFrom ? Merged(entries, other, n) : Counted(entries, other, n);
                    for (int j = 0; j < n; j++)
                    {
                        index[start + j * step] = order[j];
                        y[start + j * step] = x[start + order[j] * step];
                    }
                }
            }
            finally
            {
                device.Memory.Return(block);
            }
        }
    }

    /// <summary>An unsigned integer that orders as the number does: all bits are turned in a negative number, the sign alone in another; NaN comes last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static K Key(T value)
    {
        if (typeof(T) == typeof(float))
        {
            float number = Unsafe.BitCast<T, float>(value);
            uint bits = BitConverter.SingleToUInt32Bits(number == 0 ? 0 : number);
            return float.IsNaN(number) ? K.AllBitsSet : Unsafe.BitCast<uint, K>(bits ^ ((uint)((int)bits >> 31) | 0x8000_0000));
        }
        else
        {
            double number = Unsafe.BitCast<T, double>(value);
            ulong bits = BitConverter.DoubleToUInt64Bits(number == 0 ? 0 : number);
            return double.IsNaN(number) ? K.AllBitsSet : Unsafe.BitCast<ulong, K>(bits ^ ((ulong)((long)bits >> 63) | 0x8000_0000_0000_0000));
        }
    }

    /// <summary>Sorts by insertion in runs, which are then merged two and two; returns the places where they ended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int* Merged(Entries from, Entries to, int n)
    {
        for (int start = 0; start < n; start += InsertionRun)
        {
            int end = Math.Min(start + InsertionRun, n);
            for (int i = start + 1; i < end; i++)
            {
                var (key, place) = (from.Keys[i], from.Places[i]);
                int j = i;
                for (; j > start && from.Keys[j - 1] > key; j--)
                    (from.Keys[j], from.Places[j]) = (from.Keys[j - 1], from.Places[j - 1]);
                (from.Keys[j], from.Places[j]) = (key, place);
            }
        }
        for (int width = InsertionRun; width < n; width *= 2)
        {
            for (int start = 0; start < n; start += 2 * width)
            {
                int left = start, middle = Math.Min(start + width, n), right = middle, end = Math.Min(start + 2 * width, n), at = start;
                while (left < middle && right < end)
                {
                    // Of equal keys the left one comes first. Written without a branch, which would be guessed wrong half of the time.
                    bool takesRight = from.Keys[right] < from.Keys[left];
                    int taken = takesRight ? right : left;
                    (to.Keys[at], to.Places[at]) = (from.Keys[taken], from.Places[taken]);
                    int step = Unsafe.BitCast<bool, byte>(takesRight);
                    right += step;
                    left += 1 - step;
                    at++;
                }
                int rest = left < middle ? left : right, count = left < middle ? middle - left : end - right;
                Unsafe.CopyBlock(to.Keys + at, from.Keys + rest, (uint)(count * sizeof(K)));
                Unsafe.CopyBlock(to.Places + at, from.Places + rest, (uint)(count * sizeof(int)));
            }
            (from, to) = (to, from);
        }
        return from.Places;
    }

    /// <summary>Sorts by one digit of the keys after the other, from the lowest on; returns the places where they ended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int* Counted(Entries from, Entries to, int n)
    {
        int* counts = stackalloc int[sizeof(K) * Digits];
        new Span<int>(counts, sizeof(K) * Digits).Clear();
        for (int j = 0; j < n; j++)
        {
            K key = from.Keys[j];
            for (int digit = 0; digit < sizeof(K); digit++)
                counts[digit * Digits + (int)(byte.CreateTruncating(key >> (digit * DigitBits)))]++;
        }
        for (int digit = 0; digit < sizeof(K); digit++)
        {
            int* starts = counts + digit * Digits;
            if (starts[byte.CreateTruncating(from.Keys[0] >> (digit * DigitBits))] == n)
                continue;
            for (int value = 0, sum = 0; value < Digits; value++)
                (starts[value], sum) = (sum, sum + starts[value]);
            for (int j = 0; j < n; j++)
            {
                K key = from.Keys[j];
                int at = starts[byte.CreateTruncating(key >> (digit * DigitBits))]++;
                (to.Keys[at], to.Places[at]) = (key, from.Places[j]);
            }
            (from, to) = (to, from);
        }
        return from.Places;
    }

    /// <summary>Keys and the positions that they come from.</summary>
    private readonly struct Entries(K* keys, int* places)
    {
        public readonly K* Keys = keys;
        public readonly int* Places = places;
    }
}
