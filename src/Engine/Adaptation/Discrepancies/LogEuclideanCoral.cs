using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// Log-Euclidean CORAL: the distance of the covariances on the curved space of positive matrices, ‖log(C_S + ε I) - log(C_T + ε I)‖²_F / (4 d²), with the
/// matrix logarithm. Unlike <see cref="DeepCoral"/>'s it weighs directions of small and of large variance alike, and multiplying both domains by one factor changes nothing, but for ε.
/// </summary>
/// <remarks>
/// Wang et al., Deep Domain Adaptation by Geodesic Distance Minimization, ICCV Workshops 2017; Morerio et al., Minimal-Entropy Correlation Alignment for
/// Unsupervised Deep Domain Adaptation, ICLR 2018, equation 7, whose authors' code
/// has no ε, and 1 / d² in the place of 1 / (4 d²), so four times this value. ε is ours: batches of no more than d rows have no logarithm without it. With C = U diag(λ) Uᵀ the gradient is
/// U (L ∘ Uᵀ G U) Uᵀ, where L_ij = (log λ_i - log λ_j) / (λ_i - λ_j), or 1/λ_i where they are equal (Daleckii and Krein); gradients of gradients do not see the
/// change of U and L. The decompositions are done in float64 on the host and wait for the device; they cost O(d³), so d of a few hundred at most.
/// </remarks>
public sealed class LogEuclideanCoral : IDiscrepancy
{
    private readonly double ridge;

    /// <param name="ridge">ε, what is added to each variance.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public LogEuclideanCoral(double ridge = 1e-3)
    {
        if (!(ridge > 0))
            throw new ArgumentOutOfRangeException(nameof(ridge), ridge, "LogEuclideanCoral: the ridge is positive.");
        this.ridge = ridge;
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A batch has fewer than two rows, or the numbers of features differ.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(LogEuclideanCoral), source, target, minimumRows: 2);
        double d = source.Shape[1];
        return (Logarithm(DeepCoral.Covariance(source)) - Logarithm(DeepCoral.Covariance(target))).Square().Sum() / (4 * d * d);
    }

    private Tensor Logarithm(Tensor covariance)
    {
        int d = covariance.Shape[0];
        if (d == 0)
            return covariance;
        var spectrum = Spectrum.Of(Spectrum.Rows(covariance));
        double[] lifted = [.. spectrum.Values.Select(value => value + ridge)], logs = [.. lifted.Select(value => Math.Log(value))];
        return spectrum.Function("MatrixLogarithm", covariance, logs, (i, j) =>
        {
            // log λ_i - log λ_j = 2 artanh(r), r = (λ_i - λ_j) / (λ_i + λ_j): no digits are lost where they are close.
            double sum = lifted[i] + lifted[j], ratio = (lifted[i] - lifted[j]) / sum;
            return Math.Abs(ratio) < 1e-4 ? 2 / sum * (1 + ratio * ratio / 3) : (logs[i] - logs[j]) / (lifted[i] - lifted[j]);
        });
    }
}
