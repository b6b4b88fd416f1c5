namespace TransferEngine.Adaptation;

/// <summary>
/// DAAN: a global discriminator tells the domains apart, and one a class tells them apart by features times the probability of that class; all see the features
/// through a gradient-reversal layer. The loss is (1 - ω) L_g + ω Σ_c L_c, each L the mean binary cross-entropy over the rows of both domains. ω grows with the share
/// of the classes' discriminators in the distance of the domains: with d = 2 (1 - 2 L) of the mean loss of the last pass, ω = d_l / (d_g + d_l), where d_l is of
/// the mean over classes; 1/2 in the first pass. Features and classifier play against the loss as a whole: their gradient is turned around, that through the probabilities too.
/// </summary>
/// <remarks>
/// Yu et al., Transfer Learning with Dynamic Adversarial Adaptation Network, ICDM 2019. The paper is quoted with ω = d_g / (d_g + d_l); this is one minus that, as in the authors' code, so that
/// the loss that ω multiplies counts where its distance does. Their code runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>.
/// DeepDA's code of it labels both domains alike, and shows its classes' discriminators features without probabilities; this does neither.
/// ω is held within 0 and 1, which it leaves where one distance is negative. Batches may be of two sizes.
/// </remarks>
public sealed class DynamicAdversary : AdversarialMethod
{
    private readonly MethodModule global;
    private readonly MethodModule[] local;
    private readonly bool isOfAuthors;
    private Tensor? sums;
    private int counted;

    /// <param name="global">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="local">One such discriminator a class.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <exception cref="ArgumentException">There is no class.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public DynamicAdversary(MethodModule global, IReadOnlyList<MethodModule> local, double weight = 1, Func<double, double>? schedule = null)
        : this(global, local, weight, schedule, isOfAuthors: false)
    {
    }

    private DynamicAdversary(MethodModule global, IReadOnlyList<MethodModule> local, double weight, Func<double, double>? schedule, bool isOfAuthors) : base("daan", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(global);
        ArgumentNullException.ThrowIfNull(local);
        if (local.Count == 0)
            throw new ArgumentException("DynamicAdversary: there is no discriminator of a class. Give one for each.", nameof(local));
        (this.global, this.local, this.isOfAuthors) = (global, [.. local], isOfAuthors);
    }

    /// <summary>
    /// The authors' code: (1 - ω) 0.05 L_g + ω 0.01 Σ_c L_c, each L the sum of both domains' means, and a gradient through the probabilities that is not turned around.
    /// </summary>
    /// <remarks>
    /// ω is that of the other form. Theirs takes the distances of 0.05 L_g and of the sums L_c, by which it leaves 0 to 1: it is 1.9 where no discriminator tells anything, and the global loss then
    /// counts with the wrong sign.
    /// </remarks>
    /// <param name="global">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="local">One such discriminator a class.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <exception cref="ArgumentException">There is no class.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public static DynamicAdversary Authors(MethodModule global, IReadOnlyList<MethodModule> local, double weight = 1, Func<double, double>? schedule = null) =>
        new(global, local, weight, schedule, isOfAuthors: true);

    /// <summary>ω, what the classes' discriminators weigh.</summary>
    public double LocalShare { get; private set; } = 0.5;

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [global, .. local];

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        sums?.Dispose();
        (sums, counted, LocalShare) = (null, 0, 0.5);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are more or fewer classes than discriminators, or one does not answer [N, 1].</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversal = Reversal(step);
        Tensor source = Probabilities(step.SourceLogits), target = Probabilities(step.TargetLogits);
        Check.That(source.Shape[1] == local.Length, $"DynamicAdversary: logits {step.SourceLogits.Shape} for {local.Length} discriminators of classes. Give one for each class.");
        Tensor left = step.SourceFeatures.ReverseGradient(reversal), right = step.TargetFeatures.ReverseGradient(reversal);
        var all = Entropy(step.Both(left, right, global.Module.Forward));
        var byClass = local.Select((discriminator, c) => Entropy(step.Both(left * source.Narrow(1, c, 1), right * target.Narrow(1, c, 1), discriminator.Module.Forward)))
            .Aggregate((a, b) => a + b);
        Count(all, byClass / local.Length);
        return isOfAuthors ? all * (0.1 * (1 - LocalShare)) + byClass * (0.02 * LocalShare) : all * (1 - LocalShare) + byClass * LocalShare;

        Tensor Probabilities(Tensor logits) => (isOfAuthors ? logits : logits.ReverseGradient(reversal)).Softmax();
    }

    private Tensor Entropy((Tensor Source, Tensor Target) logits) => isOfAuthors ? DomainEntropy.Sum(logits) / 2 : DomainEntropy.Mean(logits);

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if ((step.Number + 1) % (step.Run.Data?.Count ?? 1) == 0)
            Renew();
    }

    private void Count(Tensor all, Tensor byClass)
    {
        using var recording = new NoGrad();
        var losses = Tensor.Stack([all.Detach(), byClass.Detach()]);
        var next = (sums is null ? losses : sums + losses).KeepAlive();
        if (!ReferenceEquals(next, sums))
            sums?.Dispose();
        sums = next;
        counted++;
    }

    private void Renew()
    {
        if (sums is null)
            return;
        using var wide = sums.To(ElementType.Float64);
        double[] means = [.. wide.ToArray<double>().Select(sum => sum / counted)];
        double whole = 2 * (1 - 2 * means[0]), parts = 2 * (1 - 2 * means[1]);
        LocalShare = whole + parts == 0 ? 0.5 : Math.Clamp(parts / (whole + parts), 0, 1);
        sums.Dispose();
        (sums, counted) = (null, 0);
    }
}
