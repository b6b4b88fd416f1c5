namespace TransferEngine.Adaptation;

/// <summary>
/// MCC: how much the classifier confuses classes on the target. With P the softmax of the logits over a temperature, [m, C], and weights
/// w_i = m (1 + e^-H_i) / Σ_j (1 + e^-H_j) that trust rows of small entropy H, the confusion is K = Pᵀ diag(w) P, its rows scaled to sum 1, and the
/// loss (Σ K - tr K) / C.
/// </summary>
/// <remarks>
/// Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020, equations 2 to 6. As in the authors' code and in tllib no gradient flows through the weights; the
/// paper does not say. Both take the entropy of log(p + 1e-5), skada of log(p + 1e-7), which changes less than 1e-5. Only the target's logits are looked at.
/// In the authors' code each domain goes through the networks by itself: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class MinimumClassConfusion : WeightedMethod
{
    private readonly double temperature;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="temperature">What logits are divided by; the paper and tllib take 2.5, pytorch-adapt and skada 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public MinimumClassConfusion(double weight = 1, Func<double, double>? schedule = null, double temperature = 2.5)
        : base("mcc", weight, schedule)
    {
        if (!(temperature > 0))
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "MinimumClassConfusion: the temperature is positive.");
        this.temperature = temperature;
    }

    /// <summary>Measures.</summary>
    /// <param name="logits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix, or has no row.</exception>
    public Tensor Forward(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(MinimumClassConfusion), logits);
        int rows = logits.Shape[0], classes = logits.Shape[1];
        var scaled = logits / temperature;
        var shares = scaled.Softmax();
        Tensor weights;
        using (new NoGrad())
        {
            var certainty = (shares * scaled.LogSoftmax()).Sum([1], keepDim: true).Exp() + 1;
            weights = certainty * rows / certainty.Sum();
        }
        var confusion = (shares * weights).Transpose().MatMulInFull(shares);
        var own = confusion.Reshape(-1).Narrow(0, 0, classes, classes + 1);
        // Each scaled row sums to 1, so all of them to C. A class of no probability has no row.
        return 1 - (own / (confusion.Sum([1]) + 1e-30)).Mean();
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.TargetLogits);
    }
}
