namespace TransferEngine.Adaptation;

/// <summary>
/// Which predictions are trusted as labels: those whose probability reaches a threshold, the same for all classes or lower for classes that are learned slower.
/// </summary>
/// <remarks>
/// The class thresholds are Zhang et al.'s, FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling, NeurIPS 2021, equations 5 to 9: τ β_c / (2 - β_c), β_c = σ_c / max(max σ, 1 - Σ σ), σ_c the share of
/// rows that reach τ as class c. There it is counted over the last prediction of each row of the data; batches do not tell their rows, so here it is a running average over batches, which keeps 0.99 of
/// itself. It begins at 0, with all rows trusted.
/// </remarks>
internal sealed class ConfidenceMask
{
    private const double Decay = 0.99;

    private readonly double threshold;
    private readonly bool perClass;
    private Tensor? learned;

    public ConfidenceMask(string name, double threshold, bool perClass)
    {
        if (threshold is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(threshold), threshold, $"{name}: the threshold is a probability, from 0 to 1.");
        (this.threshold, this.perClass) = (threshold, perClass);
    }

    /// <summary>Forgets what was learned of classes.</summary>
    public void Reset()
    {
        learned?.Dispose();
        learned = null;
    }

    /// <summary>The labels of rows of probabilities [M, C], Int32 [M], and 1 for those that are trusted, else 0.</summary>
    public (Tensor Labels, Tensor Trusted) Apply(Tensor probabilities)
    {
        using var recording = new NoGrad();
        var p = probabilities.Detach();
        Tensor labels = p.ArgMax(1), greatest = p.Max([1]);
        if (!perClass)
            return (labels, greatest.GreaterOrEqual(threshold));
        int classes = p.Shape[1];
        learned ??= Tensor.Zeros([classes], p.Device, p.ElementType).KeepAlive();
        var share = learned / Tensor.Maximum(learned.Max(), 1 - learned.Sum());
        var trusted = greatest.GreaterOrEqual((share / (2 - share) * threshold).IndexSelect(0, labels));
        var reached = (labels.OneHot(classes, p.ElementType) * greatest.GreaterOrEqual(threshold).Unsqueeze(1)).Mean([0]);
        learned.MultiplyInPlace(Decay).AddInPlace(reached, 1 - Decay);
        return (labels, trusted);
    }

    /// <summary>The mean over all rows of the cross-entropy of those that are trusted with their labels.</summary>
    public static Tensor Loss(Tensor logits, Tensor labels, Tensor trusted) => (logits.CrossEntropy(labels, reduction: LossReduction.None) * trusted).Mean();
}
