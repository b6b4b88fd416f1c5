namespace TransferEngine.Adaptation;

/// <summary>
/// JMMD, what JAN makes small: the squared MMD of the joint distribution of features and predictions, under the product of a kernel of each:
/// k((f, p), (f', p')) = k_f(f, f') k_p(p, p'), with p the softmax of the logits.
/// </summary>
/// <remarks>
/// Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017, equation 6; there each layer's kernel is a Gaussian whose bandwidth is
/// the median squared distance, as it is here by default. Most pairs of predictions may be certain of the same class, and their median next to 0: the bandwidth of predictions is never below 0.01, a
/// difference of 0.1. The paper also gives the linear-time form (equation 7) and an adversarial one, which is not built here. Batches may be of two sizes, but for the linear-time forms. The authors' code sums
/// five Gaussians on the features, as <see cref="GaussianKernel.DeepDa"/> does, with the mean's bandwidth in the place of the median's, and has one of bandwidth 1.68 on the softmax; in Caffe it weighs 0.3
/// and has a second loss of the softmax with itself.
/// </remarks>
public sealed class JointMaximumMeanDiscrepancy : WeightedMethod
{
    private readonly SampleKernel features, predictions;
    private readonly MmdEstimator estimator;
    private readonly bool fillsDiagonal;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="estimator">The estimator.</param>
    /// <param name="features">The kernel of the features; a Gaussian with the median's bandwidth if null.</param>
    /// <param name="predictions">The kernel of the softmax; a Gaussian with the median's bandwidth, 0.01 or more, if null.</param>
    public JointMaximumMeanDiscrepancy(
        double weight = 1, Func<double, double>? schedule = null, MmdEstimator estimator = MmdEstimator.Biased, SampleKernel? features = null, SampleKernel? predictions = null)
        : this(weight, schedule, estimator, features ?? new GaussianKernel([1], rule: BandwidthRule.Median), predictions ?? new GaussianKernel([1], rule: BandwidthRule.Median) { LeastBandwidth = 0.01 }, fillsDiagonal: false)
    {
    }

    private JointMaximumMeanDiscrepancy(double weight, Func<double, double>? schedule, MmdEstimator estimator, SampleKernel features, SampleKernel predictions, bool fillsDiagonal)
        : base("jan", weight, schedule) => (this.estimator, this.features, this.predictions, this.fillsDiagonal) = (estimator, features, predictions, fillsDiagonal);

    /// <summary>tllib's: the features' kernel is <see cref="GaussianKernel.Tllib"/>, the softmax's one Gaussian with σ = 0.92, and 2 / (n - 1) is added. Batches of one size.</summary>
    /// <param name="linear">The cyclic estimator, which its class takes by default; else the unbiased one, which its script takes.</param>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public static JointMaximumMeanDiscrepancy Tllib(bool linear = false, double weight = 1, Func<double, double>? schedule = null) => new(
        weight, schedule, linear ? MmdEstimator.Cyclic : MmdEstimator.Unbiased, GaussianKernel.Tllib(), new GaussianKernel([2], bandwidth: 0.92 * 0.92), fillsDiagonal: true);

    /// <summary>Measures.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <param name="sourceProbabilities">The softmax of the source's logits, [n, C].</param>
    /// <param name="targetFeatures">[m, d].</param>
    /// <param name="targetProbabilities">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, a batch is too small for the estimator, or a linear-time one got batches of two sizes.</exception>
    public Tensor Forward(Tensor sourceFeatures, Tensor sourceProbabilities, Tensor targetFeatures, Tensor targetProbabilities)
    {
        const string Name = nameof(JointMaximumMeanDiscrepancy);
        Discrepancy.CheckFeatures(Name, sourceFeatures, targetFeatures, KernelStatistic.MinimumRows(estimator));
        Discrepancy.CheckFeatures(Name, sourceProbabilities, targetProbabilities);
        int n = sourceFeatures.Shape[0], m = targetFeatures.Shape[0];
        Check.That(sourceProbabilities.Shape[0] == n && targetProbabilities.Shape[0] == m,
            $"{Name}: features of {n} and {m} rows with probabilities of {sourceProbabilities.Shape[0]} and {targetProbabilities.Shape[0]}. Take both from the same batches.");
        Check.That(!fillsDiagonal || n == m, $"{Name}: tllib's takes batches of one size, got {n} and {m}.");
        var value = KernelStatistic.Estimate(Name, estimator, new(features, sourceFeatures, targetFeatures), new(predictions, sourceProbabilities, targetProbabilities));
        return fillsDiagonal ? value + 2.0 / (n - 1) : value;
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.SourceFeatures, step.SourceLogits.Softmax(), step.TargetFeatures, step.TargetLogits.Softmax());
    }
}
