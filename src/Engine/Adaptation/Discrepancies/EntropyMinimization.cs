namespace TransferEngine.Adaptation;

/// <summary>Makes the target's predictions certain: the mean entropy -Σ_c p_c log p_c, in nats, of the softmax of the target's logits.</summary>
/// <remarks>Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NeurIPS 2004. Alone it may collapse to one class.</remarks>
/// <param name="weight">What it weighs against the classification loss.</param>
/// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
public sealed class EntropyMinimization(double weight = 0.1, Func<double, double>? schedule = null) : WeightedMethod("entropy", weight, schedule)
{
    /// <summary>Measures.</summary>
    /// <param name="logits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix, or has no row.</exception>
    public static Tensor Forward(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(EntropyMinimization), logits);
        return -(logits.Softmax() * logits.LogSoftmax()).Sum() / logits.Shape[0];
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.TargetLogits);
    }
}
