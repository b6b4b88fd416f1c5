using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Pooling of images [N, C, H, W] over windows of pixels.</summary>
public sealed partial class Tensor
{
    /// <summary>Takes the largest pixel of each window; NaN if the window has one.</summary>
    /// <param name="kernelSize">The size of a window.</param>
    /// <param name="stride">Pixels from one window to the next; the size of a window if null.</param>
    /// <param name="padding">Pixels around the image that never win, at most half of the window; 0 if null.</param>
    /// <param name="dilation">Pixels from one tap of a window to the next; 1 if null.</param>
    /// <param name="ceilMode">Whether a last window that is only partly inside counts.</param>
    /// <returns>[N, C, (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1, ...].</returns>
    /// <exception cref="ShapeException">This is no [N, C, H, W], or the window is larger than the padded image.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size or step is too small, or the padding more than half of the window.</exception>
    /// <remarks>Gradient: g goes to the pixel that won, the first of equal ones.</remarks>
    public Tensor MaxPool2d(Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, bool ceilMode = false)
    {
        var (rows, columns) = Windows("MaxPool2d", kernelSize, stride, padding, dilation, ceilMode, true);
        return Largest("MaxPool2d", rows, columns, Output(rows, columns), false).Values;
    }

    /// <summary>As <see cref="MaxPool2d"/>, and tells where each largest pixel is.</summary>
    /// <returns>The values, and Int32 positions: row · W + column in the pixel's own plane.</returns>
    /// <inheritdoc cref="MaxPool2d"/>
    public (Tensor Values, Tensor Indices) MaxPool2dWithIndices(Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, bool ceilMode = false)
    {
        var (rows, columns) = Windows("MaxPool2dWithIndices", kernelSize, stride, padding, dilation, ceilMode, true);
        var (values, indices) = Largest("MaxPool2dWithIndices", rows, columns, Output(rows, columns), true);
        return (values, indices!);
    }

    /// <summary>Averages the pixels of each window.</summary>
    /// <param name="kernelSize">The size of a window.</param>
    /// <param name="stride">Pixels from one window to the next; the size of a window if null.</param>
    /// <param name="padding">Zeros around the image, at most half of the window; 0 if null.</param>
    /// <param name="ceilMode">Whether a last window that is only partly inside counts.</param>
    /// <param name="countIncludePad">Whether the zeros count in the number that a sum is divided by.</param>
    /// <param name="divisorOverride">What to divide by instead, 1 or more.</param>
    /// <returns>[N, C, (H + 2 padding - kernel) / stride + 1, ...].</returns>
    /// <exception cref="ShapeException">This is no [N, C, H, W], or the window is larger than the padded image.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size or step is too small, or the padding more than half of the window.</exception>
    /// <remarks>Gradient: g / divisor to each pixel of the window.</remarks>
    public Tensor AvgPool2d(
        Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, bool ceilMode = false, bool countIncludePad = true, int? divisorOverride = null)
    {
        if (divisorOverride < 1)
            throw new ArgumentOutOfRangeException(nameof(divisorOverride), divisorOverride, "AvgPool2d: the divisor is 1 or more.");
        var (rows, columns) = Windows("AvgPool2d", kernelSize, stride, padding, null, ceilMode, countIncludePad);
        return Averaged("AvgPool2d", this, rows, columns, divisorOverride ?? 0, Output(rows, columns));
    }

    /// <summary>Averages over windows that divide the image into a given number of rows and columns, as evenly as whole pixels allow.</summary>
    /// <param name="outputSize">Rows and columns of the result.</param>
    /// <returns>[N, C, outputSize]; output i averages the pixels from ⌊i H / rows⌋ to ⌈(i + 1) H / rows⌉.</returns>
    /// <exception cref="ShapeException">This is no [N, C, H, W], or an image has no pixels.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size is negative.</exception>
    /// <remarks>Gradient: g divided by the number of pixels to each pixel of the window.</remarks>
    public Tensor AdaptiveAvgPool2d(Size2d outputSize)
    {
        CheckAdaptive("AdaptiveAvgPool2d", outputSize);
        Shape result = [Shape[0], Shape[1], outputSize.Height, outputSize.Width];
        if (outputSize is (1, 1))
            return Averaged("AdaptiveAvgPool2d", this, new AdaptiveWindows(1, 1), new AdaptiveWindows(Shape[2] * Shape[3], 1), 0, result);
        return Divides(outputSize) is var (rows, columns)
            ? Averaged("AdaptiveAvgPool2d", this, rows, columns, 0, result)
            : Averaged("AdaptiveAvgPool2d", this, new AdaptiveWindows(Shape[2], outputSize.Height), new AdaptiveWindows(Shape[3], outputSize.Width), 0, result);
    }

    /// <summary>Takes the largest pixels of windows that divide the image as those of <see cref="AdaptiveAvgPool2d"/> do.</summary>
    /// <returns>[N, C, outputSize].</returns>
    /// <remarks>Gradient: g goes to the pixel that won, the first of equal ones.</remarks>
    /// <inheritdoc cref="AdaptiveAvgPool2d"/>
    public Tensor AdaptiveMaxPool2d(Size2d outputSize) => AdaptiveLargest("AdaptiveMaxPool2d", outputSize, false).Values;

    /// <summary>As <see cref="AdaptiveMaxPool2d"/>, and tells where each largest pixel is.</summary>
    /// <returns>The values, and Int32 positions: row · W + column in the pixel's own plane.</returns>
    /// <inheritdoc cref="AdaptiveMaxPool2d"/>
    public (Tensor Values, Tensor Indices) AdaptiveMaxPool2dWithIndices(Size2d outputSize)
    {
        var (values, indices) = AdaptiveLargest("AdaptiveMaxPool2dWithIndices", outputSize, true);
        return (values, indices!);
    }

    private (Tensor Values, Tensor? Indices) AdaptiveLargest(string operation, Size2d size, bool wantsIndices)
    {
        CheckAdaptive(operation, size);
        Shape result = [Shape[0], Shape[1], size.Height, size.Width];
        return Divides(size) is var (rows, columns)
            ? Largest(operation, rows, columns, result, wantsIndices)
            : Largest(operation, new AdaptiveWindows(Shape[2], size.Height), new AdaptiveWindows(Shape[3], size.Width), result, wantsIndices);
    }

    private (Tensor Values, Tensor? Indices) Largest<W>(string operation, W rows, W columns, Shape result, bool wantsIndices) where W : struct, IWindows
    {
        var y = AllocateLike(result);
        var indices = wantsIndices || Graph.Needs(this) ? Allocate(result, Device, ElementType.Int32) : null;
        using (var x = new Dense(this))
            Pooling.Max(Device.Compute, Shape[0] * Shape[1], rows, columns, x.Slice, y.Slice, indices?.Slice);
        if (indices is null)
            return (y, null);
        var from = Shape;
        Graph.Record(operation, y, [this], [indices], (g, c) => [SpreadToPlaces(operation, g, c[0], rows, columns, from)]);
        if (!wantsIndices)
            indices.Dispose();
        return (y, wantsIndices ? indices : null);
    }

    /// <summary>Adds every element of <paramref name="y"/> to the pixel that its index names.</summary>
    private static Tensor SpreadToPlaces<W>(string operation, Tensor y, Tensor indices, W rows, W columns, Shape shape) where W : struct, IWindows
    {
        var x = y.AllocateLike(shape);
        using (var dense = new Dense(y))
            Pooling.Spread(y.Device.Compute, shape[0] * shape[1], rows, columns, dense.Slice, indices.Slice, x.Slice);
        return Graph.Record(operation, x, [y], [indices], (g, c) => [PickedAtPlaces(operation, g, c[0], rows, columns)]);
    }

    /// <summary>The pixels that the indices name: the transpose of <see cref="SpreadToPlaces"/>.</summary>
    private static Tensor PickedAtPlaces<W>(string operation, Tensor x, Tensor indices, W rows, W columns) where W : struct, IWindows
    {
        var y = x.AllocateLike(indices.Shape);
        using (var dense = new Dense(x))
            Pooling.Pick(x.Device.Compute, x.Shape[0] * x.Shape[1], dense.Slice, indices.Slice, y.Slice);
        var from = x.Shape;
        return Graph.Record(operation, y, [x], [indices], (g, c) => [SpreadToPlaces(operation, g, c[0], rows, columns, from)]);
    }

    private static Tensor Averaged<W>(string operation, Tensor x, W rows, W columns, int divisor, Shape result) where W : struct, IWindows
    {
        var y = x.AllocateLike(result);
        using (var dense = new Dense(x))
            Pooling.Average(x.Device.Compute, x.Shape[0] * x.Shape[1], rows, columns, divisor, dense.Slice, y.Slice);
        var from = x.Shape;
        return Graph.Record(operation, y, [x], [], (g, _) => [AverageShared(operation, g, rows, columns, divisor, from)]);
    }

    /// <summary>Shares every element among the pixels of its window: the transpose of <see cref="Averaged"/>.</summary>
    private static Tensor AverageShared<W>(string operation, Tensor y, W rows, W columns, int divisor, Shape shape) where W : struct, IWindows
    {
        var x = y.AllocateLike(shape);
        using (var dense = new Dense(y))
            Pooling.AverageGradient(y.Device.Compute, shape[0] * shape[1], rows, columns, divisor, dense.Slice, x.Slice);
        var from = y.Shape;
        return Graph.Record(operation, x, [y], [], (g, _) => [Averaged(operation, g, rows, columns, divisor, from)]);
    }

    private (StridedWindows Rows, StridedWindows Columns) Windows(string operation, Size2d kernel, Size2d? stride, Size2d? padding, Size2d? dilation, bool ceilMode, bool includePadding)
    {
        CheckImages(operation);
        kernel.AtLeast(1, operation, "kernelSize");
        var (s, p, d) = Steps(operation, stride ?? kernel, padding, dilation);
        if (2 * p.Height > kernel.Height || 2 * p.Width > kernel.Width)
            throw new ArgumentOutOfRangeException(nameof(padding), p, $"{operation}: the padding {p} is more than half of the window {kernel}.");
        return (Axis(Shape[2], kernel.Height, s.Height, p.Height, d.Height), Axis(Shape[3], kernel.Width, s.Width, p.Width, d.Width));

        StridedWindows Axis(int input, int size, int step, int pad, int apart)
        {
            Check.That(input + 2L * pad >= (size - 1L) * apart + 1,
                $"{operation}: windows of {kernel} with dilation {d} do not fit {Shape} with a padding of {p}. Use smaller windows.");
            return new(new(input, size, step, pad, apart, StridedWindows.OutputSize(input, size, step, pad, apart, ceilMode)), includePadding ? 1 : 0);
        }
    }

    private Shape Output(StridedWindows rows, StridedWindows columns) => [Shape[0], Shape[1], rows.Output, columns.Output];

    /// <summary>The windows of one size and stride that an adaptive pooling amounts to, if each axis is a multiple of its outputs.</summary>
    private (StridedWindows Rows, StridedWindows Columns)? Divides(Size2d size)
    {
        if (size.Height == 0 || size.Width == 0 || Shape[2] % size.Height != 0 || Shape[3] % size.Width != 0)
            return null;
        int h = Shape[2] / size.Height, w = Shape[3] / size.Width;
        return (new(new(Shape[2], h, h, 0, 1), 1), new(new(Shape[3], w, w, 0, 1), 1));
    }

    private void CheckAdaptive(string operation, Size2d size)
    {
        CheckImages(operation);
        size.AtLeast(0, operation, "outputSize");
        Check.That(Shape[2] > 0 && Shape[3] > 0, $"{operation}: the images of {Shape} have no pixels.");
    }

    private void CheckImages(string operation)
    {
        Check.Floating(operation, this);
        Check.Rank(operation, "the input", this, 4, "[N, C, H, W]");
    }
}
