namespace TransferEngine.Adaptation;

/// <summary>
/// A mean teacher: networks whose weights are the running average of the trained ones' say what the target's rows are, and the trained ones follow: the mean over rows and classes of (softmax(student) - softmax(teacher))². The student
/// sees the target loader's first further view, if it has one, the teacher the plain one; without one both see the same batch, of both domains in a joint step.
/// </summary>
/// <remarks>
/// Tarvainen and Valpola, Mean Teachers Are Better Role Models, NeurIPS 2017: after step t the teacher keeps min(1 - 1/(t + 1), α) of itself. French, Mackiewicz and Fisher, Self-Ensembling for Visual Domain
/// Adaptation, ICLR 2018, for adaptation by it, for the threshold below which rows do not count, and for the balance of classes: with b the student's mean probabilities of the batch, C the number of classes and q the share of rows that
/// count, κ q Σ_c BCE(b_c, 1/C) is added, BCE(b, t) = -t log(b + 10^-6) - (1 - t) log(1 - b + 10^-6). Their code has weight 3, threshold 0.968, κ = 0.005 and no ramp, and runs the domains apart (<see cref="AdapterSettings.SeparateBatches"/>).
/// The weight rises by <see cref="WeightSchedule.GaussianRampUp(double)"/> unless told otherwise. As in the code of both, weights alone are averaged: the teacher's running statistics are those of its own passes in training.
/// </remarks>
public sealed class MeanTeacher : WeightedMethod, IDisposable
{
    private readonly double threshold, classBalance;
    private readonly bool teacherPredicts;
    private readonly AveragedWeights teacher;

    /// <param name="weight">What it weighs against the classification loss; 100 as in Tarvainen and Valpola's scripts, for an error that is a mean over classes.</param>
    /// <param name="schedule">A factor of the weight by progress; a ramp over the first fifth of the training if null.</param>
    /// <param name="decay">α, what stays of the teacher in a step, from 0 to 1.</param>
    /// <param name="threshold">The teacher's probability that makes a row count; 0 for all rows, French et al. take 0.968.</param>
    /// <param name="teacherPredicts">Whether the teacher answers after the training, rather than the trained networks.</param>
    /// <param name="classBalance">κ, what the balance of classes weighs, in units of <paramref name="weight"/>, 0 or more; French et al. take 0.005.</param>
    /// <exception cref="ArgumentOutOfRangeException">The decay, threshold or balance is out of range.</exception>
    public MeanTeacher(double weight = 100, Func<double, double>? schedule = null, double decay = 0.99, double threshold = 0, bool teacherPredicts = true, double classBalance = 0)
        : base("mean-teacher", weight, schedule ?? WeightSchedule.GaussianRampUp(0.2))
    {
        if (decay is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(decay), decay, "MeanTeacher: what stays of the teacher is from 0 to 1.");
        if (threshold is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(threshold), threshold, "MeanTeacher: the threshold is a probability, from 0 to 1.");
        if (!(classBalance >= 0))
            throw new ArgumentOutOfRangeException(nameof(classBalance), classBalance, "MeanTeacher: the balance of classes weighs 0 or more.");
        (teacher, this.threshold, this.teacherPredicts, this.classBalance) = (new(decay, hasOwnStatistics: true), threshold, teacherPredicts, classBalance);
    }

    /// <inheritdoc/>
    public override void Begin(AdaptationRun run) => teacher.Begin(run);

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
        var shares = studentLogits.Softmax();
        var loss = ((shares - taught).Square() * trusted).Mean();
        return classBalance > 0 ? loss + Imbalance(shares.Mean([0])) * trusted.Mean() * classBalance : loss;
    }

    /// <inheritdoc/>
    public override void AfterStep(AdaptationStep step) => teacher.Follow(step);

    /// <inheritdoc/>
    public override void HandOver(AdaptationRun run)
    {
        if (teacherPredicts)
            teacher.HandOver();
    }

    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs) => AveragedWeights.Predict(teacherPredicts ? teacher : null, () => base.Predict(run, inputs));

    /// <summary>Gives the teacher's memory back; after it the trained networks answer.</summary>
    public void Dispose() => teacher.Dispose();

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var weights = teacher.Weights ?? throw new InvalidOperationException("MeanTeacher: there is no teacher yet. Call Begin before the first step, as Adapter.Fit does.");
        var run = step.Run;
        bool hasView = step.TargetViews.Count > 0;
        Tensor taught;
        using (new NoGrad())
        using (weights.SwapIn())
            taught = hasView || !run.IsJoint ? run.Forward(step.TargetInput) : step.Both(step.SourceInput, step.TargetInput, run.Forward).Target;
        return Forward(hasView ? run.Forward(step.TargetViews[0]) : step.TargetLogits, taught);
    }

    /// <summary>Σ_c BCE(b_c, 1/C).</summary>
    private static Tensor Imbalance(Tensor means)
    {
        const double Small = 1e-6; // the authors', against logarithms of 0
        double even = 1.0 / means.Shape[0];
        return -((means + Small).Log() * even + (1 + Small - means).Log() * (1 - even)).Sum();
    }
}
