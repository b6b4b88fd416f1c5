namespace TransferEngine.Adaptation;

/// <summary>
/// DANN: a discriminator tells the domains apart, and the features, through a gradient-reversal layer, learn that it can't. With D the discriminator's
/// probability of the source, the loss is -(1/n) Σ log D(s_i) - (1/m) Σ log (1 - D(t_j)).
/// </summary>
/// <remarks>
/// Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), equation 9; the schedule of section 5.2.2. The authors' Caffe models for Office weigh the discriminator's
/// loss, a mean over the rows of both domains, by 0.1, and train it with ten times the rate of the pretrained layers, which a <see cref="MethodModule"/> can. Batches may be of two sizes.
/// </remarks>
public sealed class DomainAdversary : AdversarialMethod
{
    private readonly MethodModule discriminator;
    private readonly double scale;

    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public DomainAdversary(MethodModule discriminator, double weight = 1, Func<double, double>? schedule = null) : this(discriminator, weight, schedule, 1)
    {
    }

    private DomainAdversary(MethodModule discriminator, double weight, Func<double, double>? schedule, double scale) : base("dann", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        (this.discriminator, this.scale) = (discriminator, scale);
    }

    /// <summary>tllib's: half of the paper's, and its schedule by iterations.</summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="weight">What the reversed gradient goes to.</param>
    public static DomainAdversary Tllib(MethodModule discriminator, int steps, double weight = 1) => new(discriminator, weight, WeightSchedule.Tllib(steps), 0.5);

    /// <summary>DeepDA's: half of the paper's, and a schedule that ends at 0.462.</summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    public static DomainAdversary DeepDa(MethodModule discriminator, double weight = 1) => new(discriminator, weight, WeightSchedule.GaninOf(1), 0.5);

    /// <summary>skada's: the paper's, at a constant weight.</summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    public static DomainAdversary Skada(MethodModule discriminator, double weight = 1) => new(discriminator, weight, WeightSchedule.Constant(1), 1);

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The discriminator does not answer [N, 1].</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        var loss = DomainEntropy.Sum(step.Both(step.SourceFeatures, step.TargetFeatures, features => discriminator.Module.Forward(features.ReverseGradient(reversal))));
        return scale == 1 ? loss : loss * scale;
    }
}
