using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// The input gradient of a convolution as its transpose, on the CPU's direct path: filters times the pixels of dy are patches, which are added up where
/// they overlap. No product is made for pixels of the padding, and every operand is read in place. A pixel's sum runs over dy's pixels, then taps, in order.
/// </summary>
internal static unsafe class SpreadProduct
{
    /// <summary>dx of dy and weight, plus a bias a channel of dx if there is one.</summary>
    public static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        T* offsets = bias is { } slice ? slice.Pointer<T>() : null;
        if (Vector512.IsHardwareAccelerated)
            Run<T, Simd512<T>>(device, s, dy, weight, offsets, dx);
        else if (Vector256.IsHardwareAccelerated)
            Run<T, Simd256<T>>(device, s, dy, weight, offsets, dx);
        else
            Run<T, Simd128<T>>(device, s, dy, weight, offsets, dx);
    }

    private static void Run<T, L>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, T* bias, in Slice dx) where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        // A copy, as the last tile reads past the last filter.
        var filters = device.Memory.Rent((long)(s.WeightLength + PackedProduct.PanelRows<T, L>()) * sizeof(T), null);
        device.CopyWithin(weight, new(filters, 0, s.WeightLength, weight.Type));
        var work = new SpreadWork<T, L>(device, s, dy.Pointer<T>(), (T*)filters.Address, bias, dx.Pointer<T>());
        device.RunWork(work.Items, ref work);
        device.Memory.Return(filters);
    }

    /// <summary>One work item: some channels of dx of one image.</summary>
    private struct SpreadWork<T, L>(ComputeDevice device, Conv2dShape shape, T* dy, T* weight, T* bias, T* dx) : IWork where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Items that keep many workers busy, and lines of products that are worth an item.</summary>
        private const int WantedItems = 16, LeastLines = 48;

        private readonly int parts = Math.Clamp(WantedItems / (shape.Batch * shape.Groups), 1, Math.Max(1, shape.GroupChannels * shape.Taps / LeastLines));

        public readonly int Items => shape.Batch * shape.Groups * parts;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var s = shape;
            var (rest, part) = Math.DivRem(item, parts);
            var (image, group) = Math.DivRem(rest, s.Groups);
            int channel = (int)((long)s.GroupChannels * part / parts), end = (int)((long)s.GroupChannels * (part + 1) / parts);
            T* maps = dx + ((nint)image * s.Channels + group * s.GroupChannels) * s.InputPlane;
            for (int c = channel; c < end; c++)
                new Span<T>(maps + (nint)c * s.InputPlane, s.InputPlane).Fill(bias is null ? default : bias[group * s.GroupChannels + c]);
            T* gradients = dy + ((nint)image * s.Outputs + group * s.GroupOutputs) * s.OutputPlane, filters = weight + (nint)group * s.GroupOutputs * s.GroupChannels * s.Taps;
            int lanes = 2 * L.Width, height = PackedProduct.PanelRows<T, L>(), last = end * s.Taps;
            var scratch = device.Memory.Rent(((long)s.GroupOutputs + height) * lanes * sizeof(T), null);
            T* sums = (T*)scratch.Address, edge = sums + height * lanes;
            for (int pixel = 0; pixel < s.OutputPlane; pixel += lanes)
            {
                int count = Math.Min(lanes, s.OutputPlane - pixel);
                T* b = gradients + pixel;
                if (count < lanes)
                {
                    for (int o = 0; o < s.GroupOutputs; o++)
                        new Span<T>(b + (nint)o * s.OutputPlane, count).CopyTo(new Span<T>(edge + o * lanes, count));
                    b = edge;
                }
                for (int line = channel * s.Taps; line < last; line += height)
                {
                    int lines = Math.Min(height, last - line);
                    TileKernel.Run<T, L>(lines, count > L.Width, filters + line, 1, (nint)s.GroupChannels * s.Taps, b, count < lanes ? lanes : s.OutputPlane, s.GroupOutputs, sums, true);
                    for (int i = 0; i < lines; i++)
                        Add(sums + i * lanes, maps, line + i, pixel, count);
                }
            }
            device.Memory.Return(scratch);
        }

        /// <summary>Adds the products of one tap of one channel with consecutive pixels of dy to the pixels of dx that the tap reads.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void Add(T* sums, T* maps, int line, int pixel, int count)
        {
            var (channel, tap) = Math.DivRem(line, shape.Taps);
            var (kh, kw) = Math.DivRem(tap, shape.X.Kernel);
            var (oh, ow) = Math.DivRem(pixel, shape.X.Output);
            int stride = shape.X.Stride, left = kw * shape.X.Dilation - shape.X.Padding;
            T* map = maps + (nint)channel * shape.InputPlane;
            for (; count > 0; oh++, ow = 0)
            {
                int run = Math.Min(count, shape.X.Output - ow), ih = oh * shape.Y.Stride + kh * shape.Y.Dilation - shape.Y.Padding;
                if ((uint)ih < (uint)shape.Y.Input)
                {
                    int start = ow * stride + left, first = start < 0 ? (stride - 1 - start) / stride : 0, end = Math.Min(run, (shape.X.Input - start + stride - 1) / stride);
                    if (first < end)
                        Strided.Add(sums + first, map + (nint)ih * shape.X.Input + start + first * stride, stride, end - first);
                }
                sums += run;
                count -= run;
            }
        }
    }
}
