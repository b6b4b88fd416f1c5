namespace TransferEngine.Modules;

/// <summary>A two-dimensional convolution, [N, C, H, W] to [N, outputs, H', W'].</summary>
public sealed class Conv2d : Module
{
    private readonly Size2d stride, padding, dilation;
    private readonly int groups;

    /// <summary>Initialised as PyTorch does: weight and bias uniform within 1 / sqrt(inputs / groups * kernel height * kernel width).</summary>
    /// <param name="inputs">The channels of the input.</param>
    /// <param name="outputs">The channels of the output.</param>
    /// <param name="kernelSize">The window.</param>
    /// <param name="stride">The step of the window; 1 if null.</param>
    /// <param name="padding">Zeros added on each side; 0 if null.</param>
    /// <param name="dilation">The distance between the window's places; 1 if null.</param>
    /// <param name="groups">Into how many groups the channels are divided.</param>
    /// <param name="bias">Whether there is one.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Conv2d(int inputs, int outputs, Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, int groups = 1,
        bool bias = true, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        CheckChannels(nameof(Conv2d), inputs, outputs, groups);
        (this.stride, this.padding, this.dilation, this.groups) = (stride ?? 1, padding ?? 0, dilation ?? 1, groups);
        double bound = 1 / Math.Sqrt((double)inputs / groups * kernelSize.Height * kernelSize.Width);
        Weight = AddParameter("weight", Tensor.Uniform([outputs, inputs / groups, kernelSize.Height, kernelSize.Width], -bound, bound, generator, device, type));
        if (bias)
            Bias = AddParameter("bias", Tensor.Uniform([outputs], -bound, bound, generator, device, type));
    }

    /// <summary>[outputs, inputs / groups, kernel height, kernel width].</summary>
    public Tensor Weight { get; }

    /// <summary>[outputs], or null.</summary>
    public Tensor? Bias { get; }

    internal int Groups => groups;

    /// <summary>The filters with the normalisation after them folded in.</summary>
    internal FoldedFilters Folded { get; } = new();

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => ProductCost(input, output, Weight);

    /// <summary>[N, inputs, H, W] to [N, outputs, H', W'].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => Convolve(input, Weight, Bias);

    /// <summary>A convolution of this one's stride, padding, dilation and groups with other weights.</summary>
    internal Tensor Convolve(Tensor input, Tensor weight, Tensor? bias) => input.Conv2d(weight, bias, stride, padding, dilation, groups);

    /// <summary>As <see cref="Convolve"/>, plus a residual, between bounds, in one pass that records nothing.</summary>
    internal Tensor ConvolveBounded(Tensor input, Tensor weight, Tensor? bias, Tensor? residual, double low, double high) =>
        input.Conv2dBounded(weight, bias, residual, low, high, stride, padding, dilation, groups);

    internal static void CheckChannels(string operation, int inputs, int outputs, int groups)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(groups, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(inputs, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(outputs, 1);
        if (inputs % groups != 0 || outputs % groups != 0)
            throw new ArgumentException($"{operation}: {inputs} and {outputs} channels do not divide into {groups} groups.", nameof(groups));
    }
}
