using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>What a method sees of one step.</summary>
/// <param name="SourceFeatures">[N, d].</param>
/// <param name="SourceLogits">[N, C].</param>
/// <param name="SourceTargets">Classes, Int32 [N].</param>
/// <param name="TargetFeatures">[M, d].</param>
/// <param name="TargetLogits">[M, C].</param>
/// <param name="Progress">The part of the training that is done, from 0 to 1.</param>
public sealed record AdaptationStep(Tensor SourceFeatures, Tensor SourceLogits, Tensor SourceTargets, Tensor TargetFeatures, Tensor TargetLogits, double Progress);

/// <summary>An unsupervised adaptation method: a loss that is added to the source's classification loss. It never sees target labels.</summary>
public interface IAdaptationMethod
{
    /// <summary>What it is called in reports.</summary>
    string Name { get; }

    /// <summary>Whether it looks at the target domain at all.</summary>
    bool UsesTarget { get; }

    /// <summary>Networks of its own that are trained along, such as a discriminator.</summary>
    IReadOnlyList<Module> Modules { get; }

    /// <summary>The loss to add, a scalar; null for none.</summary>
    /// <param name="step">The step's features and logits.</param>
    Tensor? Loss(AdaptationStep step);
}

/// <summary>No adaptation: the source domain alone, what every method is compared with.</summary>
public sealed class SourceOnly : IAdaptationMethod
{
    /// <inheritdoc/>
    public string Name => "source-only";

    /// <inheritdoc/>
    public bool UsesTarget => false;

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <inheritdoc/>
    public Tensor? Loss(AdaptationStep step) => null;
}

/// <summary>Makes a discrepancy between the domains' features small, as in DAN (with <see cref="MaximumMeanDiscrepancy"/>) and Deep CORAL.</summary>
/// <param name="name">What it is called in reports.</param>
/// <param name="discrepancy">What is made small.</param>
/// <param name="weight">What it weighs against the classification loss.</param>
/// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
public sealed class DiscrepancyMethod(string name, IDiscrepancy discrepancy, double weight = 1, Func<double, double>? schedule = null) : IAdaptationMethod
{
    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public bool UsesTarget => true;

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <inheritdoc/>
    public Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return discrepancy.Forward(step.SourceFeatures, step.TargetFeatures) * (weight * (schedule?.Invoke(step.Progress) ?? 1));
    }
}

/// <summary>
/// DANN: a discriminator tells the domains apart, and the features, through a gradient-reversal layer, learn that it can't. The loss is the mean binary
/// cross-entropy of the discriminator over both batches, source 1 and target 0, each half of it; the reversal's weight follows
/// <see cref="GradientReversal.Warmup"/>.
/// </summary>
/// <remarks>Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016).</remarks>
/// <param name="discriminator">Takes features [N, d] to logits [N, 1].</param>
/// <param name="weight">The final weight of the reversed gradient.</param>
public sealed class DomainAdversary(Module discriminator, double weight = 1) : IAdaptationMethod
{
    /// <inheritdoc/>
    public string Name => "dann";

    /// <inheritdoc/>
    public bool UsesTarget => true;

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [discriminator];

    /// <inheritdoc/>
    public Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        int n = step.SourceFeatures.Shape[0], m = step.TargetFeatures.Shape[0];
        var features = Tensor.Concat([step.SourceFeatures, step.TargetFeatures]).ReverseGradient(weight * GradientReversal.Warmup(step.Progress));
        var logits = discriminator.Forward(features);
        Tensor source = logits.Narrow(0, 0, n), target = logits.Narrow(0, n, m);
        return (source.BinaryCrossEntropyWithLogits(Tensor.Ones(source.Shape, source.Device, source.ElementType))
            + target.BinaryCrossEntropyWithLogits(Tensor.Zeros(target.Shape, target.Device, target.ElementType))) / 2;
    }
}
