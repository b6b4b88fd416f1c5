using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// y = x * weight + bias, one work item an output element: the kernel that is always right, on every machine. A vector lane computes one
/// element in all its places.
/// </summary>
internal readonly struct PlainConvolution<T>(Conv2dShape shape, ArrayView<T> x, ArrayView<T> weight, ArrayView<T> bias, int biased, ArrayView<T> y) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (s, source, taps) = (shape, x, weight);
        int ow = item % s.X.Output, rest = item / s.X.Output, oh = rest % s.Y.Output, plane = rest / s.Y.Output;
        int o = plane % s.Outputs, n = plane / s.Outputs, channels = s.GroupChannels;
        int top = oh * s.Y.Stride - s.Y.Padding, left = ow * s.X.Stride - s.X.Padding;
        var sum = biased != 0 ? L.Splat(L.At(bias, o)) : L.Constant(0);
        for (int c = 0; c < channels; c++)
        {
            int image = (n * s.Channels + o / s.GroupOutputs * channels + c) * s.InputPlane, tap = (o * channels + c) * s.Taps;
            for (int kh = 0; kh < s.Y.Kernel; kh++)
            {
                int ih = top + kh * s.Y.Dilation;
                if (ih < 0 || ih >= s.Y.Input)
                    continue;
                for (int kw = 0; kw < s.X.Kernel; kw++)
                {
                    int iw = left + kw * s.X.Dilation;
                    if (iw >= 0 && iw < s.X.Input)
                        sum = L.MultiplyAdd(L.Splat(L.At(source, image + ih * s.X.Input + iw)), L.Splat(L.At(taps, tap + kh * s.X.Kernel + kw)), sum);
                }
            }
        }
        L.At(y, item) = L.First(sum);
    }
}

/// <summary>dx from dy, and so the transposed convolution (then with a bias a channel of dx), one work item an element of dx.</summary>
internal readonly struct PlainInputGradient<T>(Conv2dShape shape, ArrayView<T> dy, ArrayView<T> weight, ArrayView<T> bias, int biased, ArrayView<T> dx) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (s, gradient, taps) = (shape, dy, weight);
        int iw = item % s.X.Input, rest = item / s.X.Input, ih = rest % s.Y.Input, plane = rest / s.Y.Input;
        int c = plane % s.Channels, n = plane / s.Channels, channels = s.GroupChannels, outputs = s.GroupOutputs, group = c / channels;
        var sum = biased != 0 ? L.Splat(L.At(bias, c)) : L.Constant(0);
        for (int o = group * outputs; o < (group + 1) * outputs; o++)
        {
            int image = (n * s.Outputs + o) * s.OutputPlane, tap = (o * channels + c % channels) * s.Taps;
            for (int kh = 0; kh < s.Y.Kernel; kh++)
            {
                int down = ih + s.Y.Padding - kh * s.Y.Dilation, oh = down / s.Y.Stride;
                if (down < 0 || down % s.Y.Stride != 0 || oh >= s.Y.Output)
                    continue;
                for (int kw = 0; kw < s.X.Kernel; kw++)
                {
                    int right = iw + s.X.Padding - kw * s.X.Dilation, ow = right / s.X.Stride;
                    if (right >= 0 && right % s.X.Stride == 0 && ow < s.X.Output)
                        sum = L.MultiplyAdd(L.Splat(L.At(gradient, image + oh * s.X.Output + ow)), L.Splat(L.At(taps, tap + kh * s.X.Kernel + kw)), sum);
                }
            }
        }
        L.At(dx, item) = L.First(sum);
    }
}

/// <summary>dweight from x and dy, one work item an element of dweight and a piece of the batch; sums [pieces, dweight].</summary>
internal readonly struct PlainWeightGradient<T>(Conv2dShape shape, int imagesOfPiece, ArrayView<T> x, ArrayView<T> dy, ArrayView<T> sums) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (s, source, gradient) = (shape, x, dy);
        int kw = item % s.X.Kernel, rest = item / s.X.Kernel, kh = rest % s.Y.Kernel, filter = rest / s.Y.Kernel;
        int channels = s.GroupChannels, c = filter % channels, o = filter / channels % s.Outputs, first = filter / channels / s.Outputs * imagesOfPiece;
        int top = kh * s.Y.Dilation - s.Y.Padding, left = kw * s.X.Dilation - s.X.Padding;
        var sum = L.Constant(0);
        for (int n = first; n < first + imagesOfPiece; n++)
        {
            int image = (n * s.Channels + o / s.GroupOutputs * channels + c) * s.InputPlane, map = (n * s.Outputs + o) * s.OutputPlane;
            for (int oh = 0; oh < s.Y.Output; oh++)
            {
                int ih = oh * s.Y.Stride + top;
                if (ih < 0 || ih >= s.Y.Input)
                    continue;
                for (int ow = 0; ow < s.X.Output; ow++)
                {
                    int iw = ow * s.X.Stride + left;
                    if (iw >= 0 && iw < s.X.Input)
                        sum = L.MultiplyAdd(L.Splat(L.At(source, image + ih * s.X.Input + iw)), L.Splat(L.At(gradient, map + oh * s.X.Output + ow)), sum);
                }
            }
        }
        L.At(sums, item) = L.First(sum);
    }
}
