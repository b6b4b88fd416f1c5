namespace TransferEngine.Adaptation;

/// <summary>
/// FixMatch-style consistency: what the network says of a weakly changed view of a target row, where it is confident, is the label of a strongly changed view of the same row: cross-entropy of the
/// strong view's logits with the weak view's most probable class, over the rows that reach a threshold, divided by the number of all rows.
/// </summary>
/// <remarks>
/// Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020, equation 4; τ = 0.95 and weight 1. With class thresholds it is FlexMatch (Zhang et al., NeurIPS 2021), whose counts are
/// a running average over batches here. The weak view is the target loader's <see cref="Data.DataLoaderSettings.Transform"/>, the strong one the first of its <see cref="Data.DataLoaderSettings.Views"/>, which goes through the networks
/// by itself. The authors' code answers by a running average of the weights, of which a step keeps 0.999; here the trained networks answer unless an average is asked for.
/// </remarks>
public sealed class FixMatch : WeightedMethod, IDisposable
{
    private readonly ConfidenceMask mask;
    private readonly AveragedWeights? average;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="threshold">τ, the probability that makes a label; 0 trusts all rows.</param>
    /// <param name="perClass">Whether classes that are learned slower have lower thresholds.</param>
    /// <param name="averageDecay">What stays of the averaged weights in a step, from 0 to 1, which answer then, with running statistics of the trained networks; after step t min(1 - 1/(t + 1), decay). With 0 the trained networks answer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The threshold is no probability, or the decay out of range.</exception>
    public FixMatch(double weight = 1, Func<double, double>? schedule = null, double threshold = 0.95, bool perClass = false, double averageDecay = 0)
        : base(perClass ? "flexmatch" : "fixmatch", weight, schedule) => (mask, average) = (new(nameof(FixMatch), threshold, perClass), AveragedWeights.Of(nameof(FixMatch), averageDecay));

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        mask.Reset();
        average?.Begin(run);
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step) => average?.Follow(step);

    /// <inheritdoc/>
    public override void HandOver(AdaptationRun run) => average?.HandOver();

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs) => AveragedWeights.Predict(average, () => base.Predict(run, inputs));

    /// <summary>Gives the memory of the average and of what was learned of classes back; after it the trained networks answer.</summary>
    public void Dispose()
    {
        mask.Reset();
        average?.Dispose();
    }

    /// <summary>Measures; with thresholds per class it also learns them.</summary>
    /// <param name="weakLogits">[m, C]; no gradient flows through them.</param>
    /// <param name="strongLogits">Of the same rows, [m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">They are no matrices of one shape, or have no row.</exception>
    public Tensor Forward(Tensor weakLogits, Tensor strongLogits)
    {
        Discrepancy.CheckLogits(nameof(FixMatch), weakLogits);
        Discrepancy.CheckLogits(nameof(FixMatch), strongLogits);
        Check.That(weakLogits.Shape == strongLogits.Shape, $"FixMatch: weak logits {weakLogits.Shape} and strong logits {strongLogits.Shape} differ. Take both from views of the same rows.");
        var (labels, trusted) = mask.Apply(weakLogits.Detach().Softmax());
        return ConfidenceMask.Loss(strongLogits, labels, trusted);
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The target's loader gives no further view.</exception>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (step.TargetViews.Count == 0)
            throw new InvalidOperationException("FixMatch: the target's batches have no strong view. Set DataLoaderSettings.Views of its loader to a transform, such as RandAugment.");
        return Forward(step.TargetLogits, step.Run.Forward(step.TargetViews[0]));
    }
}
