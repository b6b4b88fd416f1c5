namespace TransferEngine.Adaptation;

/// <summary>How the squared MMD is estimated from samples.</summary>
public enum MmdEstimator
{
    /// <summary>All pairs, each element with itself too: Gretton et al. 2012, equation 5. Never negative.</summary>
    Biased,

    /// <summary>All pairs but those of an element with itself: Gretton et al. 2012, equation 3 (lemma 6). Zero on average where the distributions are one; may be negative.</summary>
    Unbiased,

    /// <summary>Each element in one pair only: Gretton et al. 2012, lemma 14. Costs O(n) instead of O(n²); needs batches of one size.</summary>
    Linear,
}

/// <summary>
/// The squared maximum mean discrepancy under a mixture of Gaussian kernels,
/// MMD² = E k(s, s') + E k(t, t') - 2 E k(s, t) with k(x, y) = (1/m) Σ_u exp(-‖x - y‖² / b_u). With one bandwidth it is MMD, with several MK-MMD.
/// The bandwidths b_u are <see cref="BandwidthFactors"/> times a base: <see cref="Bandwidth"/>, or the mean squared distance over all pairs of different
/// elements of both batches, taken anew for each batch; no gradient flows through it.
/// </summary>
/// <remarks>
/// Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012); Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, for
/// the mixture, here with equal weights that sum to 1. Distances, kernels and sums are fused: the largest intermediate is [n + m, n + m].
/// </remarks>
public sealed class MaximumMeanDiscrepancy : IDiscrepancy
{
    /// <param name="bandwidthFactors">What the base bandwidth is multiplied by; ¼, ½, 1, 2, 4 if null. One factor gives plain MMD.</param>
    /// <param name="estimator">The estimator.</param>
    /// <param name="bandwidth">The base b of exp(-‖x - y‖² / b), for a kernel width σ it is 2σ²; if null, the mean squared distance of each batch.</param>
    /// <exception cref="ArgumentOutOfRangeException">A factor or the bandwidth is not positive.</exception>
    public MaximumMeanDiscrepancy(IReadOnlyList<double>? bandwidthFactors = null, MmdEstimator estimator = MmdEstimator.Biased, double? bandwidth = null)
    {
        BandwidthFactors = [.. bandwidthFactors ?? [0.25, 0.5, 1, 2, 4]];
        if (BandwidthFactors.Count == 0 || BandwidthFactors.Any(factor => !(factor > 0)))
            throw new ArgumentOutOfRangeException(nameof(bandwidthFactors), $"MaximumMeanDiscrepancy: bandwidth factors are one or more positive numbers, got [{string.Join(", ", BandwidthFactors)}].");
        if (bandwidth is { } given && !(given > 0))
            throw new ArgumentOutOfRangeException(nameof(bandwidth), given, "MaximumMeanDiscrepancy: a bandwidth is positive.");
        (Estimator, Bandwidth) = (estimator, bandwidth);
    }

    /// <summary>What the base bandwidth is multiplied by, one for each kernel.</summary>
    public IReadOnlyList<double> BandwidthFactors { get; }

    /// <summary>The estimator.</summary>
    public MmdEstimator Estimator { get; }

    /// <summary>The base bandwidth, or null for the mean squared distance.</summary>
    public double? Bandwidth { get; }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The numbers of features differ, a batch is too small for the estimator, or the linear one got batches of two sizes.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures("MaximumMeanDiscrepancy", source, target, Estimator == MmdEstimator.Biased ? 1 : 2);
        if (Estimator == MmdEstimator.Linear)
            return Linear(source, target);
        double n = source.Shape[0], m = target.Shape[0];
        bool unbiased = Estimator == MmdEstimator.Unbiased;
        return Tensor.GaussianPairSum(
            Tensor.Concat([source, target]), source.Shape[0], first: 1 / (n * (unbiased ? n - 1 : n)), across: -1 / (n * m), second: 1 / (m * (unbiased ? m - 1 : m)),
            // The diagonal of the distances is 0, so their sum is one over pairs of different elements.
            distances => Bandwidths(distances, distances.Sum() / ((n + m) * (n + m - 1))), skipDiagonal: unbiased) / BandwidthFactors.Count;
    }

    /// <summary>The bandwidths, on the device: nothing waits for the mean. A mean of 0, of elements that are all the same, is lifted a little.</summary>
    private Tensor Bandwidths(Tensor like, Tensor mean)
    {
        var factors = Tensor.FromDoubles([.. BandwidthFactors.Select(factor => factor * (Bandwidth ?? 1))], [BandwidthFactors.Count], like.Device, like.ElementType);
        return Bandwidth is null ? factors * (mean + 1e-30) : factors;
    }

    /// <summary>2/n Σ h over consecutive pairs, h = k(s₁, s₂) + k(t₁, t₂) - k(s₁, t₂) - k(s₂, t₁).</summary>
    private Tensor Linear(Tensor source, Tensor target)
    {
        int half = source.Shape[0] / 2, d = source.Shape[1];
        Check.That(source.Shape == target.Shape, $"MaximumMeanDiscrepancy: the linear-time estimator pairs elements one to one; source {source.Shape} and target {target.Shape} differ. Use batches of one size, or the unbiased estimator.");
        var s = source.Narrow(0, 0, 2 * half).Reshape(half, 2, d);
        var t = target.Narrow(0, 0, 2 * half).Reshape(half, 2, d);
        Tensor s1 = s.Narrow(1, 0, 1), s2 = s.Narrow(1, 1, 1), t1 = t.Narrow(1, 0, 1), t2 = t.Narrow(1, 1, 1);
        var distances = Tensor.Concat([Squared(s1, s2), Squared(t1, t2), Squared(s1, t2), Squared(s2, t1)], 1);
        Tensor bandwidths;
        using (new NoGrad())
            bandwidths = Bandwidths(distances, distances.Detach().Mean());
        var kernel = distances.GaussianKernel(bandwidths) / BandwidthFactors.Count;
        var signs = Tensor.FromDoubles([1, 1, -1, -1], [4], source.Device, source.ElementType);
        return (kernel * signs).Sum() / half;

        static Tensor Squared(Tensor a, Tensor b)
        {
            var difference = a - b;
            return (difference * difference).Sum([2]);
        }
    }
}
