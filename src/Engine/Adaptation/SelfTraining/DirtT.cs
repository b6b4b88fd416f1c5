using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// DIRT-T: refines a trained model on the target alone, moving the decision boundaries out of the data in steps that each stay near the last: λ_t (LDS + entropy of the predictions) + β KL(teacher ‖ model), the teacher being the model of some steps ago.
/// </summary>
/// <remarks>
/// Shu et al., ICLR 2018, equation 12; run it on the networks that <see cref="Vada"/>, or another method, has trained. The source is not looked at, though the data has one. λ_t = β = 0.01; the teacher is
/// renewed every 500 steps (its interval differs by task in the paper, 500 among them).
/// </remarks>
public sealed class DirtT : AdaptationMethod, IDisposable
{
    private readonly VirtualAdversarialLoss smoothness;
    private readonly double targetWeight, teacherWeight;
    private readonly int interval;
    private ShadowWeights? teacher;

    /// <param name="radius">ε, the length of the change of an input.</param>
    /// <param name="targetWeight">λ_t, positive.</param>
    /// <param name="teacherWeight">β, 0 or more.</param>
    /// <param name="interval">Steps after which the teacher is renewed.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public DirtT(double radius = 3.5, double targetWeight = 0.01, double teacherWeight = 0.01, int interval = 500, Generator? generator = null)
    {
        if (!(targetWeight > 0) || !(teacherWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(targetWeight), $"DirtT: the target's weight is positive, the teacher's 0 or more, got {targetWeight} and {teacherWeight}.");
        ArgumentOutOfRangeException.ThrowIfLessThan(interval, 1);
        (smoothness, this.targetWeight, this.teacherWeight, this.interval) = (new(radius, generator: generator), targetWeight, teacherWeight, interval);
    }

    /// <inheritdoc/>
    public override string Name => "dirt-t";

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        teacher?.Dispose();
        teacher = new ShadowWeights(run.Features, run.Head);
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var shadow = teacher ?? throw new InvalidOperationException("DirtT: there is no teacher yet. Call Begin before the first step, as Adapter.Fit does.");
        Tensor Network(Tensor x) => step.Run.Head.Forward(step.Run.Features.Forward(x));
        Tensor taught;
        using (new NoGrad())
        using (shadow.SwapIn())
            taught = Network(step.TargetInput);
        var logits = Network(step.TargetInput);
        yield return new((smoothness.Forward(Network, step.TargetInput, logits) + EntropyMinimization.Forward(logits)) * targetWeight + VirtualAdversarialLoss.Divergence(taught, logits) * teacherWeight);
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if ((step.Number + 1) % interval == 0)
            teacher?.Follow(0);
    }

    /// <summary>Gives the teacher's memory back.</summary>
    public void Dispose()
    {
        teacher?.Dispose();
        teacher = null;
    }
}
