namespace TransferEngine.Adaptation;

/// <summary>
/// CDAN: the discriminator D sees features joined with the predicted probabilities, h = T(f, p), so that the domains agree class by class:
/// -(1/n) Σ w_i log D(h_i) - (1/m) Σ w_j log (1 - D(h_j)). With entropy conditioning, CDAN+E, the rows that are predicted with certainty weigh more,
/// w = 1 + e^(-H(p)); without it w = 1. Features and classifier play against this loss as a whole: their gradient is turned around where it comes through h, and where
/// it comes through the weights, by which predictions become more certain. No gradient flows through the predictions that features are joined with.
/// </summary>
/// <remarks>
/// Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018, equations 3 to 8; joined predictions are held constant as in the authors' code. Batches may be of two sizes.
/// </remarks>
public sealed class ConditionalDomainAdversary : AdversarialMethod
{
    private enum Form
    {
        Paper,
        Authors,
        JointMean,
        Logits,
    }

    private readonly MethodModule discriminator;
    private readonly bool entropy;
    private readonly JointMap map;
    private readonly Form form;

    /// <param name="discriminator">Takes joined rows, as many numbers as <see cref="JointMap.Outputs"/> says, to logits [N, 1].</param>
    /// <param name="entropy">Whether certain predictions weigh more: CDAN+E.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="map">How features and predictions are joined; <see cref="MultilinearMap"/> if null, <see cref="JointMap.Choose"/> makes the paper's choice.</param>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public ConditionalDomainAdversary(MethodModule discriminator, bool entropy = true, double weight = 1, Func<double, double>? schedule = null, JointMap? map = null)
        : this(discriminator, entropy, weight, schedule, map, Form.Paper)
    {
    }

    private ConditionalDomainAdversary(MethodModule discriminator, bool entropy, double weight, Func<double, double>? schedule, JointMap? map, Form form)
        : base(entropy ? "cdan+e" : "cdan", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        (this.discriminator, this.entropy, this.map, this.form) = (discriminator, entropy, map ?? new MultilinearMap(), form);
    }

    /// <summary>
    /// The authors' code: the mean of the domains in the place of their sum, weights of mean 1 in each domain (their mean is held constant), 10^-5 added within the entropy's logarithm.
    /// </summary>
    /// <param name="discriminator">Takes joined rows to logits [N, 1].</param>
    /// <param name="entropy">Whether certain predictions weigh more: CDAN+E.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="map">How features and predictions are joined; <see cref="MultilinearMap"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public static ConditionalDomainAdversary Authors(MethodModule discriminator, bool entropy = true, double weight = 1, Func<double, double>? schedule = null, JointMap? map = null) =>
        new(discriminator, entropy, weight, schedule, map, Form.Authors);

    /// <summary>
    /// tllib's: one mean over the rows of both domains, weights of mean 1 over both without a gradient through them, 10^-5 added within the entropy's logarithm, its schedule by iterations.
    /// </summary>
    /// <param name="discriminator">Takes joined rows to logits [N, 1].</param>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="entropy">Whether certain predictions weigh more.</param>
    /// <param name="weight">What the reversed gradient goes to.</param>
    /// <param name="map">How features and predictions are joined; <see cref="MultilinearMap"/> if null.</param>
    public static ConditionalDomainAdversary Tllib(MethodModule discriminator, int steps, bool entropy = false, double weight = 1, JointMap? map = null) =>
        new(discriminator, entropy, weight, WeightSchedule.Tllib(steps), map, Form.JointMean);

    /// <summary>skada's: the raw logits in the place of probabilities, with a gradient through them, without entropy, at a constant weight.</summary>
    /// <param name="discriminator">Takes joined rows to logits [N, 1].</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    /// <param name="map">How features and logits are joined; <see cref="MultilinearMap"/> if null.</param>
    public static ConditionalDomainAdversary Skada(MethodModule discriminator, double weight = 1, JointMap? map = null) =>
        new(discriminator, entropy: false, weight, WeightSchedule.Constant(1), map, Form.Logits);

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The discriminator does not answer [N, 1].</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        Tensor ofSource = Predictions(step.SourceLogits), ofTarget = Predictions(step.TargetLogits);
        var (source, target) = step.Both(map.Forward(step.SourceFeatures, ofSource), map.Forward(step.TargetFeatures, ofTarget), h => discriminator.Module.Forward(h.ReverseGradient(reversal)));
        Tensor left = DomainEntropy.OfSource(source), right = DomainEntropy.OfTarget(target);
        if (form == Form.JointMean)
        {
            var rows = Tensor.Concat([left, right]);
            return entropy ? Weighted(rows, Tensor.Concat([ofSource, ofTarget])) : rows.Mean();
        }
        var sum = entropy
            ? Weighted(left, step.SourceLogits.ReverseGradient(reversal).Softmax()) + Weighted(right, step.TargetLogits.ReverseGradient(reversal).Softmax())
            : left.Mean() + right.Mean();
        return form == Form.Authors ? sum * 0.5 : sum;
    }

    private Tensor Predictions(Tensor logits) => form == Form.Logits ? logits : logits.Detach().Softmax();

    /// <summary>The mean of rows [N], each weighing 1 + e^(-H) of its probabilities [N, C].</summary>
    private Tensor Weighted(Tensor rows, Tensor probabilities)
    {
        bool isOfPaper = form == Form.Paper;
        // A probability that underflows to 0 adds nothing.
        var logarithms = (isOfPaper ? probabilities.Clamp(1e-30, 1) : probabilities + 1e-5).Log();
        var weights = (probabilities * logarithms).Sum([1]).Exp() + 1;
        return isOfPaper ? (rows * weights).Mean() : (rows * weights).Sum() / weights.Detach().Sum();
    }
}
