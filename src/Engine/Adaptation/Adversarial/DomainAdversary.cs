using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// DANN: a discriminator tells the domains apart, and the features, through a gradient-reversal layer, learn that it can't. The loss is the mean binary
/// cross-entropy of the discriminator over both batches, source 1 and target 0, each half of it; the reversal's weight follows
/// <see cref="WeightSchedule.Ganin(double)"/>.
/// </summary>
/// <remarks>Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016).</remarks>
/// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
/// <param name="weight">The final weight of the reversed gradient.</param>
public sealed class DomainAdversary(Module discriminator, double weight = 1) : AdaptationMethod
{
    /// <inheritdoc/>
    public override string Name => "dann";

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double reversed = weight * WeightSchedule.Ganin(step.Progress);
        var (source, target) = step.Both(step.SourceFeatures, step.TargetFeatures, features => discriminator.Forward(features.ReverseGradient(reversed)));
        return (source.BinaryCrossEntropyWithLogits(Tensor.Ones(source.Shape, source.Device, source.ElementType))
            + target.BinaryCrossEntropyWithLogits(Tensor.Zeros(target.Shape, target.Device, target.ElementType))) / 2;
    }
}
