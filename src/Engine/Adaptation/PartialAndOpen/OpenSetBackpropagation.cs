namespace TransferEngine.Adaptation;

/// <summary>
/// OSBP, for target domains with classes that the source lacks: the head has one class more than the source, its last, for the unknown. On the target it makes
/// -t log p - (1 - t) log (1 - p) small, where p is the probability of the unknown, so that p is near t; the features, through a gradient-reversal layer,
/// move each row away from there, to the known classes or the unknown one.
/// </summary>
/// <remarks>
/// Saito et al., Open Set Domain Adaptation by Backpropagation, ECCV 2018, equations 2 to 5: t = 1/2, and the reversed gradient weighs 1 from the start. Predicts the unknown by the
/// last class. The authors' code runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>. Batches may be of two sizes.
/// </remarks>
public sealed class OpenSetBackpropagation : AdversarialMethod
{
    private readonly double boundary;
    private readonly bool shifted;

    /// <param name="boundary">t, between 0 and 1.</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public OpenSetBackpropagation(double boundary = 0.5, double weight = 1, Func<double, double>? schedule = null) : this(boundary, weight, schedule, shifted: false)
    {
    }

    private OpenSetBackpropagation(double boundary, double weight, Func<double, double>? schedule, bool shifted) : base("osbp", weight, schedule ?? WeightSchedule.Constant(1))
    {
        if (!(boundary is > 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(boundary), boundary, "OpenSetBackpropagation: the boundary is between 0 and 1.");
        (this.boundary, this.shifted) = (boundary, shifted);
    }

    /// <summary>tllib's: with 10^-6 added within both logarithms.</summary>
    /// <param name="boundary">t, between 0 and 1.</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    public static OpenSetBackpropagation Tllib(double boundary = 0.5, double weight = 1) => new(boundary, weight, null, shifted: true);

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        return Boundary(step.OfTarget(features => step.Run.Head.Forward(features.ReverseGradient(reversal))));
    }

    /// <summary>How far the probabilities of the unknown are from the boundary.</summary>
    /// <param name="logits">[m, K + 1], the unknown last.</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">There are fewer than two classes.</exception>
    public Tensor Boundary(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(OpenSetBackpropagation), logits);
        int known = logits.Shape[1] - 1;
        Check.That(known >= 1, $"OpenSetBackpropagation: logits {logits.Shape} have no class besides the unknown, which is the last. Give the head one class more than the source has.");
        Tensor ofUnknown, ofKnown;
        if (shifted)
        {
            var unknown = logits.Softmax().Narrow(1, known, 1);
            (ofUnknown, ofKnown) = ((unknown + 1e-6).Log(), (1 - unknown + 1e-6).Log());
        }
        else
        {
            var logarithms = logits.LogSoftmax();
            (ofUnknown, ofKnown) = (logarithms.Narrow(1, known, 1), logarithms.Narrow(1, 0, known).LogSumExp([1]));
        }
        return -(ofUnknown.Mean() * boundary) - ofKnown.Mean() * (1 - boundary);
    }
}
