using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// VADA: an adversary brings the domains together under the cluster assumption, that decision boundaries keep away from the data: λ_d adversary + λ_s LDS(source) + λ_t (LDS(target) + entropy of the target's predictions), LDS being
/// <see cref="VirtualAdversarialLoss"/>. λ_d multiplies what the adversary sends back into features and head; its own networks learn by its loss as it is. The running average of the weights answers.
/// </summary>
/// <remarks>
/// Shu et al., A DIRT-T Approach to Unsupervised Domain Adaptation, ICLR 2018, equation 9, where λ_d stands before a supremum over discriminators; its radius is 3.5 for images, λ_d = λ_t = 0.01, λ_s = 1 or 0. λ_d is constant: the
/// adversary's own schedule stands at its end from the first step on. As in the authors' code running statistics are the trained networks', and moved rows do not enter them; the average keeps min(1 - 1/(t + 1), α) of itself
/// after step t, theirs α from the first step. Their discriminator learns by turns, against which features learn by swapped labels. The authors run the domains apart
/// (<see cref="AdapterSettings.SeparateBatches"/>), and their running statistics take in the target's rows alone, these both domains'.
/// </remarks>
public sealed class Vada : AdaptationMethod, IDisposable
{
    private readonly AdaptationMethod adversary;
    private readonly VirtualAdversarialLoss smoothness;
    private readonly double adversaryWeight, sourceWeight, targetWeight;
    private readonly AveragedWeights? average;

    /// <param name="adversary">What brings the domains together, such as a <see cref="DomainAdversary"/>: a method of one added loss.</param>
    /// <param name="radius">ε, the length of the change of an input.</param>
    /// <param name="adversaryWeight">λ_d, 0 or more; with 0 there is no adversary.</param>
    /// <param name="sourceWeight">λ_s, 0 or more.</param>
    /// <param name="targetWeight">λ_t, 0 or more.</param>
    /// <param name="averageDecay">α, what stays of the averaged weights in a step, from 0 to 1; with 0 the trained networks answer.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The radius is not positive, a weight is negative, or the decay is out of range.</exception>
    /// <exception cref="ArgumentException">The adversary plays by turns, in updates of its own.</exception>
    public Vada(
        AdaptationMethod adversary, double radius = 3.5, double adversaryWeight = 0.01, double sourceWeight = 1, double targetWeight = 0.01, double averageDecay = 0.998, Generator? generator = null)
    {
        ArgumentNullException.ThrowIfNull(adversary);
        if (!(adversaryWeight >= 0) || !(sourceWeight >= 0) || !(targetWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(adversaryWeight), $"Vada: weights are 0 or more, got {adversaryWeight}, {sourceWeight} and {targetWeight}.");
        Func<AdaptationStep, IEnumerable<TrainingUpdate>> updates = adversary.Updates;
        if (adversaryWeight > 0 && updates.Method.DeclaringType != typeof(AdaptationMethod))
            throw new ArgumentException($"Vada: {adversary.Name} plays by turns, in updates of its own, which VADA does not make. Give a method of one loss, such as a DomainAdversary, or the adversary the weight 0.", nameof(adversary));
        (this.adversary, smoothness, average) = (adversary, new(radius, generator: generator), AveragedWeights.Of(nameof(Vada), averageDecay));
        (this.adversaryWeight, this.sourceWeight, this.targetWeight) = (adversaryWeight, sourceWeight, targetWeight);
    }

    /// <inheritdoc/>
    public override string Name => "vada";

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => adversary.Modules;

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        adversary.Begin(run);
        average?.Begin(run);
    }

    /// <inheritdoc/>
    public override Tensor SourceLoss(AdaptationStep step) => adversary.SourceLoss(step);

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The adversary adds no loss.</exception>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var loss = (smoothness.Forward(step, ofTarget: true) + EntropyMinimization.Forward(step.TargetLogits)) * targetWeight;
        if (sourceWeight > 0)
            loss += smoothness.Forward(step, ofTarget: false) * sourceWeight;
        if (adversaryWeight == 0)
            return loss;
        return loss + (adversary.Loss(step.ForAdversary(adversaryWeight))
            ?? throw new InvalidOperationException($"Vada: {adversary.Name} adds no loss, so nothing would bring the domains together. Give a method of one, such as a DomainAdversary, or the adversary the weight 0."));
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        adversary.AfterStep(step);
        average?.Follow(step);
    }

    /// <inheritdoc/>
    public override void HandOver(AdaptationRun run) => average?.HandOver();

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs) => AveragedWeights.Predict(average, () => adversary.Predict(run, inputs));

    /// <summary>Gives the average's memory back; after it the trained networks answer.</summary>
    public void Dispose() => average?.Dispose();
}
