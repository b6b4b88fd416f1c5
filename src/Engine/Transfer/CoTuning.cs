using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// Co-Tuning: the source head is not thrown away but trained along, on a soft source label of each target class:
/// -weight Σ_s p(s | y) log softmax(sourceHead(features))_s, the mean over the rows. The relationship p(s | y) is learnt before fine-tuning by
/// <see cref="Relationship"/>.
/// </summary>
/// <remarks>You et al.: Co-Tuning for transfer learning; NeurIPS 2020. Of its two ways to learn the relationship this is the direct one.</remarks>
public sealed class CoTuning : IRegularizer, IDisposable
{
    private readonly Module sourceHead;
    private readonly Tensor relationship;
    private readonly Tap tap;
    private readonly double weight;

    /// <param name="head">The model's new head: its input is the features.</param>
    /// <param name="sourceHead">Takes the features to the source classes' logits; trained along.</param>
    /// <param name="relationship">p(source class | target class), [target classes, source classes]; on the device of the model.</param>
    /// <param name="weight">What the term weighs, λ.</param>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public CoTuning(Module head, Module sourceHead, Tensor relationship, double weight = 2.3)
    {
        ArgumentNullException.ThrowIfNull(head);
        ArgumentNullException.ThrowIfNull(sourceHead);
        ArgumentNullException.ThrowIfNull(relationship);
        Check.Rank("CoTuning", "the relationship", relationship, 2, "[target classes, source classes]");
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        (this.sourceHead, this.relationship, this.weight) = (sourceHead, relationship.KeepAlive(), weight);
        tap = new Tap(nameof(CoTuning), [head], inputs: true);
    }

    /// <inheritdoc/>
    public string Name => "co-tuning";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [sourceHead];

    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var logits = sourceHead.Forward(tap.Take()[0]);
        Check.That(logits.Rank == 2 && logits.Shape[1] == relationship.Shape[1], $"CoTuning: the source head answers {logits.Shape} for a relationship {relationship.Shape} of target and source classes.");
        var soft = relationship.IndexSelect(0, step.Target);
        return (soft * logits.LogSoftmax()).Sum() * (-weight / Math.Max(1, logits.Shape[0]));
    }

    /// <summary>
    /// The category relationship, taken directly: p(s | y) is the mean of the source network's softmax over the training rows of class y, after
    /// calibration by a temperature.
    /// </summary>
    /// <param name="logits">The source network's logits of the target's training rows, [N, source classes].</param>
    /// <param name="labels">Their target classes, Int32 [N].</param>
    /// <param name="classes">The number of target classes; each has a row.</param>
    /// <param name="temperature">What the logits are divided by: that which calibrates the source network on its own validation data; 1 for none.</param>
    /// <returns>[classes, source classes], rows that sum to 1.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, or a class has no row.</exception>
    public static Tensor Relationship(Tensor logits, Tensor labels, int classes, double temperature = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        var counts = TransferScore.CheckLabels("CoTuning.Relationship", logits, labels, classes);
        int missing = Array.IndexOf(counts, 0);
        Check.That(missing < 0, $"CoTuning.Relationship: class {missing} of {classes} has no row. Learn the relationship on rows of every class.");
        using var noGrad = new NoGrad();
        var probabilities = (logits.Detach() / temperature).Softmax();
        var sums = Tensor.Zeros([classes, logits.Shape[1]], logits.Device, logits.ElementType).IndexAdd(0, labels, probabilities);
        return sums / Tensor.FromDoubles(Array.ConvertAll(counts, count => (double)count), [classes, 1], logits.Device, logits.ElementType);
    }

    /// <summary>Stops looking at the model.</summary>
    public void Dispose() => tap.Dispose();
}
