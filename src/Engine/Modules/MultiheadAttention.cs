namespace TransferEngine.Modules;

/// <summary>
/// Self-attention with several heads (Vaswani et al., NeurIPS 2017): each token becomes a query, a key and a value of each head by one linear map <c>qkv</c>,
/// takes the mean of all tokens' values by how its query meets their keys, and mixes its heads by another linear map <c>proj</c>. Names and
/// the order of the parts in <c>qkv</c> are timm's; PyTorch's <c>in_proj_weight</c> and <c>out_proj</c> are the same numbers.
/// </summary>
public sealed class MultiheadAttention : Module
{
    private readonly int heads;
    private readonly Module qkv, projection;

    /// <param name="width">The length of a token.</param>
    /// <param name="heads">Into how many parts it is divided.</param>
    /// <param name="bias">Whether queries, keys and values have one.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentException">The width does not divide into the heads.</exception>
    public MultiheadAttention(int width, int heads, bool bias = true, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(heads, 1);
        if (width < 1 || width % heads != 0)
            throw new ArgumentException($"MultiheadAttention: a width of {width} does not divide into {heads} heads.", nameof(width));
        this.heads = heads;
        qkv = Add("qkv", new Linear(width, 3 * width, bias, generator, device, type));
        projection = Add("proj", new Linear(width, width, generator: generator, device: device, type: type));
    }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <summary>Those of the two products of attention; the linear maps count theirs.</summary>
    /// <inheritdoc/>
    public override (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(output);
        long forward = 2L * input.Elements * input.Shape[1];
        return (forward, input.RequiresGrad || qkv.Parameters().Any(weight => weight.RequiresGrad) ? 2 * forward : 0);
    }

    /// <summary>[N, tokens, width] to the same.</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input)
    {
        Check.Rank("MultiheadAttention", "the input", input, 3, "[N, tokens, width]");
        int n = input.Shape[0], tokens = input.Shape[1], width = input.Shape[2];
        // [3, N, heads, tokens, width / heads], a view.
        var parts = qkv.Forward(input).Reshape(n, tokens, 3, heads, width / heads).Permute(2, 0, 3, 1, 4);
        var mixed = parts.Select(0, 0).ScaledDotProductAttention(parts.Select(0, 1), parts.Select(0, 2));
        return projection.Forward(mixed.Permute(0, 2, 1, 3).Reshape(n, tokens, width));
    }
}
