namespace TransferEngine.Modules;

/// <summary>An affine map of the last axis: x weightᵀ + bias.</summary>
public sealed class Linear : Module
{
    /// <summary>Initialised as PyTorch does: weight and bias uniform within 1 / sqrt(inputs).</summary>
    /// <param name="inputs">The size of the last axis of the input.</param>
    /// <param name="outputs">The size of the last axis of the output.</param>
    /// <param name="bias">Whether there is one.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Linear(int inputs, int outputs, bool bias = true, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(inputs, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(outputs, 1);
        double bound = 1 / Math.Sqrt(inputs);
        Weight = AddParameter("weight", Tensor.Uniform([outputs, inputs], -bound, bound, generator, device, type));
        if (bias)
            Bias = AddParameter("bias", Tensor.Uniform([outputs], -bound, bound, generator, device, type));
    }

    /// <summary>A map whose weights are known.</summary>
    /// <param name="weight">[outputs, inputs].</param>
    /// <param name="bias">[outputs], or null for none.</param>
    public Linear(Tensor weight, Tensor? bias)
    {
        ArgumentNullException.ThrowIfNull(weight);
        Check.Rank("Linear", "the weight", weight, 2, "[outputs, inputs]");
        Weight = AddParameter("weight", weight);
        if (bias is not null)
        {
            Check.That(bias.Rank == 1 && bias.Shape[0] == weight.Shape[0], $"Linear: the bias {bias.Shape} does not fit the weight {weight.Shape}, wanted [{weight.Shape[0]}].");
            Bias = AddParameter("bias", bias);
        }
    }

    /// <summary>[outputs, inputs].</summary>
    public Tensor Weight { get; }

    /// <summary>[outputs], or null.</summary>
    public Tensor? Bias { get; }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => ProductCost(input, output, Weight);

    /// <summary>[..., inputs] to [..., outputs].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Linear(Weight, Bias);
}
