using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// DIRT-T: refines a trained model on the target alone, moving the decision boundaries out of the data in steps that each stay near the last: λ_t (LDS + entropy of the predictions) + β KL(teacher ‖ model), the teacher being the running average of
/// the weights of some steps ago, in evaluation mode. That average answers.
/// </summary>
/// <remarks>
/// Shu et al., ICLR 2018, equation 12; run it on the networks that <see cref="Vada"/>, or another method, has trained, after <see cref="AdaptationMethod.HandOver"/> where it answers by an average, as VADA does. The source is not looked at, though
/// the data has one. λ_t = β = 0.01; the teacher is renewed every 500 steps (its interval differs by task in the paper, 500 among them). The average is <see cref="Vada"/>'s: of the weights alone, running statistics are the trained networks',
/// which moved rows do not enter.
/// </remarks>
public sealed class DirtT : AdaptationMethod, IDisposable
{
    private readonly VirtualAdversarialLoss smoothness;
    private readonly double targetWeight, teacherWeight;
    private readonly int interval;
    private readonly AveragedWeights? average;
    private ShadowWeights? teacher;

    /// <param name="radius">ε, the length of the change of an input.</param>
    /// <param name="targetWeight">λ_t, positive.</param>
    /// <param name="teacherWeight">β, 0 or more.</param>
    /// <param name="interval">Steps after which the teacher is renewed.</param>
    /// <param name="averageDecay">α, what stays of the averaged weights in a step, from 0 to 1; with 0 the trained networks answer and become the teacher.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public DirtT(double radius = 3.5, double targetWeight = 0.01, double teacherWeight = 0.01, int interval = 500, double averageDecay = 0.998, Generator? generator = null)
    {
        if (!(targetWeight > 0) || !(teacherWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(targetWeight), $"DirtT: the target's weight is positive, the teacher's 0 or more, got {targetWeight} and {teacherWeight}.");
        ArgumentOutOfRangeException.ThrowIfLessThan(interval, 1);
        (smoothness, average) = (new(radius, generator: generator), AveragedWeights.Of(nameof(DirtT), averageDecay));
        (this.targetWeight, this.teacherWeight, this.interval) = (targetWeight, teacherWeight, interval);
    }

    /// <inheritdoc/>
    public override string Name => "dirt-t";

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        average?.Begin(run);
        teacher?.Dispose();
        teacher = new ShadowWeights(run.Features, run.Head);
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var taught = Taught(step);
        var logits = step.Run.Forward(step.TargetInput);
        yield return new((smoothness.Forward(step.Run, step.Run.Forward, step.TargetInput, logits) + EntropyMinimization.Forward(logits)) * targetWeight
            + VirtualAdversarialLoss.Divergence(taught, logits) * teacherWeight);
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        average?.Follow(step);
        if ((step.Number + 1) % interval != 0)
            return;
        using (average?.Weights?.SwapIn())
            teacher?.Follow(0);
    }

    /// <inheritdoc/>
    public override void HandOver(AdaptationRun run) => average?.HandOver();

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs) => AveragedWeights.Predict(average, () => base.Predict(run, inputs));

    /// <summary>Gives the memory of teacher and average back; after it the trained networks answer.</summary>
    public void Dispose()
    {
        average?.Dispose();
        teacher?.Dispose();
        teacher = null;
    }

    /// <summary>The teacher's logits of the target's rows, as in evaluation.</summary>
    private Tensor Taught(AdaptationStep step)
    {
        var shadow = teacher ?? throw new InvalidOperationException("DirtT: there is no teacher yet. Call Begin before the first step, as Adapter.Fit does.");
        using var swapped = shadow.SwapIn();
        return step.Run.Evaluated(() => step.Run.Forward(step.TargetInput));
    }
}
