namespace TransferEngine.Modules;

/// <summary>A two-dimensional transposed convolution, [N, C, H, W] to [N, outputs, H', W'] with H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output padding + 1.</summary>
public sealed class ConvTranspose2d : Module
{
    private readonly Size2d stride, padding, outputPadding, dilation;
    private readonly int groups;

    /// <summary>Initialised as PyTorch does: weight and bias uniform within 1 / sqrt(outputs / groups * kernel height * kernel width).</summary>
    /// <param name="inputs">The channels of the input.</param>
    /// <param name="outputs">The channels of the output.</param>
    /// <param name="kernelSize">The window.</param>
    /// <param name="stride">The step of the window; 1 if null.</param>
    /// <param name="padding">Places cut off on each side of the output; 0 if null.</param>
    /// <param name="outputPadding">Places added at the ends of the output; 0 if null.</param>
    /// <param name="groups">Into how many groups the channels are divided.</param>
    /// <param name="bias">Whether there is one.</param>
    /// <param name="dilation">The distance between the window's places; 1 if null.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public ConvTranspose2d(int inputs, int outputs, Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, Size2d? outputPadding = null, int groups = 1,
        bool bias = true, Size2d? dilation = null, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        Conv2d.CheckChannels(nameof(ConvTranspose2d), inputs, outputs, groups);
        (this.stride, this.padding, this.outputPadding, this.dilation, this.groups) = (stride ?? 1, padding ?? 0, outputPadding ?? 0, dilation ?? 1, groups);
        double bound = 1 / Math.Sqrt((double)outputs / groups * kernelSize.Height * kernelSize.Width);
        Weight = AddParameter("weight", Tensor.Uniform([inputs, outputs / groups, kernelSize.Height, kernelSize.Width], -bound, bound, generator, device, type));
        if (bias)
            Bias = AddParameter("bias", Tensor.Uniform([outputs], -bound, bound, generator, device, type));
    }

    /// <summary>[inputs, outputs / groups, kernel height, kernel width].</summary>
    public Tensor Weight { get; }

    /// <summary>[outputs], or null.</summary>
    public Tensor? Bias { get; }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => ProductCost(input, input, Weight);

    /// <summary>[N, inputs, H, W] to [N, outputs, H', W'].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.ConvTranspose2d(Weight, Bias, stride, padding, outputPadding, groups, dilation);
}
