using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// KLIEP: the density ratio as a mixture of Gaussians at target rows, w(x) = Σ_l α_l exp(-‖x - c_l‖² / b), α ≥ 0, that makes the target most likely, max Σ_j log w(t_j) under (1/n) Σ_i w(x_i) = 1.
/// The bandwidth b is the one, among factors of the median squared distance, under which target rows that were left out are most likely.
/// </summary>
/// <remarks>
/// Sugiyama, Suzuki, Nakajima, Kashima, von Bünau and Kawanabe, Direct Importance Estimation for Covariate Shift Adaptation, Annals of the Institute of Statistical Mathematics 60 (2008). With
/// γ_l = α_l (1/n) Σ_i k(x_i, c_l) the problem is the maximum likelihood of a mixture's proportions, γ ≥ 0 and Σ γ = 1; it is solved by the EM steps γ_l ← γ_l (1/m) Σ_j a_jl / Σ_k γ_k a_jk, which need no step size and
/// never lower the likelihood, where the paper takes projected gradient steps. Centres are evenly spaced target rows, so nothing is drawn at random. Progress hears the mean log of the target's ratios.
/// </remarks>
public sealed class KullbackLeiblerImportance : ISampleWeighting
{
    private readonly double[] factors;
    private readonly int centres, folds, iterations;
    private readonly double tolerance;

    /// <param name="factors">What the median squared distance is multiplied by to give bandwidths to choose from; 2^-6, 2^-4, ..., 2^4 if null. One is taken as it is.</param>
    /// <param name="centres">The most Gaussians.</param>
    /// <param name="folds">Into how many parts the target is split to choose among bandwidths, 2 or more.</param>
    /// <param name="iterations">The most EM steps.</param>
    /// <param name="tolerance">The gain of the mean log likelihood in a step at which it is solved.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public KullbackLeiblerImportance(IReadOnlyList<double>? factors = null, int centres = 100, int folds = 5, int iterations = 1000, double tolerance = 1e-8)
    {
        this.factors = [.. factors ?? [1.0 / 64, 1.0 / 16, 0.25, 1, 4, 16]];
        if (this.factors.Length == 0 || this.factors.Any(factor => !(factor > 0)))
            throw new ArgumentOutOfRangeException(nameof(factors), $"KullbackLeiblerImportance: factors are one or more positive numbers, got [{string.Join(", ", this.factors)}].");
        ArgumentOutOfRangeException.ThrowIfLessThan(centres, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(folds, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        if (!(tolerance >= 0))
            throw new ArgumentOutOfRangeException(nameof(tolerance), tolerance, "KullbackLeiblerImportance: the tolerance is 0 or more.");
        (this.centres, this.folds, this.iterations, this.tolerance) = (centres, folds, iterations, tolerance);
    }

    /// <inheritdoc/>
    public string Name => "KLIEP";

    /// <inheritdoc/>
    public double[] Weights(Tensor source, Tensor target, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        const string Name = nameof(KullbackLeiblerImportance);
        Discrepancy.CheckFeatures(Name, source, target);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        int m = target.Shape[0], count = Math.Min(centres, m);
        Check.That(factors.Length == 1 || m >= folds, $"{Name}: target {target.Shape}; to choose a bandwidth it needs {folds} rows or more. Give more rows, or one factor.");
        Tensor Take(Tensor rows, IEnumerable<int> taken) => rows.IndexSelect(0, Tensor.From([.. taken], rows.Device));
        var points = Take(target.Detach(), Enumerable.Range(0, count).Select(l => (int)((long)l * m / count)));
        Tensor near = target.Detach().PairwiseSquaredDistances(points).To(ElementType.Float64), far = source.Detach().PairwiseSquaredDistances(points).To(ElementType.Float64);
        double[] sorted = [.. LinearProbe.Doubles(near).Where(distance => distance > 0).Order()];
        double median = sorted.Length > 0 ? sorted[(sorted.Length - 1) / 2] : 1;
        double best = factors.Length == 1 ? factors[0] : factors.MaxBy(factor =>
        {
            var (at, means) = Kernels(near, far, factor * median);
            return Enumerable.Range(0, folds).Sum(fold =>
            {
                var sides = Enumerable.Range(0, m).ToLookup(row => row % folds == fold);
                var gamma = Solve(Take(at, sides[false]) / means, null, cancellation);
                return (Take(at, sides[true]) / means).MatMul(gamma).Log().Sum().Item();
            });
        });
        var (kernel, mean) = Kernels(near, far, best * median);
        var alpha = Solve(kernel / mean, progress, cancellation) / mean.Transpose();
        return LinearProbe.Doubles(Gaussians(far, best * median).MatMul(alpha));
    }

    /// <summary>The Gaussians at the target's rows, [m, l], and the mean of each over the source's, [1, l]; the least positive number where no source row is near.</summary>
    private static (Tensor AtTarget, Tensor SourceMeans) Kernels(Tensor near, Tensor far, double bandwidth) =>
        (Gaussians(near, bandwidth) + 1e-300, Gaussians(far, bandwidth).Mean([0], keepDim: true) + 1e-100);

    private static Tensor Gaussians(Tensor distances, double bandwidth) => distances.GaussianKernel(Tensor.From([bandwidth], distances.Device));

    /// <summary>The proportions γ, [l, 1], of greatest mean log likelihood of a, [m, l].</summary>
    private Tensor Solve(Tensor a, IProgress<ClassicalProgress>? progress, CancellationToken cancellation)
    {
        int m = a.Shape[0], count = a.Shape[1];
        var turned = a.Transpose().Contiguous();
        var gamma = Tensor.Full([count, 1], 1.0 / count, a.Device, ElementType.Float64);
        double likelihood = double.NegativeInfinity;
        for (int iteration = 1; iteration <= iterations; iteration++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var mixture = a.MatMul(gamma);
            double reached = mixture.Log().Mean().Item();
            progress?.Report(new(iteration, iterations, reached));
            if (!(reached - likelihood > tolerance))
                break;
            likelihood = reached;
            gamma = scope.Keep(gamma * turned.MatMul(1.0 / mixture) / m);
        }
        return gamma;
    }
}

/// <summary>Importance weights by a <see cref="DensityRatio"/>: logistic regression tells the domains apart, and its odds are the ratio.</summary>
/// <param name="ratio">How; the defaults if null.</param>
public sealed class LogisticImportance(DensityRatio? ratio = null) : ISampleWeighting
{
    /// <inheritdoc/>
    public string Name => "IW";

    /// <inheritdoc/>
    public double[] Weights(Tensor source, Tensor target, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default) =>
        (ratio ?? new()).Weights(source, target, source, cancellation);
}
