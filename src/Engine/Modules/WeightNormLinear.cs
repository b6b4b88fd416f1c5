namespace TransferEngine.Modules;

/// <summary>
/// An affine map of the last axis whose rows of weights have a length and a direction of their own: x (g v / ‖v‖)ᵀ + bias, with a g for each output
/// (Salimans and Kingma, Weight Normalization, NeurIPS 2016, equation 2). SHOT's head is one. Names are those of PyTorch's <c>weight_norm</c>.
/// </summary>
public sealed class WeightNormLinear : Module
{
    /// <summary>Starts as <see cref="Linear"/> does: v uniform within 1 / sqrt(inputs), g the lengths of its rows.</summary>
    /// <inheritdoc cref="Linear(int, int, bool, Generator?, Device?, ElementType)"/>
    public WeightNormLinear(int inputs, int outputs, bool bias = true, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        var start = new Linear(inputs, outputs, bias, generator, device, type);
        using (new NoGrad())
            Length = AddParameter("weight_g", start.Weight.Norm(2, [1], keepDim: true));
        Direction = AddParameter("weight_v", start.Weight);
        Bias = start.Bias is null ? null : AddParameter("bias", start.Bias);
    }

    /// <summary>g, [outputs, 1].</summary>
    public Tensor Length { get; }

    /// <summary>v, [outputs, inputs]: only the directions of its rows count.</summary>
    public Tensor Direction { get; }

    /// <summary>[outputs], or null.</summary>
    public Tensor? Bias { get; }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => ProductCost(input, output, Direction);

    /// <summary>[..., inputs] to [..., outputs].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Linear(Direction * (Length / Direction.Norm(2, [1], keepDim: true)), Bias);
}
