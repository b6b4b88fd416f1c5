using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// PADA, for target domains that have only some of the source's classes: source rows count by γ of their class, both in classification and for the discriminator.
/// γ is the mean of the predicted probabilities over all rows of the target, divided by its largest element, and computed anew every so many steps; 1 before. The
/// losses are (1/n) Σ γ_y(i) L(x_i), and -(1/n) Σ γ_y(i) log D(s_i) - (1/m) Σ log (1 - D(t_j)) through a gradient-reversal layer.
/// </summary>
/// <remarks>Cao et al., Partial Adversarial Domain Adaptation, ECCV 2018, equations 1 to 3. Batches may be of two sizes.</remarks>
public sealed class PartialAdversary : AdversarialMethod
{
    private readonly MethodModule discriminator;
    private readonly int updateEvery;
    private readonly double temperature;
    private readonly bool normalised;
    private Tensor? classWeights;

    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="updateEvery">Steps between two looks at the whole target.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public PartialAdversary(MethodModule discriminator, double weight = 1, Func<double, double>? schedule = null, int updateEvery = 500)
        : this(discriminator, weight, schedule, updateEvery, temperature: 1, normalised: false)
    {
    }

    private PartialAdversary(MethodModule discriminator, double weight, Func<double, double>? schedule, int updateEvery, double temperature, bool normalised) : base("pada", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        ArgumentOutOfRangeException.ThrowIfLessThan(updateEvery, 1);
        (this.discriminator, this.updateEvery, this.temperature, this.normalised) = (discriminator, updateEvery, temperature, normalised);
    }

    /// <summary>
    /// tllib's: probabilities at temperature 0.1, classification divided by the sum of its weights, half of the discriminator's loss with target rows weighed by the mean of the source's
    /// weights, its schedule by iterations.
    /// </summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="weight">What the reversed gradient goes to.</param>
    /// <param name="updateEvery">Steps between two looks at the whole target.</param>
    public static PartialAdversary Tllib(MethodModule discriminator, int steps, double weight = 1, int updateEvery = 500) =>
        new(discriminator, weight, WeightSchedule.Tllib(steps), updateEvery, temperature: 0.1, normalised: true);

    /// <summary>γ, [C]; null while it is 1 for all classes.</summary>
    public Tensor? ClassWeights => classWeights;

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        classWeights?.Dispose();
        classWeights = null;
    }

    /// <inheritdoc/>
    public override Tensor SourceLoss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return classWeights is null ? step.SourceLogits.CrossEntropy(step.SourceTargets)
            : normalised ? step.SourceLogits.CrossEntropy(step.SourceTargets, classWeights)
            : (step.SourceLogits.CrossEntropy(step.SourceTargets, classWeights, reduction: LossReduction.Sum)) / step.SourceTargets.Elements;
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The discriminator does not answer [N, 1].</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        var (source, target) = step.Both(step.SourceFeatures, step.TargetFeatures, features => discriminator.Module.Forward(features.ReverseGradient(reversal)));
        Tensor left = DomainEntropy.OfSource(source), right = DomainEntropy.OfTarget(target);
        if (classWeights is null)
            return normalised ? (left.Mean() + right.Mean()) / 2 : left.Mean() + right.Mean();
        var weights = classWeights.IndexSelect(0, step.SourceTargets);
        var weighed = (left * weights).Mean();
        return normalised ? (weighed + right.Mean() * weights.Mean()) / 2 : weighed + right.Mean();
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if ((step.Number + 1) % updateEvery == 0)
            Weigh(step.Run);
    }

    /// <summary>Computes γ from all rows of the target.</summary>
    /// <param name="run">The networks and the data.</param>
    /// <exception cref="InvalidOperationException">The run has no target domain's data.</exception>
    public void Weigh(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        var target = run.Data?.Target ?? throw new InvalidOperationException("PartialAdversary: the class weights are of all rows of the target domain, which the run does not have. Give it Data.");
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var whole = new Sequential(run.Features, run.Head);
        var putBack = whole.Evaluate();
        try
        {
            Tensor? sum = null;
            foreach (var batch in target.InOrder())
            {
                using var part = new TensorScope();
                using (batch)
                {
                    var shares = (whole.Forward(batch.Input) / temperature).Softmax().Sum([0]);
                    sum = part.Keep(sum is null ? shares : sum + shares);
                }
            }
            classWeights?.Dispose();
            classWeights = (sum! / sum!.Max()).KeepAlive();
        }
        finally
        {
            putBack();
        }
    }
}
