namespace TransferEngine.Adaptation;

/// <summary>CAN: <see cref="ContrastiveDomainDiscrepancy"/> with the target's classes from clusters.</summary>
/// <remarks>Kang et al., CVPR 2019: weight 0.3, D₀ = 0.05, N₀ = 3. The paper's class-aware sampling is the source loader's matter; batches of any make do.</remarks>
public sealed class ContrastiveAdaptation : ClusteredMethod
{
    private readonly ContrastiveDomainDiscrepancy discrepancy;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="discrepancy">What is made small; the paper's if null.</param>
    /// <param name="distanceThreshold">D₀: rows at ½ (1 - cos) of this or more from their centre are left out.</param>
    /// <param name="classThreshold">N₀: rows of the target that a class needs.</param>
    public ContrastiveAdaptation(
        double weight = 0.3, Func<double, double>? schedule = null, ContrastiveDomainDiscrepancy? discrepancy = null, double distanceThreshold = 0.05, int classThreshold = 3)
        : base("can", weight, schedule, distanceThreshold, classThreshold) => this.discrepancy = discrepancy ?? new();

    /// <summary>skada's: <see cref="ContrastiveDomainDiscrepancy.Skada"/> and D₀ = 0.5.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public static ContrastiveAdaptation Skada(double weight = 1, Func<double, double>? schedule = null) => new(weight, schedule, ContrastiveDomainDiscrepancy.Skada(), distanceThreshold: 0.5);

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes)
    {
        ArgumentNullException.ThrowIfNull(step);
        return discrepancy.Forward(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, targetLabels, classes);
    }
}
