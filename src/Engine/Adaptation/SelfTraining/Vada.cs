namespace TransferEngine.Adaptation;

/// <summary>
/// VADA: an adversary brings the domains together under the cluster assumption, that decision boundaries keep away from the data: λ_d adversary + λ_s LDS(source) + λ_t (LDS(target) + entropy of the target's predictions), LDS being
/// <see cref="VirtualAdversarialLoss"/>.
/// </summary>
/// <remarks>Shu et al., A DIRT-T Approach to Unsupervised Domain Adaptation, ICLR 2018, equation 9; its radius is 3.5 for images, λ_d = λ_t = 0.01, λ_s = 1 or 0.</remarks>
public sealed class Vada : AdaptationMethod
{
    private readonly AdaptationMethod adversary;
    private readonly VirtualAdversarialLoss smoothness;
    private readonly double adversaryWeight, sourceWeight, targetWeight;

    /// <param name="adversary">What brings the domains together, such as a <see cref="DomainAdversary"/>.</param>
    /// <param name="radius">ε, the length of the change of an input.</param>
    /// <param name="adversaryWeight">λ_d, 0 or more.</param>
    /// <param name="sourceWeight">λ_s, 0 or more.</param>
    /// <param name="targetWeight">λ_t, 0 or more.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The radius is not positive, or a weight is negative.</exception>
    public Vada(AdaptationMethod adversary, double radius = 3.5, double adversaryWeight = 0.01, double sourceWeight = 1, double targetWeight = 0.01, Generator? generator = null)
    {
        ArgumentNullException.ThrowIfNull(adversary);
        if (!(adversaryWeight >= 0) || !(sourceWeight >= 0) || !(targetWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(adversaryWeight), $"Vada: weights are 0 or more, got {adversaryWeight}, {sourceWeight} and {targetWeight}.");
        (this.adversary, smoothness) = (adversary, new(radius, generator: generator));
        (this.adversaryWeight, this.sourceWeight, this.targetWeight) = (adversaryWeight, sourceWeight, targetWeight);
    }

    /// <inheritdoc/>
    public override string Name => "vada";

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => adversary.Modules;

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run) => adversary.Begin(run);

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Tensor Network(Tensor x) => step.Run.Head.Forward(step.Run.Features.Forward(x));
        var loss = (smoothness.Forward(Network, step.TargetInput, step.TargetLogits) + EntropyMinimization.Forward(step.TargetLogits)) * targetWeight;
        if (sourceWeight > 0)
            loss += smoothness.Forward(Network, step.SourceInput, step.SourceLogits) * sourceWeight;
        return adversaryWeight > 0 && adversary.Loss(step) is { } added ? loss + added * adversaryWeight : loss;
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step) => adversary.AfterStep(step);
}
