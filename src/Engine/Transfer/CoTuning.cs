using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// Co-Tuning: the source head is not thrown away but trained along, on a soft source label of each target class:
/// -weight Σ_s p(s | y) log softmax(sourceHead(features))_s, the mean over the rows. The relationship p(s | y) is learnt before fine-tuning by
/// <see cref="Relationship"/> or <see cref="ReverseRelationship"/>.
/// </summary>
/// <remarks>You et al.: Co-Tuning for transfer learning; NeurIPS 2020.</remarks>
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
        int[] counts = RowsOf("CoTuning.Relationship", logits, labels, classes);
        using var noGrad = new NoGrad();
        var probabilities = (logits.Detach() / temperature).Softmax();
        var sums = Tensor.Zeros([classes, logits.Shape[1]], logits.Device, logits.ElementType).IndexAdd(0, labels, probabilities);
        return sums / Tensor.FromDoubles(Array.ConvertAll(counts, count => (double)count), [classes, 1], logits.Device, logits.ElementType);
    }

    /// <summary>
    /// The category relationship by Bayes' rule, p(s | y) ∝ p(y | s) p(s): a logistic regression from the source network's softmax to the target classes, asked about each
    /// source class alone, gives p(y | s), and the mean softmax p(s). It holds where a target class has few rows.
    /// </summary>
    /// <param name="logits">As of <see cref="Relationship"/>.</param>
    /// <param name="labels">As of <see cref="Relationship"/>.</param>
    /// <param name="classes">As of <see cref="Relationship"/>.</param>
    /// <param name="temperature">As of <see cref="Relationship"/>.</param>
    /// <param name="weightDecay">The regression's; choose it on held-out rows of the target.</param>
    /// <returns>[classes, source classes], rows that sum to 1.</returns>
    /// <exception cref="ShapeException">As of <see cref="Relationship"/>.</exception>
    public static Tensor ReverseRelationship(Tensor logits, Tensor labels, int classes, double temperature = 1, double weightDecay = 1e-3)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        ArgumentOutOfRangeException.ThrowIfNegative(weightDecay);
        RowsOf("CoTuning.ReverseRelationship", logits, labels, classes);
        using var noGrad = new NoGrad();
        var probabilities = (logits.Detach() / temperature).Softmax();
        var regression = LinearProbe.Fit(probabilities, labels, classes, new() { WeightDecay = weightDecay, Standardize = false });
        var targetOfSource = regression.Forward(Tensor.Eye(logits.Shape[1], logits.Device, logits.ElementType)).Softmax();
        var joint = targetOfSource.Transpose() * probabilities.Mean([0]);
        return joint / joint.Sum([1], keepDim: true);
    }

    /// <summary>Stops looking at the model.</summary>
    public void Dispose() => tap.Dispose();

    private static int[] RowsOf(string name, Tensor logits, Tensor labels, int classes)
    {
        int[] counts = TransferScore.CheckLabels(name, logits, labels, classes);
        int missing = Array.IndexOf(counts, 0);
        Check.That(missing < 0, $"{name}: class {missing} of {classes} has no row. Learn the relationship on rows of every class.");
        return counts;
    }
}
