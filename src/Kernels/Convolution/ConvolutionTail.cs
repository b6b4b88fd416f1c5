using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// What is done to the sums of a convolution before they are its result: sum + bias[channel] + residual, kept between two bounds. Bounds of 0 and
/// infinity are a ReLU, 0 and 6 a ReLU6.
/// </summary>
/// <param name="Bias">One number a channel, if any.</param>
/// <param name="Residual">A map of the shape of the result, if any.</param>
/// <param name="Low">The least result.</param>
/// <param name="High">The largest result.</param>
internal readonly record struct ConvolutionTail(Slice? Bias, Slice? Residual = null, double Low = double.NegativeInfinity, double High = double.PositiveInfinity)
{
    public bool IsBounded => Low > double.NegativeInfinity || High < double.PositiveInfinity;

    /// <summary>Finishes whole maps whose sums have their bias already, on any device.</summary>
    public void FinishRest(ComputeDevice device, in Slice maps)
    {
        if (Residual is { } residual)
            Elementwise.Zip(device, default(Add), maps, residual, maps);
        if (IsBounded)
            Elementwise.Map(device, new Clamp(Low, High), maps, maps);
    }

    /// <summary>
    /// Finishes runs of <paramref name="width"/> sums, one for each of <paramref name="count"/> channels from <paramref name="channel"/> on; the first
    /// lies at <paramref name="at"/>, the others a <paramref name="plane"/> apart.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public unsafe void Finish<T, L>(T* maps, nint at, nint plane, int channel, int count, int width) where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        if (Bias is null && Residual is null && !IsBounded)
            return;
        L low = L.Constant(Low), high = L.Constant(High);
        bool bounded = IsBounded;
        T* offsets = Bias is { } bias ? bias.Pointer<T>() + channel : null, residual = Residual is { } map ? map.Pointer<T>() + at : null;
        maps += at;
        for (int c = 0; c < count; c++, maps += plane)
        {
            var row = Direct.View(maps, width);
            var added = residual is null ? default : Direct.View(residual + c * plane, width);
            L offset = offsets is null ? L.Constant(0) : L.Splat(offsets[c]);
            for (int i = 0; i < width; i += L.Width)
            {
                L sum = L.Load(row, i, width - i, low) + offset;
                if (residual is not null)
                    sum += L.Load(added, i, width - i, low);
                if (bounded)
                    sum = L.Min(L.Max(sum, low), high);
                L.Store(row, i, width - i, sum);
            }
        }
    }
}
