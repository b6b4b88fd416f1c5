using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// DANN by turns, as DomainBed trains it, for any number of domains: in some steps the discriminator learns which domain each row is of; in the others the features and the
/// head make the classification loss minus λ times the discriminator's loss small, without a gradient reversal. That loss is the mean cross-entropy over the rows of all domains plus,
/// with a penalty, γ times the mean of ‖∇ cross-entropy‖² by the rows' features.
/// </summary>
/// <remarks>
/// DomainBed's AbstractDANN (Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021), after Ganin et al., JMLR 17 (2016): λ = 1, one discriminator step for each
/// of the others, no penalty. Its turn comes second: step 0 is one of features and head. Batches may be of several sizes.
/// </remarks>
public sealed class AlternatingDomainAdversary : AdaptationMethod
{
    private readonly MethodModule discriminator;
    private readonly double weight, penalty;
    private readonly int discriminatorSteps;

    /// <param name="discriminator">Takes features [N, d] to logits of the domains, [N, D]: the sources in their order, then the target if it is used.</param>
    /// <param name="weight">λ, 0 or more.</param>
    /// <param name="discriminatorSteps">Steps of the discriminator for each of features and head.</param>
    /// <param name="penalty">γ, 0 or more.</param>
    /// <param name="usesTarget">Whether the target is one of the domains; without it the method generalises from several sources.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of range.</exception>
    public AlternatingDomainAdversary(MethodModule discriminator, double weight = 1, int discriminatorSteps = 1, double penalty = 0, bool usesTarget = true)
    {
        ArgumentNullException.ThrowIfNull(discriminator);
        ArgumentOutOfRangeException.ThrowIfLessThan(discriminatorSteps, 1);
        if (!(weight >= 0) || !(penalty >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), $"AlternatingDomainAdversary: weights are 0 or more, got {weight} and {penalty}.");
        (this.discriminator, this.weight, this.discriminatorSteps, this.penalty, UsesTarget) = (discriminator, weight, discriminatorSteps, penalty, usesTarget);
    }

    /// <inheritdoc/>
    public override string Name => "dann by turns";

    /// <inheritdoc/>
    public override bool UsesTarget { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [discriminator];

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var features = UsesTarget ? Tensor.Concat([step.SourceFeatures, step.TargetFeatures]) : step.SourceFeatures;
        if ((step.Number + 1) % (1 + discriminatorSteps) < discriminatorSteps)
            yield return new(Discriminate(step, features.Detach()), [discriminator.Module], IsReported: false);
        else
            yield return new(SourceLoss(step) - Discriminate(step, features) * weight, [step.Run.Features, step.Run.Head]);
    }

    private Tensor Discriminate(AdaptationStep step, Tensor features)
    {
        int[] domains = [.. step.Sources.SelectMany(source => Enumerable.Repeat(source.Index, source.Input.Shape[0]))];
        var wanted = Tensor.From([.. domains, .. Enumerable.Repeat(step.Sources.Count, features.Shape[0] - domains.Length)], features.Device);
        if (penalty > 0 && !features.RequiresGrad)
            features.RequiresGrad = true;
        var losses = discriminator.Module.Forward(features).CrossEntropy(wanted, reduction: LossReduction.Sum);
        var loss = losses / features.Shape[0];
        return penalty > 0 ? loss + Tensor.Gradients(losses, [features], createGraph: true)[0].Square().Sum([1]).Mean() * penalty : loss;
    }
}
