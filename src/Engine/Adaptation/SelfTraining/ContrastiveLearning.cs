namespace TransferEngine.Adaptation;

/// <summary>CDCL: <see cref="CrossDomainContrast"/> with the target's classes from clusters.</summary>
/// <remarks>Wang et al., Cross-Domain Contrastive Learning for Unsupervised Domain Adaptation, IEEE TMM 25 (2023), section III.</remarks>
public sealed class ContrastiveLearning : ClusteredMethod
{
    private readonly CrossDomainContrast contrast;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="contrast">What is made small; across domains, with a temperature of 0.07, if null.</param>
    /// <param name="distanceThreshold">Rows at ½ (1 - cos) of this or more from their centre are left out; by default none is.</param>
    /// <param name="classThreshold">Rows of the target that a class needs.</param>
    public ContrastiveLearning(double weight = 1, Func<double, double>? schedule = null, CrossDomainContrast? contrast = null, double distanceThreshold = 2, int classThreshold = 0)
        : base("cdcl", weight, schedule, distanceThreshold, classThreshold) => this.contrast = contrast ?? new();

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes)
    {
        ArgumentNullException.ThrowIfNull(step);
        return contrast.Forward(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, targetLabels, classes);
    }
}
