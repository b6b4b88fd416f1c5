using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Convolution of images. The map (x, weight) to y and the two maps that give its gradients are linear in each of their operands, and the gradients of
/// each are the other two: so all three are recorded operators, and gradients of any order come from them.
/// </summary>
public sealed partial class Tensor
{
    /// <summary>Slides filters over images: y[n, o, i, j] = bias[o] + Σ x[n, c, i·stride - padding + k·dilation, ...] weight[o, c, k, l].</summary>
    /// <param name="weight">[O, C / groups, KH, KW] for this [N, C, H, W].</param>
    /// <param name="bias">[O], or null for none.</param>
    /// <param name="stride">Pixels from one output to the next; 1 if null.</param>
    /// <param name="padding">Zeros around the image, on each side; 0 if null.</param>
    /// <param name="dilation">Pixels from one tap to the next; 1 if null.</param>
    /// <param name="groups">Parts of the channels that are convolved apart; both C and O are multiples of it.</param>
    /// <returns>[N, O, (H + 2 padding - dilation (KH - 1) - 1) / stride + 1, ...].</returns>
    /// <exception cref="ShapeException">The sizes do not fit, or the filter is larger than the padded image.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A stride, dilation or the number of groups is below 1, or a padding below 0.</exception>
    /// <remarks>Gradient: of this the transposed convolution of g, of the weight the correlation of this with g, of the bias the sum of g over N and pixels. Under <see cref="Autocast"/> in 16 bits, all but the bias.</remarks>
    public Tensor Conv2d(Tensor weight, Tensor? bias = null, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, int groups = 1)
    {
        const string Operation = "Conv2d";
        return Convolved(Operation, ShapeOfConv2d(Operation, weight, bias, stride, padding, dilation, groups), this, weight, bias);
    }

    /// <summary>
    /// <see cref="Conv2d"/> plus <paramref name="residual"/>, kept between two bounds, in one pass: what a folded network runs. It records nothing, so no
    /// operand may need a gradient.
    /// </summary>
    internal Tensor Conv2dBounded(
        Tensor weight, Tensor? bias, Tensor? residual, double low, double high, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, int groups = 1)
    {
        const string Operation = "Conv2d";
        var shape = ShapeOfConv2d(Operation, weight, bias, stride, padding, dilation, groups);
        if (Graph.Needs(this, weight, bias ?? weight, residual ?? weight))
            throw new InvalidOperationException($"{Operation}: a fused convolution records no gradient, and an operand needs one.");
        Shape sizes = new(shape.Batch, shape.Outputs, shape.Y.Output, shape.X.Output);
        if (residual is not null)
            Check.That(residual.Shape.Equals(sizes), $"{Operation}: the residual {residual.Shape} is not of the shape of the result, {sizes}.");
        var y = AllocateLike(sizes);
        using Operand input = new(this), kernel = new(weight);
        using (Dense image = new(input.Tensor), filters = new(kernel.Tensor), offsets = new(bias ?? weight), added = new(residual ?? weight))
        {
            Convolution.Forward(Device.Compute, shape, image.Slice, filters.Slice,
                new(bias is null ? null : offsets.Slice, residual is null ? null : added.Slice, low, high), y.Slice);
        }
        return y;
    }

    private Conv2dShape ShapeOfConv2d(string operation, Tensor weight, Tensor? bias, Size2d? stride, Size2d? padding, Size2d? dilation, int groups)
    {
        CheckFilters(operation, weight, bias, groups);
        var (s, p, d) = Steps(operation, stride, padding, dilation);
        int channels = Shape[1], outputs = weight.Shape[0];
        Check.That(channels == weight.Shape[1] * groups && outputs % groups == 0,
            $"{operation}: the input {Shape} has {channels} channels, the weight {weight.Shape} with {groups} group(s) takes {weight.Shape[1] * groups} and gives {outputs}, a multiple of {groups}. The axes are [N, C, H, W] and [O, C / groups, KH, KW].");
        CheckBias(operation, weight, bias, outputs);
        return new(Shape[0], channels, outputs, groups,
            Fitting(operation, Shape[2], weight.Shape[2], s.Height, p.Height, d.Height, weight), Fitting(operation, Shape[3], weight.Shape[3], s.Width, p.Width, d.Width, weight));
    }

    /// <summary>Spreads filters over a larger image, the transpose of <see cref="Conv2d"/>: each pixel of x adds its multiple of a filter.</summary>
    /// <param name="weight">[C, O / groups, KH, KW] for this [N, C, H, W].</param>
    /// <param name="bias">[O], or null for none.</param>
    /// <param name="stride">Output pixels from one input to the next; 1 if null.</param>
    /// <param name="padding">Pixels cut off each side of the output; 0 if null.</param>
    /// <param name="outputPadding">Pixels added at the end of the output, fewer than the stride or the dilation; 0 if null.</param>
    /// <param name="groups">Parts of the channels that are convolved apart.</param>
    /// <param name="dilation">Pixels from one tap to the next; 1 if null.</param>
    /// <returns>[N, O, (H - 1) stride - 2 padding + dilation (KH - 1) + outputPadding + 1, ...].</returns>
    /// <exception cref="ShapeException">The sizes do not fit, or the output has no pixels.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A step is too small, or the output padding too large.</exception>
    /// <remarks>Gradient: of this the convolution of g, of the weight the correlation of g with this, of the bias the sum of g over N and pixels.</remarks>
    public Tensor ConvTranspose2d(
        Tensor weight, Tensor? bias = null, Size2d? stride = null, Size2d? padding = null, Size2d? outputPadding = null, int groups = 1, Size2d? dilation = null)
    {
        const string Operation = "ConvTranspose2d";
        CheckFilters(Operation, weight, bias, groups);
        var (s, p, d) = Steps(Operation, stride, padding, dilation);
        var extra = (outputPadding ?? 0).AtLeast(0, Operation, nameof(outputPadding));
        if (extra.Height >= Math.Max(s.Height, d.Height) || extra.Width >= Math.Max(s.Width, d.Width))
            throw new ArgumentOutOfRangeException(nameof(outputPadding), extra, $"{Operation}: the output padding {extra} must be smaller than the stride {s} or the dilation {d}.");
        int channels = Shape[1], outputs = weight.Shape[1] * groups;
        Check.That(channels == weight.Shape[0] && channels % groups == 0,
            $"{Operation}: the input {Shape} has {channels} channels, the weight {weight.Shape} takes {weight.Shape[0]}, in {groups} group(s). The axes are [N, C, H, W] and [C, O / groups, KH, KW].");
        CheckBias(Operation, weight, bias, outputs);
        var shape = new Conv2dShape(Shape[0], outputs, channels, groups,
            Spreading(Operation, Shape[2], weight.Shape[2], s.Height, p.Height, d.Height, extra.Height), Spreading(Operation, Shape[3], weight.Shape[3], s.Width, p.Width, d.Width, extra.Width));
        return ConvolvedBack(Operation, shape, this, weight, bias);
    }

    /// <summary>y of x and weight.</summary>
    private static Tensor Convolved(string operation, Conv2dShape shape, Tensor x, Tensor weight, Tensor? bias)
    {
        var y = x.AllocateLike([shape.Batch, shape.Outputs, shape.Y.Output, shape.X.Output]);
        using Operand input = new(x), kernel = new(weight);
        using (Dense image = new(input.Tensor), filters = new(kernel.Tensor), offsets = new(bias ?? weight))
            Convolution.Forward(x.Device.Compute, shape.Of(Autocast.Current), image.Slice, filters.Slice, new(bias is null ? null : offsets.Slice), y.Slice);
        return Bilinear(operation, y, x, weight, bias,
            (g, filters) => ConvolvedBack(operation, shape, g, filters, null), (g, image) => Correlated(operation, shape, image, g));
    }

    /// <summary>x of y and weight: what reaches the image through the filters.</summary>
    private static Tensor ConvolvedBack(string operation, Conv2dShape shape, Tensor y, Tensor weight, Tensor? bias)
    {
        var x = y.AllocateLike([shape.Batch, shape.Channels, shape.Y.Input, shape.X.Input]);
        using Operand input = new(y), kernel = new(weight);
        using (Dense maps = new(input.Tensor), filters = new(kernel.Tensor), offsets = new(bias ?? weight))
            Convolution.InputGradient(y.Device.Compute, shape.Of(Autocast.Current), maps.Slice, filters.Slice, bias is null ? null : offsets.Slice, x.Slice);
        return Bilinear(operation, x, y, weight, bias,
            (g, filters) => Convolved(operation, shape, g, filters, null), (g, maps) => Correlated(operation, shape, g, maps));
    }

    /// <summary>The weight of x and y: how much each tap links the image with the maps.</summary>
    private static Tensor Correlated(string operation, Conv2dShape shape, Tensor x, Tensor y)
    {
        var weight = x.AllocateLike([shape.Outputs, shape.GroupChannels, shape.Y.Kernel, shape.X.Kernel]);
        using Operand left = new(x), right = new(y);
        using (Dense image = new(left.Tensor), maps = new(right.Tensor))
            Convolution.WeightGradient(x.Device.Compute, shape.Of(Autocast.Current), image.Slice, maps.Slice, weight.Slice);
        return Bilinear(operation, weight, x, y, null,
            (g, maps) => ConvolvedBack(operation, shape, maps, g, null), (g, image) => Convolved(operation, shape, image, g, null));
    }

    /// <summary>Records y = f(a, b) + bias, where f is linear in each operand; saves an operand only where the other one needs a gradient.</summary>
    private static Tensor Bilinear(string operation, Tensor y, Tensor a, Tensor b, Tensor? bias, Func<Tensor, Tensor, Tensor> gradientOfA, Func<Tensor, Tensor, Tensor> gradientOfB)
    {
        bool needsA = Graph.Needs(a), needsB = Graph.Needs(b);
        ReadOnlySpan<Tensor> saved = (needsA, needsB) switch { (true, true) => [b, a], (true, false) => [b], (false, true) => [a], _ => [] };
        Tensor? A(Tensor g, BackwardContext c) => c.Needs(0) ? gradientOfA(g, c[0]) : null;
        Tensor? B(Tensor g, BackwardContext c) => c.Needs(1) ? gradientOfB(g, c[needsA ? 1 : 0]) : null;
        return bias is null
            ? Graph.Record(operation, y, [a, b], saved, (g, c) => Both(g, c), Autocast.Current)
            : Graph.Record(operation, y, [a, b, bias], saved, (g, c) => [.. Both(g, c), c.Needs(2) ? g.Sum([0, 2, 3]) : null], Autocast.Current);

        // A gradient that is no dense array, as a sum's, is copied into one once, not by either.
        Tensor?[] Both(Tensor g, BackwardContext c)
        {
            var dense = c.Needs(0) && c.Needs(1) ? g.Contiguous() : g;
            Tensor?[] gradients = [A(dense, c), B(dense, c)];
            if (!ReferenceEquals(dense, g))
                dense.Dispose();
            return gradients;
        }
    }

    private static (Size2d Stride, Size2d Padding, Size2d Dilation) Steps(string operation, Size2d? stride, Size2d? padding, Size2d? dilation) => (
        (stride ?? 1).AtLeast(1, operation, nameof(stride)), (padding ?? 0).AtLeast(0, operation, nameof(padding)), (dilation ?? 1).AtLeast(1, operation, nameof(dilation)));

    private void CheckFilters(string operation, Tensor weight, Tensor? bias, int groups)
    {
        ArgumentNullException.ThrowIfNull(weight);
        Check.Alike(operation, this, weight);
        if (bias is not null)
            Check.Alike(operation, this, bias);
        if (groups < 1)
            throw new ArgumentOutOfRangeException(nameof(groups), groups, $"{operation}: {groups} groups; wanted 1 or more.");
        Check.Rank(operation, "the input", this, 4, "[N, C, H, W]");
        Check.Rank(operation, "the weight", weight, 4, operation == "Conv2d" ? "[O, C / groups, KH, KW]" : "[C, O / groups, KH, KW]");
        Check.That(weight.Shape[2] > 0 && weight.Shape[3] > 0, $"{operation}: the weight {weight.Shape} has no taps; its last two sizes are wanted 1 or more.");
    }

    private static void CheckBias(string operation, Tensor weight, Tensor? bias, int outputs) => Check.That(
        bias is null || (bias.Rank == 1 && bias.Shape[0] == outputs), $"{operation}: the bias {bias?.Shape} does not fit the weight {weight.Shape}, wanted [{outputs}].");

    private ConvAxis Fitting(string operation, int input, int kernel, int stride, int padding, int dilation, Tensor weight)
    {
        Check.That(input + 2L * padding >= (kernel - 1L) * dilation + 1,
            $"{operation}: {Shape} x {weight.Shape}: {kernel} taps {dilation} apart do not fit the {input} pixels of an axis with a padding of {padding}. Pad more, or use a smaller filter.");
        return new(input, kernel, stride, padding, dilation);
    }

    private ConvAxis Spreading(string operation, int input, int kernel, int stride, int padding, int dilation, int extra)
    {
        long size = (input - 1L) * stride - 2L * padding + (kernel - 1L) * dilation + extra + 1;
        Check.That(input == 0 || size is > 0 and < int.MaxValue, $"{operation}: {Shape} gives an axis of {size} pixels with {kernel} taps, stride {stride} and padding {padding}. Use less padding.");
        return new((int)Math.Max(size, 0), kernel, stride, padding, dilation, input);
    }
}
