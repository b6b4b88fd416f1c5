namespace TransferEngine.Adaptation;

/// <summary>
/// The squared maximum mean discrepancy MMD² = E k(s, s') + E k(t, t') - 2 E k(s, t) under a <see cref="SampleKernel"/>. By default k is a mixture of
/// five Gaussians, (1/5) Σ_u exp(-‖x - y‖² / b_u), with bandwidths b_u of ¼, ½, 1, 2 and 4 times the mean squared distance over all pairs of different
/// elements of both batches, taken anew for each batch; no gradient flows through it. With one bandwidth it is MMD, with several MK-MMD.
/// </summary>
/// <remarks>
/// Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012); Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, for
/// the mixture, here with equal weights that sum to 1. The two batches may be of different sizes, but for the linear-time estimators. With Gaussians of
/// equal weights, distances, kernels and sums are fused: the largest intermediate is [n + m, n + m]. The libraries' MMDs differ in kernel, bandwidth and
/// estimator, so their values can't be compared; the factories below compute what each of them does. DAN's authors sum the five Gaussians, of DeepDA's bandwidths, in all of their code: in PyTorch by the unbiased estimator,
/// <c>new(GaussianKernel.DeepDa(), MmdEstimator.Unbiased)</c>, in Caffe over as many random quadruples as there are rows. The weights that the paper learns are learned in none of it: <see cref="LearnedKernelMmd"/> does.
/// </remarks>
public sealed class MaximumMeanDiscrepancy : IDiscrepancy
{
    private readonly bool fillsDiagonal;

    /// <param name="bandwidthFactors">What the base bandwidth is multiplied by; ¼, ½, 1, 2, 4 if null. One factor gives plain MMD.</param>
    /// <param name="estimator">The estimator.</param>
    /// <param name="bandwidth">The base b of exp(-‖x - y‖² / b), for a kernel width σ it is 2σ²; if null, the mean squared distance of each batch.</param>
    /// <exception cref="ArgumentOutOfRangeException">A factor or the bandwidth is not positive.</exception>
    public MaximumMeanDiscrepancy(IReadOnlyList<double>? bandwidthFactors = null, MmdEstimator estimator = MmdEstimator.Biased, double? bandwidth = null)
        : this(new GaussianKernel(bandwidthFactors, bandwidth), estimator)
    {
    }

    /// <param name="kernel">The kernel.</param>
    /// <param name="estimator">The estimator.</param>
    public MaximumMeanDiscrepancy(SampleKernel kernel, MmdEstimator estimator = MmdEstimator.Biased)
        : this(kernel, estimator, fillsDiagonal: false)
    {
    }

    private MaximumMeanDiscrepancy(SampleKernel kernel, MmdEstimator estimator, bool fillsDiagonal)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        (Kernel, Estimator, this.fillsDiagonal) = (kernel, estimator, fillsDiagonal);
    }

    /// <summary>The kernel.</summary>
    public SampleKernel Kernel { get; }

    /// <summary>The estimator.</summary>
    public MmdEstimator Estimator { get; }

    /// <summary>DeepDA's: five times the default's value, as the Gaussians are summed and not averaged.</summary>
    public static MaximumMeanDiscrepancy DeepDa() => new(GaussianKernel.DeepDa());

    /// <summary>tllib's: <see cref="GaussianKernel.Tllib"/>, and 2 / (n - 1) added to the unbiased or the cyclic estimate. Batches of one size.</summary>
    /// <param name="linear">The cyclic estimator, which its class takes by default; else the unbiased one.</param>
    public static MaximumMeanDiscrepancy Tllib(bool linear = true) => new(GaussianKernel.Tllib(), linear ? MmdEstimator.Cyclic : MmdEstimator.Unbiased, fillsDiagonal: true);

    /// <summary>pytorch-adapt's: <see cref="GaussianKernel.PytorchAdapt"/>.</summary>
    /// <param name="linear">The linear-time estimator, its default; else the unbiased one.</param>
    /// <param name="scales">Its kernel scales; 1 if null.</param>
    public static MaximumMeanDiscrepancy PytorchAdapt(bool linear = true, IReadOnlyList<double>? scales = null) =>
        new(GaussianKernel.PytorchAdapt(scales), linear ? MmdEstimator.Linear : MmdEstimator.Unbiased);

    /// <summary>skada's <c>dan_loss</c>: <see cref="LaplacianKernel.Skada"/>, biased.</summary>
    public static MaximumMeanDiscrepancy Skada() => new(LaplacianKernel.Skada());

    /// <summary>DomainBed's: <see cref="GaussianKernel.DomainBed"/>, biased.</summary>
    public static MaximumMeanDiscrepancy DomainBed() => new(GaussianKernel.DomainBed());

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The numbers of features differ, a batch is too small for the estimator, or a linear-time one got batches of two sizes.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(MaximumMeanDiscrepancy), source, target, KernelStatistic.MinimumRows(Estimator));
        int n = source.Shape[0];
        Check.That(!fillsDiagonal || n == target.Shape[0], $"MaximumMeanDiscrepancy: tllib's takes batches of one size, got {source.Shape} and {target.Shape}.");
        var value = Kernel is GaussianKernel { CommonWeight: { } weight } gaussians && Estimator is MmdEstimator.Biased or MmdEstimator.Unbiased
            ? Fused(gaussians, source, target) * weight
            : KernelStatistic.Estimate(nameof(MaximumMeanDiscrepancy), Estimator, new KernelStatistic.Layer(Kernel, source, target));
        return fillsDiagonal ? value + 2.0 / (n - 1) : value;
    }

    private Tensor Fused(GaussianKernel gaussians, Tensor source, Tensor target)
    {
        double n = source.Shape[0], m = target.Shape[0];
        bool unbiased = Estimator == MmdEstimator.Unbiased;
        return Tensor.GaussianPairSum(
            Tensor.Concat([source, target]), source.Shape[0], first: 1 / (n * (unbiased ? n - 1 : n)), across: -1 / (n * m), second: 1 / (m * (unbiased ? m - 1 : m)),
            distances => gaussians.Bandwidths(distances, source.Shape[0]), skipDiagonal: unbiased);
    }
}
