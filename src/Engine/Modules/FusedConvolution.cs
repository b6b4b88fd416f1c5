namespace TransferEngine.Modules;

/// <summary>
/// A convolution, the batch normalisation and the rectifier after it as one pass, where all three evaluate and no gradient is wanted: a frozen prefix, and
/// inference. The normalisation is folded into the filters, w' = w s and b' = (b - mean) s + shift with s = scale / √(variance + eps). Folded filters are kept
/// with the convolution until one of the numbers that they are made of changes.
/// </summary>
internal static class FusedConvolution
{
    /// <summary>Runs as many modules as go together from a place on, and says how many; 0 if none do, and each is to be run for itself.</summary>
    /// <param name="x">What goes into the first.</param>
    /// <param name="modules">All modules.</param>
    /// <param name="at">The place of the first.</param>
    /// <param name="residual">What is added before the rectifier, which then has to be the last of the modules; null for nothing.</param>
    /// <param name="y">What comes out of the last.</param>
    public static int TryRun(Tensor x, IReadOnlyList<Module> modules, int at, Tensor? residual, out Tensor y)
    {
        y = x;
        if (modules[at] is not Conv2d { IsTransparent: true } convolution)
            return 0;
        int end = at + 1;
        var norm = end < modules.Count ? modules[end] as BatchNorm2d : null;
        if (norm is { IsTraining: true })
            convolution.Folded.Drop();
        if (norm is { IsTraining: true } or { IsTransparent: false })
            return 0;
        end += norm is null ? 0 : 1;
        var bounds = end < modules.Count && modules[end] is Activation { IsTransparent: true } activation ? activation.Bounds : null;
        end += bounds is null ? 0 : 1;
        if (end == at + 1 || (residual is not null && (bounds is null || end < modules.Count)))
            return 0;
        if (Graph.Needs(x, convolution.Weight, convolution.Bias ?? x, norm?.Weight ?? x, norm?.Bias ?? x, residual ?? x))
            return 0;
        var (low, high) = bounds ?? (double.NegativeInfinity, double.PositiveInfinity);
        if (norm is null)
        {
            y = convolution.ConvolveBounded(x, convolution.Weight, convolution.Bias, residual, low, high);
            return end - at;
        }
        var (weight, bias) = convolution.Folded.Get(convolution, norm);
        using (weight)
        using (bias)
            y = convolution.ConvolveBounded(x, weight, bias, residual, low, high);
        return end - at;
    }
}

/// <summary>The filters of a convolution with a normalisation folded into them, as long as nothing that they are made of changes.</summary>
internal sealed class FoldedFilters
{
    private readonly Lock gate = new();
    private Origin from;
    private Tensor? weight, bias;

    /// <summary>Whether there are none.</summary>
    public bool IsEmpty => weight is null;

    /// <summary>The filters and the summand of each channel, made anew if need be; the caller's own references to them.</summary>
    public (Tensor Weight, Tensor Bias) Get(Conv2d convolution, BatchNorm norm)
    {
        var origin = new Origin(norm, new(convolution.Weight), new(convolution.Bias), new(norm.Weight), new(norm.Bias), new(norm.RunningMean), new(norm.RunningVar));
        lock (gate)
        {
            if (weight is null || from != origin)
            {
                Drop();
                Make(convolution, norm);
                from = origin;
            }
            return (weight!.Alias(), bias!.Alias());
        }
    }

    /// <summary>Gives them back.</summary>
    public void Drop()
    {
        lock (gate)
        {
            weight?.Dispose();
            bias?.Dispose();
            (weight, bias, from) = (null, null, default);
        }
    }

    private void Make(Conv2d convolution, BatchNorm norm)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var scale = norm.InverseDeviation();
        if (norm.Weight is not null)
            scale *= norm.Weight;
        var shift = (convolution.Bias is null ? -norm.RunningMean : convolution.Bias - norm.RunningMean) * scale;
        if (norm.Bias is not null)
            shift += norm.Bias;
        (weight, bias) = ((convolution.Weight * scale.Reshape(scale.Elements, 1, 1, 1)).KeepAlive(), shift.KeepAlive());
    }

    /// <summary>The memory of a tensor, and how often it was changed in place.</summary>
    private readonly record struct Stamp(Storage? Memory, int Version)
    {
        public Stamp(Tensor? tensor) : this(tensor?.Storage, tensor?.Storage.Version ?? 0)
        {
        }
    }

    /// <summary>All numbers that folded filters depend on.</summary>
    private readonly record struct Origin(BatchNorm? Norm, Stamp Filters, Stamp Offsets, Stamp Scale, Stamp Shift, Stamp Mean, Stamp Variance);
}
