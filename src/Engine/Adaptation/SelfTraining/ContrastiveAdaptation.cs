namespace TransferEngine.Adaptation;

/// <summary>CAN: <see cref="ContrastiveDomainDiscrepancy"/> with the target's classes from clusters, on the features unless other outputs are chosen.</summary>
/// <remarks>
/// Kang et al., CVPR 2019: weight 0.3, D₀ = 0.05, N₀ = 3. The paper's class-aware sampling is the source loader's matter; batches of any make do. The paper's batch normalisation with weights and statistics of
/// each domain is not built; in the authors' code each domain goes through the networks by itself, which <see cref="AdapterSettings.SeparateBatches"/> does.
/// </remarks>
public sealed class ContrastiveAdaptation : ClusteredMethod
{
    private readonly ContrastiveDomainDiscrepancy discrepancy;
    private readonly NetworkOutputs outputs;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="discrepancy">What is made small; the paper's if null.</param>
    /// <param name="distanceThreshold">D₀: rows at ½ (1 - cos) of this or more from their centre are left out.</param>
    /// <param name="classThreshold">N₀: rows of the target that a class needs.</param>
    /// <param name="outputs">What the discrepancy is measured on; of several outputs the discrepancies are added. Clusters are those of the features.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no outputs, the distance is not positive, or the rows are negative.</exception>
    public ContrastiveAdaptation(
        double weight = 0.3, Func<double, double>? schedule = null, ContrastiveDomainDiscrepancy? discrepancy = null, double distanceThreshold = 0.05, int classThreshold = 3,
        NetworkOutputs outputs = NetworkOutputs.Features)
        : base("can", weight, schedule, distanceThreshold, classThreshold) => (this.discrepancy, this.outputs) = (discrepancy ?? new(), outputs.Checked(nameof(ContrastiveAdaptation)));

    /// <summary>
    /// The authors' code: <see cref="ContrastiveDomainDiscrepancy.Authors"/> of the features and that of the softmax, added.
    /// </summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="distanceThreshold">D₀: 0.05 for Office-31, 1 for VisDA-2017.</param>
    /// <param name="classThreshold">N₀.</param>
    /// <exception cref="ArgumentOutOfRangeException">The distance is not positive, or the rows are negative.</exception>
    public static ContrastiveAdaptation Authors(double weight = 0.3, Func<double, double>? schedule = null, double distanceThreshold = 0.05, int classThreshold = 3) =>
        new(weight, schedule, ContrastiveDomainDiscrepancy.Authors(), distanceThreshold, classThreshold, NetworkOutputs.Features | NetworkOutputs.Probabilities);

    /// <summary>skada's: <see cref="ContrastiveDomainDiscrepancy.Skada"/> and D₀ = 0.5.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public static ContrastiveAdaptation Skada(double weight = 1, Func<double, double>? schedule = null) => new(weight, schedule, ContrastiveDomainDiscrepancy.Skada(), distanceThreshold: 0.5);

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes)
    {
        ArgumentNullException.ThrowIfNull(step);
        return outputs.Sum(step, (source, target) => discrepancy.Forward(source, step.SourceTargets, target, targetLabels, classes));
    }
}
