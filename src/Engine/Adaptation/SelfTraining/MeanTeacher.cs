namespace TransferEngine.Adaptation;

/// <summary>
/// A mean teacher: networks whose weights are the running average of the trained ones' say what the target's rows are, and the trained ones follow: the mean over rows and classes of (softmax(student) - softmax(teacher))². The student
/// sees the target loader's first further view, if it has one, the teacher the plain one.
/// </summary>
/// <remarks>
/// Tarvainen and Valpola, Mean Teachers Are Better Role Models, NeurIPS 2017: after step t the teacher keeps min(1 - 1/(t + 1), α) of itself. French, Mackiewicz and Fisher, Self-Ensembling for Visual Domain
/// Adaptation, ICLR 2018, for adaptation by it, and for the threshold below which rows do not count. The weight rises by <see cref="WeightSchedule.GaussianRampUp(double)"/> unless told otherwise.
/// Statistics of batch normalisation are the student's.
/// </remarks>
public sealed class MeanTeacher : WeightedMethod, IDisposable
{
    private readonly double decay, threshold;
    private readonly bool teacherPredicts;
    private ShadowWeights? teacher;

    /// <param name="weight">What it weighs against the classification loss; 100 as in Tarvainen and Valpola's scripts, for an error that is a mean over classes.</param>
    /// <param name="schedule">A factor of the weight by progress; a ramp over the first fifth of the training if null.</param>
    /// <param name="decay">α, what stays of the teacher in a step, from 0 to 1.</param>
    /// <param name="threshold">The teacher's probability that makes a row count; 0 for all rows, French et al. take 0.968.</param>
    /// <param name="teacherPredicts">Whether the teacher answers after the training, rather than the trained networks.</param>
    /// <exception cref="ArgumentOutOfRangeException">The decay or threshold is out of range.</exception>
    public MeanTeacher(double weight = 100, Func<double, double>? schedule = null, double decay = 0.99, double threshold = 0, bool teacherPredicts = true)
        : base("mean-teacher", weight, schedule ?? WeightSchedule.GaussianRampUp(0.2))
    {
        if (decay is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(decay), decay, "MeanTeacher: what stays of the teacher is from 0 to 1.");
        if (threshold is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(threshold), threshold, "MeanTeacher: the threshold is a probability, from 0 to 1.");
        (this.decay, this.threshold, this.teacherPredicts) = (decay, threshold, teacherPredicts);
    }

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        teacher?.Dispose();
        teacher = new ShadowWeights(run.Features, run.Head);
    }

    /// <summary>Measures.</summary>
    /// <param name="studentLogits">[m, C].</param>
    /// <param name="teacherLogits">Of the same rows, [m, C]; no gradient flows through them.</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">They are no matrices of one shape, or have no row.</exception>
    public Tensor Forward(Tensor studentLogits, Tensor teacherLogits)
    {
        Discrepancy.CheckLogits(nameof(MeanTeacher), studentLogits);
        Discrepancy.CheckLogits(nameof(MeanTeacher), teacherLogits);
        Check.That(studentLogits.Shape == teacherLogits.Shape, $"MeanTeacher: the student's logits {studentLogits.Shape} and the teacher's {teacherLogits.Shape} differ. Take both from the same rows.");
        Tensor taught, trusted;
        using (new NoGrad())
        {
            taught = teacherLogits.Detach().Softmax();
            trusted = taught.Max([1], keepDim: true).GreaterOrEqual(threshold);
        }
        return ((studentLogits.Softmax() - taught).Square() * trusted).Mean();
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Teacher.Follow(Math.Min(1 - 1.0 / (step.Number + 2), decay));
    }

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs)
    {
        if (!teacherPredicts || teacher is null)
            return base.Predict(run, inputs);
        using var recording = new NoGrad();
        using (teacher.SwapIn())
            return base.Predict(run, inputs);
    }

    /// <summary>Gives the teacher's memory back; after it the trained networks answer.</summary>
    public void Dispose()
    {
        teacher?.Dispose();
        teacher = null;
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Tensor taught;
        using (new NoGrad())
        using (Teacher.SwapIn())
            taught = step.Run.Head.Forward(step.Run.Features.Forward(step.TargetInput));
        return Forward(step.TargetViews.Count > 0 ? step.Run.Head.Forward(step.Run.Features.Forward(step.TargetViews[0])) : step.TargetLogits, taught);
    }

    private ShadowWeights Teacher => teacher ?? throw new InvalidOperationException("MeanTeacher: there is no teacher yet. Call Begin before the first step, as Adapter.Fit does.");
}
