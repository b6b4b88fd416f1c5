using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>A network of a method's own that is trained along, such as a discriminator.</summary>
/// <param name="Module">The network.</param>
/// <param name="LearningRateFactor">Its learning rate in units of the other networks' rate.</param>
/// <param name="Optimizer">Makes an optimiser for it alone, whose rates the training's schedule moves too but for groups that are not <see cref="ParameterGroup.IsScheduled"/>; it shares that of the other networks if null.</param>
public sealed record MethodModule(Module Module, double LearningRateFactor = 1, Func<IEnumerable<Tensor>, Optimizer>? Optimizer = null)
{
    /// <summary>The network.</summary>
    public Module Module { get; init; } = Module ?? throw new ArgumentNullException(nameof(Module));

    /// <summary>A network that is trained as the others are.</summary>
    /// <param name="module">The network.</param>
    public static implicit operator MethodModule(Module module) => new(module);
}

/// <summary>
/// A way to adapt: what is made small in each training step of an <see cref="Adapter"/>. It never sees target labels. Most methods add a loss, and
/// override <see cref="Loss"/> alone; one that weighs or replaces the classification overrides <see cref="SourceLoss"/>; one whose networks play against
/// each other writes its <see cref="Updates"/> down in their order.
/// </summary>
/// <example><code>
/// // MCD, in which two heads disagree as much as they can on the target, and the features learn to leave them no room for it.
/// public override IEnumerable&lt;TrainingUpdate&gt; Updates(AdaptationStep step)
/// {
///     yield return new(Classify(step));
///     yield return new(Classify(step) - Disagree(step), [step.Run.Head, second], IsReported: false);
///     for (int i = 0; i &lt; 4; i++)
///         yield return new(Disagree(step), [step.Run.Features], IsReported: false);
/// }
/// </code></example>
public abstract class AdaptationMethod
{
    /// <summary>What it is called in reports.</summary>
    public abstract string Name { get; }

    /// <summary>Whether it looks at the target domain at all.</summary>
    public virtual bool UsesTarget => true;

    /// <summary>Networks of its own that are trained along.</summary>
    public virtual IReadOnlyList<MethodModule> Modules => [];

    /// <summary>Called before the first step of a training: the place to copy weights, or to refuse networks that do not fit.</summary>
    /// <param name="run">What is trained.</param>
    public virtual void Begin(AdaptationRun run)
    {
    }

    /// <summary>The loss of the task on the source domains; the run's criterion of all their rows, unless overridden.</summary>
    /// <param name="step">The step.</param>
    /// <returns>A scalar.</returns>
    public virtual Tensor SourceLoss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return step.Run.Criterion(step.SourceLogits, step.SourceTargets);
    }

    /// <summary>The loss that is added to the source's, a scalar; null for none.</summary>
    /// <param name="step">The step.</param>
    public virtual Tensor? Loss(AdaptationStep step) => null;

    /// <summary>
    /// The updates of a step in their order, each done before the next is asked for; unless overridden one, of all networks by the source's loss plus the
    /// added one. What the step gives is computed anew after an update, with the new weights; tensors taken from it before stay what they were.
    /// </summary>
    /// <param name="step">The step.</param>
    public virtual IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        var loss = SourceLoss(step);
        yield return new(Loss(step) is { } added ? loss + added : loss);
    }

    /// <summary>Called when all updates of a step are done, such as to let the weights of a teacher follow.</summary>
    /// <param name="step">The step.</param>
    public virtual void AfterStep(AdaptationStep step)
    {
    }

    /// <summary>
    /// Called when the trained networks are to be used without the method, such as saved, or judged by validators: the place to give them the weights by which
    /// <see cref="Predict"/> answers, where those are not the trained ones.
    /// </summary>
    /// <param name="run">What was trained.</param>
    public virtual void HandOver(AdaptationRun run)
    {
    }

    /// <summary>What the trained networks answer; the head of the features, unless overridden.</summary>
    /// <param name="run">What was trained.</param>
    /// <param name="inputs">[N, ...].</param>
    /// <returns>Logits, [N, C].</returns>
    public virtual Tensor Predict(AdaptationRun run, Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(run);
        return run.Forward(inputs);
    }
}

/// <summary>No adaptation: the source domains alone, what every method is compared with.</summary>
public sealed class SourceOnly : AdaptationMethod
{
    /// <inheritdoc/>
    public override string Name => "source-only";

    /// <inheritdoc/>
    public override bool UsesTarget => false;
}
