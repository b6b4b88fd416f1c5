namespace TransferEngine.Adaptation;

/// <summary>
/// MDD: an adversarial head agrees with the classifier on the source and disagrees on the target; the features, through a gradient-reversal layer, leave it no
/// room to. With h the classifier's most probable class and σ_h the adversary's probability of it, the adversary makes small
/// -(γ/n) Σ log σ_h(s_i) - (1/m) Σ log (1 - σ_h(t_j)). No gradient flows into the classifier.
/// </summary>
/// <remarks>
/// Zhang et al., Bridging Theory and Algorithm for Domain Adaptation, ICML 2019, equations 26 to 30: margin γ = 4 and, as in the authors' code, a reversal that
/// grows to 0.1. Batches may be of two sizes.
/// </remarks>
public sealed class MarginDisparityDiscrepancy : AdversarialMethod
{
    private readonly MethodModule adversary;
    private readonly double margin;
    private readonly bool shifted;

    /// <param name="adversary">The adversarial head: takes features [N, d] to logits [N, C].</param>
    /// <param name="margin">γ, above 0.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The margin is not positive or the weight negative.</exception>
    public MarginDisparityDiscrepancy(MethodModule adversary, double margin = 4, double weight = 0.1, Func<double, double>? schedule = null)
        : this(adversary, margin, weight, schedule, shifted: false)
    {
    }

    private MarginDisparityDiscrepancy(MethodModule adversary, double margin, double weight, Func<double, double>? schedule, bool shifted) : base("mdd", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(adversary);
        if (!(margin > 0))
            throw new ArgumentOutOfRangeException(nameof(margin), margin, "MarginDisparityDiscrepancy: the margin is above 0.");
        (this.adversary, this.margin, this.shifted) = (adversary, margin, shifted);
    }

    /// <summary>tllib's: log min(1 - σ + 10^-6, 1) on the target, and its schedule by iterations.</summary>
    /// <param name="adversary">The adversarial head.</param>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="margin">γ, above 0.</param>
    /// <param name="weight">What the reversed gradient goes to.</param>
    public static MarginDisparityDiscrepancy Tllib(MethodModule adversary, int steps, double margin = 4, double weight = 0.1) =>
        new(adversary, margin, weight, WeightSchedule.Tllib(steps), shifted: true);

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [adversary];

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        var (source, target) = step.Both(step.SourceFeatures, step.TargetFeatures, features => adversary.Module.Forward(features.ReverseGradient(reversal)));
        var agreed = source.CrossEntropy(step.SourceLogits.Detach().ArgMax(1));
        return agreed * margin - Others(target, step.TargetLogits.Detach().ArgMax(1)).Mean();
    }

    /// <summary>log (1 - σ_c) of each row, [m].</summary>
    private Tensor Others(Tensor logits, Tensor classes)
    {
        int count = logits.Shape[1];
        var chosen = classes.OneHot(count, logits.ElementType);
        // The sum over the other classes keeps its digits where 1 - σ would have lost them.
        return shifted ? (1 - (logits.Softmax() * chosen).Sum([1]) + 1e-6).Clamp(0, 1).Log() : (logits.Softmax() * (1 - chosen)).Sum([1]).Clamp(1e-30, 1).Log();
    }
}
