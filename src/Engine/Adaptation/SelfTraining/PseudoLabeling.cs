namespace TransferEngine.Adaptation;

/// <summary>
/// Pseudo-labels: cross-entropy of the target's logits with their own most probable class, over the rows whose probability of it reaches a threshold, divided by the number of all rows. No gradient flows through the labels.
/// </summary>
/// <remarks>Lee, Pseudo-Label, ICML Workshops 2013; the threshold after FixMatch (Sohn et al., NeurIPS 2020), per class after FlexMatch (Zhang et al., NeurIPS 2021), whose counts are a running average over batches here.</remarks>
public sealed class PseudoLabeling : WeightedMethod
{
    private readonly ConfidenceMask mask;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="threshold">τ, the probability that makes a label; 0 trusts all rows.</param>
    /// <param name="perClass">Whether classes that are learned slower have lower thresholds.</param>
    /// <exception cref="ArgumentOutOfRangeException">The threshold is no probability.</exception>
    public PseudoLabeling(double weight = 1, Func<double, double>? schedule = null, double threshold = 0.95, bool perClass = false)
        : base("pseudo-labels", weight, schedule) => mask = new(nameof(PseudoLabeling), threshold, perClass);

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run) => mask.Reset();

    /// <summary>Measures; with thresholds per class it also learns them.</summary>
    /// <param name="logits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix, or has no row.</exception>
    public Tensor Forward(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(PseudoLabeling), logits);
        var (labels, trusted) = mask.Apply(logits.Softmax());
        return ConfidenceMask.Loss(logits, labels, trusted);
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.TargetLogits);
    }
}
