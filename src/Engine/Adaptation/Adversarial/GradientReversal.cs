namespace TransferEngine.Adaptation;

/// <summary>The gradient-reversal layer.</summary>
/// <remarks>Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), section 4.2.</remarks>
public static class GradientReversal
{
    /// <summary>Passes the tensor on unchanged, and its gradient multiplied by -<paramref name="weight"/>.</summary>
    /// <param name="x">Any shape.</param>
    /// <param name="weight">How strongly the gradient is reversed, 0 or more.</param>
    /// <returns>The same elements.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative or not a number.</exception>
    public static Tensor ReverseGradient(this Tensor x, double weight = 1)
    {
        ArgumentNullException.ThrowIfNull(x);
        if (!(weight >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), weight, "ReverseGradient: the weight is 0 or more; it is negated here.");
        return Graph.Record("ReverseGradient", x.Alias(), [x], [], (gradient, _) => [gradient * -weight]);
    }
}
