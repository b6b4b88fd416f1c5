using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// IWAN, for target domains that have only some of the source's classes. The features and the head learn the source; then the source's features F_s and the
/// head stay as they are, and features F_t of the target, which begin as F_s, learn. A first discriminator D, no adversary of anybody's, tells F_s(s) from F_t(t):
/// the less a source row looks like the target, the less it counts, w = 1 - D(F_s(s)), divided by its mean. A second one, D_0, makes
/// -(1/n) Σ w_i log D_0(F_s(s_i)) - (1/m) Σ log (1 - D_0(F_t(t_j))) small, and F_t makes it large through a gradient-reversal layer, besides
/// the entropy of the target's predictions small.
/// </summary>
/// <remarks>
/// Zhang et al., Importance Weighted Adversarial Nets for Partial Domain Adaptation, CVPR 2018, equations 6 to 16. F_s runs as in evaluation (in the authors' training prototxt its dropout is
/// active), F_t on target batches alone. Batches may be of two sizes.
/// </remarks>
public sealed class ImportanceWeightedAdversary : AdversarialMethod
{
    private readonly MethodModule weighting, discriminator;
    private readonly double entropyWeight, pretraining;
    private readonly SourceEncoder? encoder;
    private readonly bool isOfAuthors;

    /// <param name="weighting">D: takes features [N, d] to logits [N, 1].</param>
    /// <param name="discriminator">D_0, of the same form.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by the progress of what follows the learning of the source; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="entropyWeight">γ, what the entropy of the target's predictions weighs.</param>
    /// <param name="pretraining">The part of the training that learns the source alone; 0 where the networks have learned it before.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public ImportanceWeightedAdversary(MethodModule weighting, MethodModule discriminator, double weight = 0.1, Func<double, double>? schedule = null, double entropyWeight = 0.1, double pretraining = 0.5)
        : this(weighting, discriminator, weight, schedule, entropyWeight, pretraining, isShared: false, isOfAuthors: false)
    {
    }

    private ImportanceWeightedAdversary(MethodModule weighting, MethodModule discriminator, double weight, Func<double, double>? schedule, double entropyWeight, double pretraining, bool isShared,
        bool isOfAuthors) : base("iwan", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(weighting);
        ArgumentNullException.ThrowIfNull(discriminator);
        if (!(entropyWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(entropyWeight), entropyWeight, "ImportanceWeightedAdversary: the entropy weighs 0 or more.");
        if (!(pretraining is >= 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(pretraining), pretraining, "ImportanceWeightedAdversary: the part that learns the source alone is from 0 to below 1.");
        (this.weighting, this.discriminator, this.entropyWeight, this.pretraining, this.isOfAuthors) = (weighting, discriminator, entropyWeight, pretraining, isOfAuthors);
        encoder = isShared ? null : new(pretraining);
    }

    /// <summary>
    /// The authors' training prototxt: the discriminators' losses are means over the rows of both domains, the reversal grows with slope 1, so that it ends at 0.0462, and the entropy's weight
    /// is multiplied by the reversal too.
    /// </summary>
    /// <remarks>
    /// Theirs is at the end after 10,000 steps, whatever follows. The discriminators' rates are ten times those of the pretrained layers, as is that of the new last layer of the features, and
    /// probabilities below 0.001 are not moved by the entropy.
    /// </remarks>
    /// <param name="weighting">D: takes features [N, d] to logits [N, 1].</param>
    /// <param name="discriminator">D_0, of the same form.</param>
    /// <param name="weight">What the reversed gradient weighs.</param>
    /// <param name="schedule">A factor of the weight by the progress of what follows the learning of the source; <see cref="WeightSchedule.GaninOf"/> 1 if null.</param>
    /// <param name="entropyWeight">γ, what the entropy of the target's predictions weighs, in units of the reversal.</param>
    /// <param name="pretraining">The part of the training that learns the source alone; 0 where the networks have learned it before.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public static ImportanceWeightedAdversary Authors(MethodModule weighting, MethodModule discriminator, double weight = 0.1, Func<double, double>? schedule = null, double entropyWeight = 0.1,
        double pretraining = 0.5) => new(weighting, discriminator, weight, schedule ?? WeightSchedule.GaninOf(1), entropyWeight, pretraining, isShared: false, isOfAuthors: true);

    /// <summary>With one set of features for both domains, which go on to learn the source's classes: no part of the training is the source's alone.</summary>
    /// <param name="weighting">D: takes features [N, d] to logits [N, 1].</param>
    /// <param name="discriminator">D_0, of the same form.</param>
    /// <param name="weight">The final weight of the reversed gradient.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <param name="entropyWeight">γ, what the entropy of the target's predictions weighs.</param>
    public static ImportanceWeightedAdversary Shared(MethodModule weighting, MethodModule discriminator, double weight = 1, Func<double, double>? schedule = null, double entropyWeight = 0.1) =>
        new(weighting, discriminator, weight, schedule, entropyWeight, pretraining: 0, isShared: true, isOfAuthors: false);

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [weighting, discriminator];

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run) => encoder?.Begin();

    /// <summary>w, the importance of source rows; of mean 1.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <returns>[n], without a gradient.</returns>
    public Tensor Importance(Tensor sourceFeatures)
    {
        ArgumentNullException.ThrowIfNull(sourceFeatures);
        using var recording = new NoGrad();
        // The probability of the target is the sigmoid of minus the logit.
        var weights = (-weighting.Module.Forward(sourceFeatures)).Sigmoid().Reshape(sourceFeatures.Shape[0]);
        return weights / (weights.Mean() + 1e-30);
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (encoder is not null && encoder.IsTraining(step))
        {
            yield return new(step.Run.Criterion(step.Run.Head.Forward(step.Run.Features.Forward(step.SourceInput)), step.SourceTargets));
            yield break;
        }
        var source = encoder?.Forward(step) ?? step.SourceFeatures;
        var target = encoder is null ? step.TargetFeatures : step.Run.Features.Forward(step.TargetInput);
        double reversal = Reversal((step.Progress - pretraining) / (1 - pretraining));
        var separated = Sum(DomainEntropy.OfSource(weighting.Module.Forward(source.Detach())), DomainEntropy.OfTarget(weighting.Module.Forward(target.Detach())));
        var weighed = Sum(DomainEntropy.OfSource(discriminator.Module.Forward(source.ReverseGradient(reversal))) * Importance(source),
            DomainEntropy.OfTarget(discriminator.Module.Forward(target.ReverseGradient(reversal))));
        var loss = separated + weighed + EntropyMinimization.Forward(step.Run.Head.Forward(target)) * (isOfAuthors ? entropyWeight * reversal : entropyWeight);
        yield return encoder is null ? new(loss + SourceLoss(step)) : new(loss, [step.Run.Features, weighting.Module, discriminator.Module]);

        Tensor Sum(Tensor ofSource, Tensor ofTarget) => isOfAuthors ? Tensor.Concat([ofSource, ofTarget]).Mean() : ofSource.Mean() + ofTarget.Mean();
    }
}
