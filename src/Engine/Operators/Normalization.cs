using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Normalisations, with PyTorch's definitions and defaults.</summary>
public sealed partial class Tensor
{
    /// <summary>Elements of a channel and image below which vectors along them would be mostly empty.</summary>
    private const int FusedChannelSize = 16;

    /// <summary>
    /// Normalises each channel: (x - mean) / √(variance + eps) * weight + bias, by the batch's own statistics in training, by the running ones otherwise.
    /// </summary>
    /// <param name="runningMean">The running means, [C]; changed in training. Null to keep none.</param>
    /// <param name="runningVar">The running variances, [C]; changed in training, with the unbiased variance.</param>
    /// <param name="weight">A factor for each channel, [C]; 1 if null.</param>
    /// <param name="bias">A summand for each channel, [C]; 0 if null.</param>
    /// <param name="training">Whether to use the batch's statistics.</param>
    /// <param name="momentum">The share of the batch in the running statistics.</param>
    /// <param name="eps">What is added to the variance.</param>
    /// <exception cref="ShapeException">This is not [N, C] or [N, C, d...], or something is not [C], or training has one value a channel.</exception>
    /// <remarks>Ioffe and Szegedy, ICML 2015.</remarks>
    public Tensor BatchNorm(Tensor? runningMean, Tensor? runningVar, Tensor? weight = null, Tensor? bias = null, bool training = false, double momentum = 0.1, double eps = 1e-5)
    {
        Check.Floating("BatchNorm", this);
        Check.That(Rank >= 2, $"BatchNorm: {Shape} has {Rank} axes, wanted [N, C] or [N, C, d...].");
        int batch = Shape[0], channels = Shape[1], size = Product(Shape.Span, 2, Rank);
        foreach (var part in new[] { runningMean, runningVar, weight, bias })
        {
            if (part is null)
                continue;
            Check.Alike("BatchNorm", this, part);
            Check.That(part.Shape == [channels], $"BatchNorm: a parameter or statistic of shape {part.Shape} for {channels} channels of {Shape}; wanted [{channels}].");
        }
        if (!training)
        {
            Check.That(runningMean is not null && runningVar is not null, "BatchNorm: without training the running mean and variance are wanted. Pass them, or training: true.");
            var scale = (runningVar! + eps).Rsqrt();
            scale = weight is null ? scale : scale * weight;
            var shift = -(runningMean! * scale);
            return ScaledAndShifted(scale, bias is null ? shift : shift + bias);
        }
        Check.That(batch * size != 1, $"BatchNorm: training on {Shape} has one value a channel, whose variance is 0. Use a larger batch, or Eval().");
        if (batch * size == 0)
            return this * 1;
        var (mean, variance) = ChannelStatistics(batch, channels, size);
        MoveRunning(runningMean, mean, momentum, 1);
        MoveRunning(runningVar, variance, momentum, (double)batch * size / Math.Max(1, batch * size - 1));
        if (size < FusedChannelSize)
        {
            mean.Dispose();
            variance.Dispose();
            return ComposedBatchNorm(weight, bias, eps);
        }
        Tensor y;
        using (new NoGrad())
        {
            using var deviation = (variance + eps).Rsqrt();
            using var scale = weight is null ? deviation * 1 : deviation * weight;
            using var offset = mean * scale;
            using var shift = bias is null ? -offset : bias - offset;
            y = ScaledAndShifted(scale, shift);
        }
        var result = Graph.Record("BatchNorm", y, [this, weight ?? mean, bias ?? mean], [this, weight ?? mean, mean, variance], (g, c) =>
        {
            var x = c[0];
            if (c.CreatesGraph)
                return RecordedGradients(c, g, weight is not null, bias is not null, [channels], (input, w, b) => input.ComposedBatchNorm(w, b, eps));
            using var incoming = new Dense(g);
            using var dense = new Dense(x);
            var (weightGradient, biasGradient) = (x.AllocateLike([channels]), x.AllocateLike([channels]));
            var inputGradient = c.Needs(0) ? x.AllocateLike(x.Shape) : null;
            BatchNormalization.Backward(x.Device.Compute, c.Needs(0) ? 1 : 0, eps, dense.Slice, incoming.Slice, c[2].Slice, c[3].Slice, weight is null ? null : c[1].Slice,
                batch, channels, size, weightGradient.Slice, biasGradient.Slice, (inputGradient ?? biasGradient).Slice);
            return [inputGradient, c.Needs(1) ? weightGradient : null, c.Needs(2) ? biasGradient : null];
        });
        mean.Dispose();
        variance.Dispose();
        return result;
    }

    /// <summary>Normalises over the last axes by their own mean and variance: (x - mean) / √(variance + eps) * weight + bias.</summary>
    /// <param name="normalizedShape">The last axes.</param>
    /// <param name="weight">A factor for each element of them; 1 if null.</param>
    /// <param name="bias">A summand for each element of them; 0 if null.</param>
    /// <param name="eps">What is added to the variance.</param>
    /// <exception cref="ShapeException">The last axes, the weight or the bias are not of the normalised shape.</exception>
    /// <remarks>Ba, Kiros and Hinton 2016.</remarks>
    public Tensor LayerNorm(Shape normalizedShape, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5)
    {
        Check.Floating("LayerNorm", this);
        Check.That(normalizedShape.Rank > 0 && normalizedShape.Rank <= Rank && Shape.Span[^normalizedShape.Rank..].SequenceEqual(normalizedShape.Span),
            $"LayerNorm: the last axes of {Shape} are not {normalizedShape}.");
        foreach (var part in new[] { weight, bias })
        {
            if (part is null)
                continue;
            Check.Alike("LayerNorm", this, part);
            Check.That(part.Shape == normalizedShape, $"LayerNorm: a parameter of shape {part.Shape}, wanted {normalizedShape}.");
        }
        int n = normalizedShape.Elements, rows = n == 0 ? 0 : Elements / n;
        var (y, statistics) = (AllocateLike(Shape), AllocateLike([rows, 2]));
        using (var x = new Dense(this))
        using (var w = new Dense(weight ?? this))
        using (var b = new Dense(bias ?? this))
            LayerNormalization.Forward(Device.Compute, eps, x.Slice, weight is null ? null : w.Slice, bias is null ? null : b.Slice, rows, n, y.Slice, statistics.Slice);
        var result = Graph.Record("LayerNorm", y, [this, weight ?? statistics, bias ?? statistics], [this, weight ?? statistics, statistics], (g, c) =>
        {
            var x = c[0];
            if (c.CreatesGraph)
                return RecordedGradients(c, g, weight is not null, bias is not null, normalizedShape, (input, w, b) => input.ComposedLayerNorm(normalizedShape.Rank, w, b, eps));
            var (inputGradient, weightGradient, biasGradient) = (x.AllocateLike(x.Shape), x.AllocateLike(normalizedShape), x.AllocateLike(normalizedShape));
            using var incoming = new Dense(g);
            using var dense = new Dense(x);
            using var factor = new Dense(weight is null ? x : c[1]);
            LayerNormalization.Backward(x.Device.Compute, dense.Slice, incoming.Slice, c[2].Slice, weight is null ? null : factor.Slice, rows, n, inputGradient.Slice, weightGradient.Slice, biasGradient.Slice);
            return [inputGradient, c.Needs(1) ? weightGradient : null, c.Needs(2) ? biasGradient : null];
        });
        statistics.Dispose();
        return result;
    }

    /// <summary>Normalises groups of channels of each image by their own mean and variance, then scales and shifts each channel.</summary>
    /// <param name="groups">The number of groups, which divides the channels.</param>
    /// <param name="weight">A factor for each channel, [C]; 1 if null.</param>
    /// <param name="bias">A summand for each channel, [C]; 0 if null.</param>
    /// <param name="eps">What is added to the variance.</param>
    /// <exception cref="ShapeException">This is not [N, C, d...], or the groups do not divide the channels, or a parameter is not [C].</exception>
    /// <remarks>Wu and He, ECCV 2018. One group is layer normalisation over the image, as many as channels instance normalisation.</remarks>
    public Tensor GroupNorm(int groups, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5)
    {
        Check.Floating("GroupNorm", this);
        Check.That(Rank >= 2 && groups > 0 && Shape[1] % groups == 0, $"GroupNorm: {groups} groups do not divide the channels of {Shape}; wanted [N, C, d...] with C a multiple of the groups.");
        int n = Shape[0], channels = Shape[1];
        foreach (var part in new[] { weight, bias })
        {
            if (part is null)
                continue;
            Check.Alike("GroupNorm", this, part);
            Check.That(part.Shape == [channels], $"GroupNorm: a parameter of shape {part.Shape}, wanted [{channels}].");
        }
        if (Elements == 0)
            return this * 1;
        int group = Elements / (n * groups);
        var y = Reshape(n, groups, group).LayerNorm([group], eps: eps).Reshape(Shape.Span);
        return weight is null && bias is null ? y : y.ScaledAndShifted(weight ?? Ones([channels], Device, ElementType), bias ?? Zeros([channels], Device, ElementType));
    }

    /// <summary>x * scale + shift, channel by channel, in one pass.</summary>
    private Tensor ScaledAndShifted(Tensor scale, Tensor shift)
    {
        int[] channel = ChannelShape();
        var y = AllocateLike(Shape);
        using (new NoGrad())
        {
            using Tensor a = scale.Reshape(channel).Alias(), b = shift.Reshape(channel).Alias();
            if (Elements > 0)
                Elementwise.Zip(Device.Compute, default(ScaleShift), Shape.Span, Slice, Strides, a.Slice, a.BroadcastStrides(Shape), b.Slice, b.BroadcastStrides(Shape), y.Slice);
        }
        return Graph.Record("ScaleShift", y, [this, scale, shift], [this, scale], (g, c) =>
        [
            c.Needs(0) ? g * c[1].Reshape(channel) : null,
            c.Needs(1) ? (g * c[0]).SumTo(channel).Reshape(-1) : null,
            c.Needs(2) ? g.SumTo(channel).Reshape(-1) : null,
        ]);
    }

    /// <summary>[1, C, 1...]: how a parameter of each channel broadcasts.</summary>
    private int[] ChannelShape() => [.. Enumerable.Range(0, Rank).Select(axis => axis == 1 ? Shape[1] : 1)];

    private (Tensor Mean, Tensor Variance) ChannelStatistics(int batch, int channels, int size)
    {
        using var recording = new NoGrad();
        if (size < FusedChannelSize)
        {
            int[] axes = [.. Enumerable.Range(0, Rank).Where(axis => axis != 1)];
            return (Mean(axes), Var(axes, correction: 0));
        }
        var (mean, variance) = (AllocateLike([channels]), AllocateLike([channels]));
        using var x = new Dense(this);
        BatchNormalization.Statistics(Device.Compute, x.Slice, batch, channels, size, mean.Slice, variance.Slice);
        return (mean, variance);
    }

    /// <summary>Changes a running statistic in place.</summary>
    private static void MoveRunning(Tensor? running, Tensor value, double momentum, double scale)
    {
        if (running is null)
            return;
        Check.That(running.IsContiguous, $"BatchNorm: a running statistic {running.Shape} is a strided view, which can't be changed in place. Pass Contiguous().");
        Elementwise.Zip(running.Device.Compute, new MoveTowards(momentum, scale), running.Slice, value.Slice, running.Slice);
        running.Storage.Version++;
    }

    /// <summary>The gradients of a normalisation of the saved x and weight, through its composed form, for gradients of gradients.</summary>
    private static Tensor?[] RecordedGradients(
        BackwardContext context, Tensor gradient, bool hasWeight, bool hasBias, Shape parameters, Func<Tensor, Tensor?, Tensor?, Tensor> composed)
    {
        Tensor x = context[0];
        Tensor? weight = hasWeight ? context[1] : null, bias = null;
        if (hasBias)
        {
            // A leaf of zeros stands for the bias, whose value no gradient depends on.
            bias = Zeros(parameters, x.Device, x.ElementType);
            bias.RequiresGrad = true;
        }
        var inputs = new[] { context.Needs(0) ? x : null, context.Needs(1) ? weight : null, context.Needs(2) ? bias : null };
        var found = new Queue<Tensor>(Gradients(composed(x, weight, bias), [.. inputs.OfType<Tensor>()], gradient, createGraph: true));
        return [.. inputs.Select(input => input is null ? null : found.Dequeue())];
    }

    /// <summary>Batch normalisation by the batch's statistics, in recorded operators.</summary>
    private Tensor ComposedBatchNorm(Tensor? weight, Tensor? bias, double eps)
    {
        int[] axes = [.. Enumerable.Range(0, Rank).Where(axis => axis != 1)], channel = ChannelShape();
        var y = (this - Mean(axes, keepDim: true)) * (Var(axes, correction: 0, keepDim: true) + eps).Rsqrt();
        y = weight is null ? y : y * weight.Reshape(channel);
        return bias is null ? y : y + bias.Reshape(channel);
    }

    /// <summary>Layer normalisation over the last axes, in recorded operators.</summary>
    private Tensor ComposedLayerNorm(int rank, Tensor? weight, Tensor? bias, double eps)
    {
        int[] axes = [.. Enumerable.Range(Rank - rank, rank)];
        var y = (this - Mean(axes, keepDim: true)) * (Var(axes, correction: 0, keepDim: true) + eps).Rsqrt();
        y = weight is null ? y : y * weight;
        return bias is null ? y : y + bias;
    }
}
