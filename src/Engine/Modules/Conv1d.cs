namespace TransferEngine.Modules;

/// <summary>A one-dimensional convolution, [N, C, L] to [N, outputs, L'].</summary>
public sealed class Conv1d : Module
{
    private readonly int stride, padding, dilation, groups;

    /// <summary>Initialised as PyTorch does: weight and bias uniform within 1 / sqrt(inputs / groups * kernel size).</summary>
    /// <param name="inputs">The channels of the input.</param>
    /// <param name="outputs">The channels of the output.</param>
    /// <param name="kernelSize">The length of the window.</param>
    /// <param name="stride">The step of the window.</param>
    /// <param name="padding">Zeros added at each end.</param>
    /// <param name="dilation">The distance between the window's places.</param>
    /// <param name="groups">Into how many groups the channels are divided.</param>
    /// <param name="bias">Whether there is one.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Conv1d(int inputs, int outputs, int kernelSize, int stride = 1, int padding = 0, int dilation = 1, int groups = 1,
        bool bias = true, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        Conv2d.CheckChannels(nameof(Conv1d), inputs, outputs, groups);
        ArgumentOutOfRangeException.ThrowIfLessThan(kernelSize, 1);
        (this.stride, this.padding, this.dilation, this.groups) = (stride, padding, dilation, groups);
        double bound = 1 / Math.Sqrt((double)inputs / groups * kernelSize);
        Weight = AddParameter("weight", Tensor.Uniform([outputs, inputs / groups, kernelSize], -bound, bound, generator, device, type));
        if (bias)
            Bias = AddParameter("bias", Tensor.Uniform([outputs], -bound, bound, generator, device, type));
    }

    /// <summary>[outputs, inputs / groups, kernel size].</summary>
    public Tensor Weight { get; }

    /// <summary>[outputs], or null.</summary>
    public Tensor? Bias { get; }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => ProductCost(input, output, Weight);

    /// <summary>[N, inputs, L] to [N, outputs, L'].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Conv1d(Weight, Bias, stride, padding, dilation, groups);
}
