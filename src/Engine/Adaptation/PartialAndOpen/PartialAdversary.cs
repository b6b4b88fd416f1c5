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
    private enum Form
    {
        Paper,
        Authors,
        Tllib,
    }

    private readonly MethodModule discriminator;
    private readonly int updateEvery;
    private readonly double temperature;
    private readonly Form form;
    private Tensor? classWeights;

    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="updateEvery">Steps between two looks at the whole target.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public PartialAdversary(MethodModule discriminator, double weight = 1, Func<double, double>? schedule = null, int updateEvery = 500)
        : this(discriminator, weight, schedule, updateEvery, temperature: 1, Form.Paper)
    {
    }

    private PartialAdversary(MethodModule discriminator, double weight, Func<double, double>? schedule, int updateEvery, double temperature, Form form) : base("pada", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        ArgumentOutOfRangeException.ThrowIfLessThan(updateEvery, 1);
        if (!(temperature > 0))
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "PartialAdversary: the temperature is above 0.");
        (this.discriminator, this.updateEvery, this.temperature, this.form) = (discriminator, updateEvery, temperature, form);
    }

    /// <summary>
    /// The authors' code: classification divided by the sum of the batch's γ, γ divided by its largest element in the batch for the discriminator, whose loss is a mean over the rows
    /// of both domains.
    /// </summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">The final weight of the reversed gradient; 0.25 to 1 in their experiments.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null. Theirs grows so over 10,000 of 12,000 steps.</param>
    /// <param name="updateEvery">Steps between two looks at the whole target.</param>
    /// <param name="temperature">What logits are divided by for γ: 1, or 0.1 in most of their experiments on Office-Home.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public static PartialAdversary Authors(MethodModule discriminator, double weight = 1, Func<double, double>? schedule = null, int updateEvery = 500, double temperature = 1) =>
        new(discriminator, weight, schedule, updateEvery, temperature, Form.Authors);

    /// <summary>
    /// tllib's: probabilities at temperature 0.1, classification divided by the sum of its weights, half of the discriminator's loss with target rows weighed by the mean of the source's
    /// weights, its schedule by iterations.
    /// </summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="weight">What the reversed gradient goes to.</param>
    /// <param name="updateEvery">Steps between two looks at the whole target.</param>
    public static PartialAdversary Tllib(MethodModule discriminator, int steps, double weight = 1, int updateEvery = 500) =>
        new(discriminator, weight, WeightSchedule.Tllib(steps), updateEvery, temperature: 0.1, Form.Tllib);

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
            : form == Form.Paper ? step.SourceLogits.CrossEntropy(step.SourceTargets, classWeights, reduction: LossReduction.Sum) / step.SourceTargets.Elements
            : step.SourceLogits.CrossEntropy(step.SourceTargets, classWeights);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The discriminator does not answer [N, 1].</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        var (source, target) = step.Both(step.SourceFeatures, step.TargetFeatures, features => discriminator.Module.Forward(features.ReverseGradient(reversal)));
        Tensor left = DomainEntropy.OfSource(source), right = DomainEntropy.OfTarget(target);
        var weights = classWeights?.IndexSelect(0, step.SourceTargets);
        if (form == Form.Authors)
            return Tensor.Concat([weights is null ? left : left * (weights / (weights.Max() + 1e-30)), right]).Mean();
        var (ofSource, ofTarget) = ((weights is null ? left : left * weights).Mean(), right.Mean());
        return form == Form.Paper ? ofSource + ofTarget : (ofSource + (weights is null ? ofTarget : ofTarget * weights.Mean())) / 2;
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
