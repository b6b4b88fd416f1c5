namespace TransferEngine.Adaptation;

/// <summary>
/// VREx: the mean of the domains' risks plus β times their variance, (1/E) Σ_e (R_e - R̄)²: a predictor whose risks are equal relies on what the domains share.
/// </summary>
/// <remarks>Krueger et al., Out-of-Distribution Generalization via Risk Extrapolation, ICML 2021, equation 8, which has the sum of the risks where this, as DomainBed, has their mean. As in
/// DomainBed, which also begins its optimiser anew then, β is 1 for the first 500 steps, then 10. The authors' code divides the whole loss by β where β is above 1.</remarks>
public sealed class RiskExtrapolation : SourceRiskMethod
{
    private readonly double weight;
    private readonly int warmUp;

    /// <param name="weight">β, 0 or more.</param>
    /// <param name="warmUp">Steps at whose beginning β is 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is negative.</exception>
    public RiskExtrapolation(double weight = 10, int warmUp = 500)
    {
        if (!(weight >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), weight, "RiskExtrapolation: the weight is 0 or more.");
        ArgumentOutOfRangeException.ThrowIfNegative(warmUp);
        (this.weight, this.warmUp) = (weight, warmUp);
    }

    /// <inheritdoc/>
    public override string Name => "vrex";

    /// <inheritdoc/>
    protected override Tensor Combine(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var risks = Risks(step);
        return risks.Mean() + risks.Var(correction: 0) * (step.Number < warmUp ? 1 : weight);
    }
}
