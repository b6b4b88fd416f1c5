using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// MCD: two heads classify the source. A step is three kinds of updates: A, all networks by the source's cross-entropy of both heads; B, the heads by the same
/// minus the discrepancy of their probabilities on the target, which finds target rows far from the source; C, several times, the features by the
/// discrepancy, which draws those rows in. The discrepancy is the mean of |p - q| over rows and classes. With a sliced Wasserstein discrepancy in its place it is SWD.
/// </summary>
/// <remarks>
/// Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR 2018, equations 2 to 9: four updates C in most of its experiments.
/// Its experiment on VisDA adds 0.01 of a class-balance term to A and B, minus the mean logarithm of the mean probabilities of the target. SWD: Lee et al., Sliced
/// Wasserstein Discrepancy for Unsupervised Domain Adaptation, CVPR 2019; its authors' example makes one update C a step. Predicts by the mean of both heads' logits. Both heads run on the
/// same batches. The code for MCD's digits runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>. Batches may be of two sizes.
/// </remarks>
public sealed class MaximumClassifierDiscrepancy : AdaptationMethod
{
    private readonly MethodModule second;
    private readonly int featureUpdates;
    private readonly double weight, balance;
    private readonly IDiscrepancy? discrepancy;

    /// <param name="second">The second head, made as the first but from other random numbers: takes features [N, d] to logits [N, C].</param>
    /// <param name="featureUpdates">Updates C of a step.</param>
    /// <param name="weight">What the discrepancy weighs.</param>
    /// <param name="balance">What the class-balance term weighs.</param>
    /// <param name="discrepancy">How far two batches of probabilities [M, C] are apart; the mean absolute difference if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no update C, or a weight is negative.</exception>
    public MaximumClassifierDiscrepancy(MethodModule second, int featureUpdates = 4, double weight = 1, double balance = 0, IDiscrepancy? discrepancy = null)
        : this("mcd", second, featureUpdates, weight, balance, discrepancy)
    {
    }

    private MaximumClassifierDiscrepancy(string name, MethodModule second, int featureUpdates, double weight, double balance, IDiscrepancy? discrepancy)
    {
        ArgumentNullException.ThrowIfNull(second);
        ArgumentOutOfRangeException.ThrowIfLessThan(featureUpdates, 1);
        if (!(weight >= 0) || !(balance >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), $"MaximumClassifierDiscrepancy: weights are 0 or more, got {weight} and {balance}.");
        (Name, this.second, this.featureUpdates, this.weight, this.balance, this.discrepancy) = (name, second, featureUpdates, weight, balance, discrepancy);
    }

    /// <summary>tllib's: with 0.01 of the class-balance term always.</summary>
    /// <param name="second">The second head.</param>
    /// <param name="featureUpdates">Updates C of a step.</param>
    /// <param name="weight">What the discrepancy weighs.</param>
    public static MaximumClassifierDiscrepancy Tllib(MethodModule second, int featureUpdates = 4, double weight = 1) => new(second, featureUpdates, weight, balance: 0.01);

    /// <summary>SWD: the discrepancy is the sliced Wasserstein distance of the two batches of probabilities, the mean squared difference of their sorted projections.</summary>
    /// <param name="second">The second head.</param>
    /// <param name="featureUpdates">Updates C of a step.</param>
    /// <param name="weight">What the discrepancy weighs.</param>
    /// <param name="projections">How many random directions; 128 as in the paper's code.</param>
    /// <param name="generator">Where directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    public static MaximumClassifierDiscrepancy SlicedWasserstein(MethodModule second, int featureUpdates = 4, double weight = 1, int projections = 128, Generator? generator = null) =>
        new("swd", second, featureUpdates, weight, 0, new SlicedWasserstein(projections, generator: generator));

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [second];

    /// <inheritdoc/>
    public override Tensor SourceLoss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (balance == 0)
            return Classification(step, step.OfSource(second.Module.Forward));
        var (source, target) = Second(step);
        return Classification(step, source, target);
    }

    /// <summary>The discrepancy of the heads on the target.</summary>
    /// <param name="step">The step.</param>
    /// <returns>A scalar.</returns>
    public Tensor Disagreement(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Disagreement(step, step.OfTarget(second.Module.Forward));
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        yield return new(SourceLoss(step));
        var (source, target) = Second(step);
        yield return new(Classification(step, source, target) - Disagreement(step, target) * weight, [step.Run.Head, second.Module], IsReported: false);
        for (int i = 0; i < featureUpdates; i++)
            yield return new(Disagreement(step) * weight, [step.Run.Features], IsReported: false);
    }

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(run);
        var features = run.Features.Forward(inputs);
        return (run.Head.Forward(features) + second.Module.Forward(features)) / 2;
    }

    /// <summary>The second head's logits, from the batches that the first's are from.</summary>
    private (Tensor Source, Tensor Target) Second(AdaptationStep step) => step.Both(step.SourceFeatures, step.TargetFeatures, second.Module.Forward);

    private Tensor Classification(AdaptationStep step, Tensor source, Tensor? target = null)
    {
        var loss = step.Run.Criterion(step.SourceLogits, step.SourceTargets) + step.Run.Criterion(source, step.SourceTargets);
        return balance == 0 ? loss : loss - (Log(step.TargetLogits) + Log(target!)) * balance;

        static Tensor Log(Tensor logits) => (logits.Softmax().Mean([0]) + 1e-6).Log().Mean();
    }

    private Tensor Disagreement(AdaptationStep step, Tensor target)
    {
        Tensor p = step.TargetLogits.Softmax(), q = target.Softmax();
        return discrepancy?.Forward(p, q) ?? (p - q).Abs().Mean();
    }
}
