namespace TransferEngine.Adaptation;

/// <summary>
/// CMD: the distances of the means and of the central moments of each feature, ‖E s - E t‖ / (b - a) + Σ_k ‖c_k(s) - c_k(t)‖ / (b - a)^k for k from 2 up,
/// with c_k(x) = E (x - E x)^k and features between a and b.
/// </summary>
/// <remarks>
/// Zellinger et al., Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning, ICLR 2017, equation 9; up to 5 moments, and bounds 0 and 1 of
/// sigmoid activations (-1 and 1 for tanh). Moments of single features only: it does not see their correlations. Batches may be of two sizes. Where two moments are equal the gradient of
/// their distance is taken as 0.
/// </remarks>
public sealed class CentralMomentDiscrepancy : IDiscrepancy
{
    private readonly int moments;
    private readonly double width;

    /// <param name="moments">The highest moment, 1 or more.</param>
    /// <param name="low">a, what features are never below.</param>
    /// <param name="high">b, what they are never above.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no moment, or the bounds are not in order.</exception>
    public CentralMomentDiscrepancy(int moments = 5, double low = 0, double high = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(moments, 1);
        if (!(high > low))
            throw new ArgumentOutOfRangeException(nameof(high), high, $"CentralMomentDiscrepancy: the upper bound is above the lower, {low}.");
        (this.moments, width) = (moments, high - low);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(CentralMomentDiscrepancy), source, target);
        Tensor sourceMean = source.Mean([0]), targetMean = target.Mean([0]);
        Tensor s = source - sourceMean, t = target - targetMean, sourcePower = s, targetPower = t;
        var sum = (sourceMean - targetMean).Norm() / width;
        for (int k = 2; k <= moments; k++)
        {
            (sourcePower, targetPower) = (sourcePower * s, targetPower * t);
            sum += (sourcePower.Mean([0]) - targetPower.Mean([0])).Norm() / Math.Pow(width, k);
        }
        return sum;
    }
}

/// <summary>
/// HoMM: the squared distance of the uncentred moment tensors of order p, d^-p ‖(1/n) Σ_i s_i^⊗p - (1/m) Σ_j t_j^⊗p‖². All d^p joint moments of the features
/// count; none of the tensors is formed, as the distance is the biased squared MMD under the kernel (x·y / d)^p.
/// </summary>
/// <remarks>
/// Chen et al., HoMM: Higher-Order Moment Matching for Unsupervised Domain Adaptation, AAAI 2020, equation 4, which samples or groups moments to bear their
/// number; the identity makes that needless. p = 1 compares means, 2 second moments. Batches may be of two sizes. The authors' code centres each domain first: <see cref="Authors"/>. Its weights are
/// 10^4 for digits (p = 3, 90 features) and 200 for Office (p = 4, 180 features), by which small differences of products count; features are tanh's there, since most products of ReLU's are 0.
/// </remarks>
public sealed class HigherOrderMomentMatching : IDiscrepancy
{
    private readonly MaximumMeanDiscrepancy mmd;
    private readonly bool isCentred;

    /// <param name="order">p, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order is below 1.</exception>
    public HigherOrderMomentMatching(int order = 3) : this(order, isCentred: false)
    {
    }

    private HigherOrderMomentMatching(int order, bool isCentred) => (mmd, this.isCentred) = (new(new PolynomialKernel(order, scale: null, offset: 0)), isCentred);

    /// <summary>The authors' code, over all moments: central ones, (1/n) Σ_i (s_i - E s)^⊗p, with a gradient through the means. Shifts of a domain as a whole are not seen.</summary>
    /// <param name="order">p, 2 or more: the first central moments are 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order is below 2.</exception>
    public static HigherOrderMomentMatching Authors(int order = 3)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(order, 2);
        return new(order, isCentred: true);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(HigherOrderMomentMatching), source, target);
        return isCentred ? mmd.Forward(source - source.Mean([0]), target - target.Mean([0])) : mmd.Forward(source, target);
    }
}
