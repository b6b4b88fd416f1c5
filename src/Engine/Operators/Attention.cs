namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>
    /// Takes, for each row of this (a query), the mean of the rows of <paramref name="value"/>, weighted by how the query meets the rows of
    /// <paramref name="key"/>: softmax(scale · this keyᵀ + mask) value (Vaswani et al., NeurIPS 2017, equation 1).
    /// </summary>
    /// <param name="key">[..., S, E] for this [..., L, E].</param>
    /// <param name="value">[..., S, V].</param>
    /// <param name="mask">What is added to the scores, and broadcasts to [..., L, S]: 0 where a query may look, -∞ where it may not; null for none.</param>
    /// <param name="scale">The factor of the scores; 1 / √E if null.</param>
    /// <returns>[..., L, V].</returns>
    /// <exception cref="ShapeException">The sizes do not fit.</exception>
    /// <remarks>Gradient: through the products and the softmax. A query that may look nowhere gives NaN, as in PyTorch.</remarks>
    public Tensor ScaledDotProductAttention(Tensor key, Tensor value, Tensor? mask = null, double? scale = null)
    {
        const string Operation = "ScaledDotProductAttention";
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(value);
        Check.Alike(Operation, this, key);
        Check.Alike(Operation, this, value);
        Check.That(Rank >= 2 && key.Rank >= 2 && value.Rank >= 2 && Shape[-1] == key.Shape[-1] && key.Shape[-2] == value.Shape[-2],
            $"{Operation}: queries {Shape}, keys {key.Shape} and values {value.Shape}; wanted [..., L, E], [..., S, E] and [..., S, V].");
        // Scaling the smaller operand is cheaper than scaling the scores.
        var scores = (this * (scale ?? 1 / Math.Sqrt(Shape[-1]))).MatMul(key.Transpose());
        if (mask is not null)
            scores += mask;
        return scores.Softmax().MatMul(value);
    }
}
