namespace TransferEngine.Adaptation;

/// <summary>
/// LMMD, what DSAN makes small: the squared MMD class by class, (1/C) Σ_c ‖Σ_i w_ic φ(s_i) - Σ_j v_jc φ(t_j)‖², with weights
/// w_ic = [y_i = c] / Σ_i [y_i = c] from the source's labels and v_jc = p_jc / Σ_j p_jc from the target's predicted probabilities. No gradient flows
/// through the weights.
/// </summary>
/// <remarks>
/// Zhu et al., Deep Subdomain Adaptation Network for Image Classification, IEEE TNNLS 32 (2021), equations 4 to 7. A class without a source row in the batch has
/// no weights (0/0 in the paper) and adds nothing. With A = [w; -v] the sum is that of (K A) ∘ A over all rows and classes, so that no
/// [n + m, n + m] matrix of weights is formed. Batches may be of two sizes. The authors' code is <see cref="DeepDa"/>, with each domain going through the networks by itself: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class LocalMaximumMeanDiscrepancy : WeightedMethod
{
    private readonly SampleKernel kernel;
    private readonly bool commonClasses;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/>, as the paper has it, if null.</param>
    /// <param name="kernel">The kernel; the mean of five Gaussians, as in <see cref="MaximumMeanDiscrepancy"/>, if null.</param>
    public LocalMaximumMeanDiscrepancy(double weight = 0.5, Func<double, double>? schedule = null, SampleKernel? kernel = null)
        : this(weight, schedule, kernel ?? new GaussianKernel(), commonClasses: false)
    {
    }

    private LocalMaximumMeanDiscrepancy(double weight, Func<double, double>? schedule, SampleKernel kernel, bool commonClasses)
        : base("dsan", weight, schedule ?? WeightSchedule.Ganin) => (this.kernel, this.commonClasses) = (kernel, commonClasses);

    /// <summary>DeepDA's, which is the authors' code: the mean is over the classes that are both among the source's labels and the target's most probable classes; the kernel is <see cref="GaussianKernel.DeepDa"/>.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    public static LocalMaximumMeanDiscrepancy DeepDa(double weight = 0.5, Func<double, double>? schedule = null) => new(weight, schedule, GaussianKernel.DeepDa(), commonClasses: true);

    /// <summary>Measures.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <param name="sourceTargets">Classes, Int32 [n].</param>
    /// <param name="targetFeatures">[m, d].</param>
    /// <param name="targetProbabilities">The softmax of the target's logits, [m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public Tensor Forward(Tensor sourceFeatures, Tensor sourceTargets, Tensor targetFeatures, Tensor targetProbabilities)
    {
        const string Name = nameof(LocalMaximumMeanDiscrepancy);
        Discrepancy.CheckFeatures(Name, sourceFeatures, targetFeatures);
        Discrepancy.CheckClasses(Name, sourceFeatures, sourceTargets, targetFeatures, targetProbabilities);
        Tensor weights;
        using (new NoGrad())
        {
            var probabilities = targetProbabilities.Detach();
            int classes = probabilities.Shape[1];
            var labels = sourceTargets.OneHot(classes, probabilities.ElementType);
            var rows = labels.Sum([0]);
            var counted = rows.Greater(0);
            var count = Tensor.Full([], classes, rows.Device, rows.ElementType);
            if (commonClasses)
            {
                counted *= probabilities.ArgMax(1).OneHot(classes, rows.ElementType).Sum([0]).Greater(0);
                count = counted.Sum().Clamp(1, classes);
            }
            // The tiny numbers keep 0/0 away from a class that is not counted.
            weights = Tensor.Concat([labels / rows.Clamp(1, double.MaxValue), -(probabilities / (probabilities.Sum([0]) + 1e-30))]) * (counted / count.Sqrt());
        }
        var matrix = kernel.Matrix(Tensor.Concat([sourceFeatures, targetFeatures]), sourceFeatures.Shape[0]);
        return (matrix.MatMulInFull(weights) * weights).Sum();
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, step.TargetLogits.Softmax());
    }
}
