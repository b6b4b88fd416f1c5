using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// DARE-GRAM, for regression: aligns the inverse Gram matrices of the features, which ordinary least squares multiplies the targets by, rather than the features: α · mean over i of |1 - cos(a_i, b_i)|
/// + γ ‖λ_s - λ_t‖ / k, where a_i and b_i are the columns of the pseudo-inverses A⁺ and B⁺ of A = ZᵀZ, Z the source's features with a 1 in front, and B the target's, both of
/// rank k, and λ their k largest eigenvalues.
/// </summary>
/// <remarks>
/// Nejjar, Wang and Fink, DARE-GRAM: Unsupervised Domain Adaptation Regression by Aligning Inverse Gram Matrices, CVPR 2023, and the authors' code, which decides what the paper leaves open: with c_i the share of
/// the trace that the i largest eigenvalues have, each domain has as many as have c_i ≤ max(T, c_2), less one, and k is the larger number of both. Batches should be of one size, as Gram matrices
/// grow with the rows; others are let through. The decomposition, of the smaller of ZᵀZ and ZZᵀ, is done in float64 on the host and waits for the device. The gradient is exact, that of the
/// truncated inverse (an automatic one of a pseudo-inverse is not), where the k-th eigenvalue differs from the next; gradients of gradients do not see the vectors' own change.
/// Their code runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class DareGram : IDiscrepancy
{
    private readonly double angleWeight, scaleWeight, threshold;

    /// <param name="angleWeight">α, 0 or more; the authors take 0.05.</param>
    /// <param name="scaleWeight">γ, 0 or more; the authors take 0.001.</param>
    /// <param name="threshold">T, above 0 and below 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public DareGram(double angleWeight = 0.05, double scaleWeight = 1e-3, double threshold = 0.9)
    {
        if (!(angleWeight >= 0) || !(scaleWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(angleWeight), $"DareGram: weights are 0 or more, got {angleWeight} and {scaleWeight}.");
        if (threshold is not (> 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(threshold), threshold, "DareGram: the threshold is a share of the trace, between 0 and 1.");
        (this.angleWeight, this.scaleWeight, this.threshold) = (angleWeight, scaleWeight, threshold);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch has fewer than two rows.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(DareGram), source, target, minimumRows: 2);
        Check.That(source.Shape[1] > 0, $"DareGram: {source.Shape} has no features. Give one or more.");
        Gram s = new(source), t = new(target);
        if (!s.IsFinite || !t.IsFinite)
            return (source.Sum() + target.Sum()) * double.NaN; // a training that has diverged shows in its loss
        int k = Math.Max(s.Rank(threshold), t.Rank(threshold));
        var cosines = Cosines(s.PseudoInverse(k), t.PseudoInverse(k));
        return ((1 - cosines).Abs().Mean() * angleWeight + (s.Largest(k) - t.Largest(k)).Norm() / k * scaleWeight).To(source.ElementType);
    }

    /// <summary>Of the columns; as PyTorch's, lengths are at least 1e-6.</summary>
    private static Tensor Cosines(Tensor a, Tensor b) => (a * b).Sum([0]) / (a.Norm(2, [0]).Clamp(1e-6, double.MaxValue) * b.Norm(2, [0]).Clamp(1e-6, double.MaxValue));

    /// <summary>ZᵀZ by its spectrum, largest first, and its pseudo-inverse of a rank.</summary>
    private sealed class Gram
    {
        private readonly Tensor z, matrix;
        private readonly bool byRows;
        private readonly Spectrum spectrum;

        public Gram(Tensor features)
        {
            z = Tensor.Concat([Tensor.Ones([features.Shape[0], 1], features.Device, features.ElementType), features], 1).To(ElementType.Float64);
            byRows = z.Shape[0] < z.Shape[1];
            matrix = byRows ? z.MatMulInFull(z.Transpose()) : z.Transpose().MatMulInFull(z);
            using (new NoGrad())
                IsFinite = double.IsFinite(matrix.Detach().Sum().Item());
            spectrum = IsFinite ? Spectrum.Of(Spectrum.Rows(matrix)) : default;
        }

        public bool IsFinite { get; }

        private int Count => spectrum.Values.Length;

        public int Rank(double threshold)
        {
            double sum = spectrum.Values.Sum();
            double[] shares = new double[Count];
            for (int i = 0; i < Count; i++)
                shares[i] = (i > 0 ? shares[i - 1] : 0) + spectrum.Values[Count - 1 - i] / sum;
            double limit = Math.Max(threshold, shares[1]);
            return Math.Max(1, shares.Count(share => share <= limit) - 1);
        }

        /// <summary>The k largest eigenvalues, [k].</summary>
        public Tensor Largest(int k)
        {
            k = Math.Min(k, Count);
            var vectors = Tensor.FromDoubles(spectrum.Vectors.SubMatrix(0, Count, Count - k, k).ToColumnMajorArray(), [k, Count], z.Device, z.ElementType);
            return (vectors.MatMulInFull(matrix) * vectors).Sum([1]).Flip(0);
        }

        /// <summary>Σ_i≤k v_i v_iᵀ / λ_i. Through ZZᵀ with eigenvectors u it is Zᵀ (Σ u uᵀ / λ²) Z.</summary>
        public Tensor PseudoInverse(int k)
        {
            var values = spectrum.Values;
            int power = byRows ? 2 : 1, first = Math.Max(0, Count - k);
            double least = 1e-13 * values[^1];
            double[] inverse = [.. values.Select((value, i) => i >= first && value > least ? Math.Pow(value, -power) : 0)];
            var function = spectrum.Function("PseudoInverse", matrix, inverse, (i, j) =>
            {
                bool both = inverse[i] > 0 && inverse[j] > 0;
                return both ? (power == 1 ? -inverse[i] * inverse[j] : -(values[i] + values[j]) * inverse[i] * inverse[j])
                    : Math.Abs(values[i] - values[j]) > least ? (inverse[i] - inverse[j]) / (values[i] - values[j]) : 0;
            });
            return byRows ? z.Transpose().MatMulInFull(function).MatMulInFull(z) : function;
        }
    }
}
