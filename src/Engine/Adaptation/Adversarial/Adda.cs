using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// ADDA: the features and the head learn the source; then the head and the source's features M_s stay as they are, and features M_t of the target, which begin as
/// M_s, learn to be taken for the source's. A step has two updates: the discriminator makes -E log D(M_s(s)) - E log (1 - D(M_t(t))) small, then M_t
/// makes -E log D(M_t(t)) small: inverted labels.
/// </summary>
/// <remarks>
/// Tzeng et al., Adversarial Discriminative Domain Adaptation, CVPR 2017, equations 7 to 9. M_s runs as in evaluation, M_t on target batches alone. The authors' code shows the discriminator
/// the logits and moves the target's last layer too: here that is the whole network as the features, with a head that does nothing. Batches may be of two sizes.
/// </remarks>
public sealed class Adda : AdaptationMethod
{
    private readonly MethodModule discriminator;
    private readonly SourceEncoder encoder;
    private readonly Func<int, double>? reversal;
    private int adapted;

    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="pretraining">The part of the training that learns the source alone; 0 where the networks have learned it before.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not from 0 to below 1.</exception>
    public Adda(MethodModule discriminator, double pretraining = 0.5) : this(discriminator, pretraining, null)
    {
    }

    private Adda(MethodModule discriminator, double pretraining, Func<int, double>? reversal)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        if (!(pretraining is >= 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(pretraining), pretraining, "Adda: the part that learns the source alone is from 0 to below 1.");
        (this.discriminator, this.reversal) = (discriminator, reversal);
        encoder = new(pretraining);
    }

    /// <summary>tllib's: one update of discriminator and M_t by half of the discriminator's loss, through a gradient reversal that goes to 2: 4 / (1 + e^(-i / 1000)) - 2 after i steps.</summary>
    /// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
    /// <param name="pretraining">The part of the training that learns the source alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is not from 0 to below 1.</exception>
    public static Adda Tllib(MethodModule discriminator, double pretraining = 0.5) => new(discriminator, pretraining, i => 4 / (1 + Math.Exp(-i / 1000.0)) - 2);

    /// <inheritdoc/>
    public override string Name => "adda";

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        encoder.Begin();
        adapted = 0;
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (encoder.IsTraining(step))
        {
            yield return new(step.Run.Criterion(step.Run.Head.Forward(step.Run.Features.Forward(step.SourceInput)), step.SourceTargets));
            yield break;
        }
        var source = encoder.Forward(step);
        var target = step.Run.Features.Forward(step.TargetInput);
        if (reversal is not null)
        {
            double weight = reversal(adapted++);
            yield return new(DomainEntropy.Sum((discriminator.Module.Forward(source), discriminator.Module.Forward(target.ReverseGradient(weight)))) / 2, [discriminator.Module, step.Run.Features]);
            yield break;
        }
        yield return new(DomainEntropy.Sum((discriminator.Module.Forward(source), discriminator.Module.Forward(target.Detach()))), [discriminator.Module], IsReported: false);
        yield return new(DomainEntropy.OfSource(discriminator.Module.Forward(target)).Mean(), [step.Run.Features]);
    }
}
