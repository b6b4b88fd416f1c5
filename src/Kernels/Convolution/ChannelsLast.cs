using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>Maps [N, Channels, Height, Width] that are read with their channels last.</summary>
internal readonly unsafe struct ChannelMaps<T>(T* data, int channels, int height, int width) where T : unmanaged
{
    public readonly T* Data = data;
    public readonly int Channels = channels, Height = height, Width = width;

    public nint Plane => (nint)Height * Width;

    /// <summary>
    /// Fills a row of cells [pixel][channel], <paramref name="pitch"/> apart, from pixel <paramref name="left"/> of a line on. Outside the map cells are zero; they
    /// and channels that are not there are left alone in a row that was filled before, or cleared, as they do not change.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Fill(T* cells, int pixels, int pitch, int image, int channel, int line, int left)
    {
        int first = Math.Max(0, -left), start = Math.Max(0, left), count = Math.Min(Width - start, pixels - first);
        if (line < 0 || line >= Height || count <= 0)
        {
            new Span<T>(cells, pixels * pitch).Clear();
            return;
        }
        T* from = Data + ((nint)image * Channels + channel) * Plane + (nint)line * Width + start;
        Transposition.Run(from, Plane, cells + first * pitch, pitch, Math.Min(pitch, Channels - channel), count);
    }
}

/// <summary>The filters from channel k to channel i: tap t lies at i * <c>line</c> + k * <c>step</c> + t.</summary>
internal readonly unsafe struct ChannelFilters<T>(T* data, nint line, nint step, int taps) where T : unmanaged
{
    /// <summary>Input channels that are best turned at once: lines are then read by the cache line.</summary>
    public const int Chunk = 8;

    public readonly int Taps = taps;

    /// <summary>
    /// Turns the filters of <paramref name="count"/> output channels from <paramref name="first"/> on and <paramref name="depth"/> input channels from
    /// <paramref name="k"/> on into rows [input channel][tap] of <paramref name="lanes"/> output channels each.
    /// </summary>
    public void Turn(int first, int count, int k, int depth, T* rows, int lanes)
    {
        T* from = data + first * line + k * step;
        if (step == Taps)
        {
            Transposition.Run(from, line, rows, lanes, count, depth * Taps);
            return;
        }
        for (int i = 0; i < depth; i++)
            Transposition.Run(from + i * step, line, rows + i * Taps * lanes, lanes, count, Taps);
    }
}
