namespace TransferEngine.Adaptation;

/// <summary>
/// Makes a discrepancy between the domains small, as in DAN (with <see cref="MaximumMeanDiscrepancy"/>) and Deep CORAL: that of their features, unless other outputs are chosen. Several
/// sources are one sample.
/// </summary>
/// <remarks>
/// The authors measure Deep CORAL on the logits (AlexNet's fc8), with a weight of 0.8 from Amazon to Webcam and 10^-4 to 0.05 on Office-31's other tasks, and DAN on the last features and on the logits (fc7
/// and fc8), with weight 1 each. Discrepancies that compare the distributions of rows serve any output: MMDs, correlations, moments, transport and sliced distances. Of those with a scale of their own,
/// <see cref="CentralMomentDiscrepancy"/> wants what lies between its bounds, so probabilities, not logits; <see cref="AdaptiveFeatureNorm"/> and <see cref="BatchSpectralPenalization"/> are about features alone.
/// </remarks>
/// <param name="name">What it is called in reports.</param>
/// <param name="discrepancy">What is made small.</param>
/// <param name="weight">What it weighs against the classification loss.</param>
/// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
/// <param name="outputs">What it is measured on; of several outputs their discrepancies are added.</param>
/// <exception cref="ArgumentOutOfRangeException">There are no outputs.</exception>
public sealed class DiscrepancyMethod(
    string name, IDiscrepancy discrepancy, double weight = 1, Func<double, double>? schedule = null, NetworkOutputs outputs = NetworkOutputs.Features)
    : WeightedMethod(name, weight, schedule)
{
    private readonly NetworkOutputs outputs = outputs.Checked(nameof(DiscrepancyMethod));

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return outputs.Sum(step, discrepancy.Forward);
    }
}
