namespace TransferEngine.Adaptation;

/// <summary>Makes a discrepancy between the domains' features small, as in DAN (with <see cref="MaximumMeanDiscrepancy"/>) and Deep CORAL.</summary>
/// <param name="name">What it is called in reports.</param>
/// <param name="discrepancy">What is made small.</param>
/// <param name="weight">What it weighs against the classification loss.</param>
/// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
public sealed class DiscrepancyMethod(string name, IDiscrepancy discrepancy, double weight = 1, Func<double, double>? schedule = null)
    : WeightedMethod(name, weight, schedule)
{
    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return discrepancy.Forward(step.SourceFeatures, step.TargetFeatures);
    }
}
