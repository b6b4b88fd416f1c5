using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// MK-MMD with learned weights, DAN's: the squared MMD under Σ_u β_u exp(-‖x - y‖² / b_u), β ≥ 0 and Σ β = 1, where β makes the test between the domains as strong as
/// it can be: it maximises η/σ, the estimate over its standard deviation, which is the quadratic program min βᵀ(Q + λI)β with ηᵀβ = 1. η_u is the linear-time estimate
/// under kernel u, the mean of h_u over quadruples of two rows of each domain, and Q the covariance of h, from differences of neighbouring quadruples.
/// </summary>
/// <remarks>
/// Gretton et al., Optimal Kernel Choice for Large-Scale Two-Sample Tests, NeurIPS 2012, equations 6 to 11; Long et al., Learning Transferable Features with Deep
/// Adaptation Networks, ICML 2015, equation 9, with 33 bandwidths of 2^-8 to 2^8 times the median, λ = 1e-3, and the linear-time statistic. Where no η is positive the program has no solution;
/// as Gretton et al. do, the one kernel of the largest η/σ is taken then. The weights are learned anew for each pair of batches, on the host, which waits for the device, and no gradient flows through
/// them. The authors' released code learns no weights; it is <see cref="MaximumMeanDiscrepancy"/>'s. They are learned from as many rows as both batches have; the loss itself, unless it is linear-time, uses all, so batches may be of two sizes.
/// </remarks>
public sealed class LearnedKernelMmd : IDiscrepancy
{
    private readonly GaussianKernel family;
    private readonly MmdEstimator estimator;
    private readonly double ridge;

    /// <param name="bandwidthFactors">What the base bandwidth is multiplied by; 2^-8, 2^-7.5, ..., 2^8 if null.</param>
    /// <param name="estimator">The estimator of the loss; the linear-time ones need batches of one size.</param>
    /// <param name="bandwidth">The base b; by the rule if null.</param>
    /// <param name="rule">Where the base is taken from if none is given.</param>
    /// <param name="ridge">λ, what is added to each variance.</param>
    /// <exception cref="ArgumentOutOfRangeException">A factor, the bandwidth or the ridge is not positive.</exception>
    public LearnedKernelMmd(
        IReadOnlyList<double>? bandwidthFactors = null, MmdEstimator estimator = MmdEstimator.Linear, double? bandwidth = null, BandwidthRule rule = BandwidthRule.Median, double ridge = 1e-3)
    {
        if (!(ridge > 0))
            throw new ArgumentOutOfRangeException(nameof(ridge), ridge, "LearnedKernelMmd: the ridge is positive.");
        family = new(bandwidthFactors ?? [.. Enumerable.Range(0, 33).Select(k => Math.Pow(2, -8 + k / 2.0))], bandwidth, rule);
        (this.estimator, this.ridge) = (estimator, ridge);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The numbers of features differ, a batch has fewer than four rows, or a linear-time estimator got batches of two sizes.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        var (bandwidths, weights) = Learn(source, target);
        return new MaximumMeanDiscrepancy(new GaussianKernel(bandwidths, bandwidth: 1, weights: weights), estimator).Forward(source, target);
    }

    /// <summary>The weights that two samples give.</summary>
    /// <param name="source">[n, d].</param>
    /// <param name="target">[m, d].</param>
    /// <returns>One for each bandwidth factor, 0 or more, of sum 1.</returns>
    /// <inheritdoc cref="Forward"/>
    public IReadOnlyList<double> Weights(Tensor source, Tensor target) => Learn(source, target).Weights;

    private (double[] Bandwidths, double[] Weights) Learn(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(LearnedKernelMmd), source, target, minimumRows: 4);
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        int pairs = Math.Min(source.Shape[0], target.Shape[0]) / 2;
        var points = Tensor.Concat([source.Detach(), target.Detach()]);
        double[] bandwidths = LinearProbe.Doubles(family.Bandwidths(points.PairwiseSquaredDistances(points), source.Shape[0]));
        Tensor Every(Tensor x, int start) => x.Detach().Narrow(0, start, pairs, 2);
        double[] Between(Tensor x, Tensor y) => LinearProbe.Doubles((x - y).Square().Sum([1]));
        Tensor s0 = Every(source, 0), s1 = Every(source, 1), t0 = Every(target, 0), t1 = Every(target, 1);
        double[] ss = Between(s0, s1), tt = Between(t0, t1), st = Between(s0, t1), ts = Between(s1, t0);
        var h = Matrix<double>.Build.Dense(pairs, bandwidths.Length, (i, u) =>
            Math.Exp(-ss[i] / bandwidths[u]) + Math.Exp(-tt[i] / bandwidths[u]) - Math.Exp(-st[i] / bandwidths[u]) - Math.Exp(-ts[i] / bandwidths[u]));
        return (bandwidths, Optimal(h, ridge));
    }

    /// <summary>The weights for values h of quadruples, the rows, under kernels, the columns.</summary>
    internal static double[] Optimal(Matrix<double> h, double ridge)
    {
        int kernels = h.ColumnCount, blocks = h.RowCount / 2;
        var estimates = h.ColumnSums() / h.RowCount;
        var differences = Matrix<double>.Build.Dense(blocks, kernels, (i, u) => h[2 * i, u] - h[2 * i + 1, u]);
        var covariance = differences.TransposeThisAndMultiply(differences) / blocks + ridge * Matrix<double>.Build.DenseIdentity(kernels);
        double[] weights;
        if (estimates.Maximum() > 0)
        {
            // The program's solution up to its length, which does not matter: at ½ βᵀQβ - ηᵀβ both have the same conditions.
            weights = NonnegativeQuadratic.Minimize(covariance, estimates);
        }
        else
        {
            weights = new double[kernels];
            weights[Enumerable.Range(0, kernels).MaxBy(u => estimates[u] / Math.Sqrt(covariance[u, u]))] = 1;
        }
        double sum = weights.Sum();
        // Of features that are no numbers nothing can be learned; the loss shows it.
        return sum > 0 ? [.. weights.Select(weight => weight / sum)] : [.. weights.Select(_ => 1.0 / kernels)];
    }
}
