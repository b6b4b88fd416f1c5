using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// Kernel mean matching: the weights β of the source's rows under which its mean in the kernel's space is nearest to the target's, min ½ βᵀ K β - κᵀ β with κ_i = (n/m) Σ_j k(x_i, t_j),
/// 0 ≤ β_i ≤ B and |Σ β_i - n| ≤ n ε.
/// </summary>
/// <remarks>
/// Huang, Smola, Gretton, Borgwardt and Schölkopf, Correcting Sample Selection Bias by Unlabeled Data, NIPS 2006, equation 5, with B = 1000 and ε = (√n - 1) / √n as there. The quadratic programme is
/// solved by Nesterov's accelerated projected gradients with restarts, the products with K on the device; the projection onto box and band is by bisection on its multiplier. Progress hears the objective.
/// </remarks>
public sealed class KernelMeanMatching : ISampleWeighting
{
    private readonly SampleKernel kernel;
    private readonly double bound, tolerance;
    private readonly double? slack;
    private readonly int iterations;

    /// <param name="kernel">k; a Gaussian of the median squared distance of both domains' rows if null.</param>
    /// <param name="bound">B.</param>
    /// <param name="slack">ε, 0 or more; (√n - 1) / √n if null.</param>
    /// <param name="iterations">The most gradient steps.</param>
    /// <param name="tolerance">The greatest entry of the projected gradient, in units of the greatest κ, at which it is solved.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public KernelMeanMatching(SampleKernel? kernel = null, double bound = 1000, double? slack = null, int iterations = 2000, double tolerance = 1e-4)
    {
        if (!(bound >= 1))
            throw new ArgumentOutOfRangeException(nameof(bound), bound, "KernelMeanMatching: weights are 1 on average, so their bound is 1 or more.");
        if (slack is { } given && !(given >= 0))
            throw new ArgumentOutOfRangeException(nameof(slack), slack, "KernelMeanMatching: the slack is 0 or more.");
        if (!(tolerance > 0))
            throw new ArgumentOutOfRangeException(nameof(tolerance), tolerance, "KernelMeanMatching: the tolerance is positive.");
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        this.kernel = kernel ?? new GaussianKernel([1], rule: BandwidthRule.Median);
        (this.bound, this.slack, this.iterations, this.tolerance) = (bound, slack, iterations, tolerance);
    }

    /// <inheritdoc/>
    public string Name => "KMM";

    /// <inheritdoc/>
    public double[] Weights(Tensor source, Tensor target, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        Discrepancy.CheckFeatures(nameof(KernelMeanMatching), source, target);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        int n = source.Shape[0], m = target.Shape[0];
        var all = kernel.Matrix(Tensor.Concat([source.Detach(), target.Detach()]), n).Narrow(0, 0, n).To(ElementType.Float64);
        Tensor own = all.Narrow(1, 0, n).Contiguous(), across = all.Narrow(1, n, m).Sum([1]) * ((double)n / m);
        double[] kappa = LinearProbe.Doubles(across);
        double steepest = own.Abs().Sum([1]).Max().Item(), scale = kappa.Max(Math.Abs); // the greatest row sum is no less than the greatest eigenvalue
        double band = n * (slack ?? (Math.Sqrt(n) - 1) / Math.Sqrt(n));
        double[] beta = new double[n], point = new double[n], product = new double[n];
        Array.Fill(beta, 1);
        beta.CopyTo(point, 0);
        double momentum = 1, value = double.PositiveInfinity;
        for (int iteration = 1; iteration <= iterations; iteration++)
        {
            cancellation.ThrowIfCancellationRequested();
            using (new TensorScope())
                product = own.MatMul(Tensor.From(point, [n, 1], own.Device)).ToArray<double>();
            double[] next = Project([.. point.Select((at, i) => at - (product[i] - kappa[i]) / steepest)], n - band, n + band);
            double reached = 0, residual = 0, along = 0;
            for (int i = 0; i < n; i++)
            {
                // The objective at the point that the gradient was taken at: its product is there.
                reached += point[i] * (product[i] / 2 - kappa[i]);
                residual = Math.Max(residual, Math.Abs(next[i] - point[i]));
                along += (point[i] - next[i]) * (next[i] - beta[i]);
            }
            double following = along > 0 ? 1 : (1 + Math.Sqrt(1 + 4 * momentum * momentum)) / 2, times = along > 0 ? 0 : (momentum - 1) / following;
            for (int i = 0; i < n; i++)
                point[i] = next[i] + times * (next[i] - beta[i]);
            (beta, momentum, value) = (next, following, reached);
            progress?.Report(new(iteration, iterations, value));
            if (residual * steepest <= tolerance * scale)
                break;
        }
        return beta;
    }

    /// <summary>The nearest weights from 0 to B whose sum is in the band: all less one number, cut at 0 and B.</summary>
    private double[] Project(double[] weights, double least, double most)
    {
        double Sum(double shift) => weights.Sum(weight => Math.Clamp(weight - shift, 0, bound));
        double sum = Sum(0), wanted = Math.Clamp(sum, least, Math.Min(most, bound * weights.Length)), low = 0, high = 0;
        if (sum != wanted)
        {
            (low, high) = (weights.Min() - bound, weights.Max());
            for (int i = 0; i < 100; i++)
            {
                double middle = (low + high) / 2;
                (low, high) = Sum(middle) > wanted ? (middle, high) : (low, middle);
            }
        }
        return Array.ConvertAll(weights, weight => Math.Clamp(weight - (low + high) / 2, 0, bound));
    }
}
