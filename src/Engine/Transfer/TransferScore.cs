using MathNet.Numerics.LinearAlgebra;

namespace TransferEngine.Transfer;

/// <summary>
/// Scores of how well a source model would transfer, from one pass over the target's training rows and without training: choose the backbone with the
/// highest. Scores of one kind on the same rows compare; those of different kinds do not. Computed in float64 on the host.
/// </summary>
public static class TransferScore
{
    /// <summary>Eigenvalues below this part of the largest count as 0.</summary>
    private const double Negligible = 1e-10;

    /// <summary>
    /// LogME: the logarithm of the greatest evidence of a Bayesian linear model of each class's indicator y, a row and averaged over classes,
    /// max over α, β of log N(y | 0, I / β + F Fᵀ / α) / N.
    /// </summary>
    /// <param name="features">F, [N, D].</param>
    /// <param name="labels">Int32 [N]; classes without a row do not count.</param>
    /// <exception cref="ShapeException">The shapes do not fit, there is no row, or a label is negative.</exception>
    /// <remarks>
    /// You et al.: LogME, practical assessment of pre-trained models for transfer learning; ICML 2021, by the fixed-point iteration of the authors' later
    /// paper (JMLR 2022), to convergence where their code stops at a change of 1 %. With fewer rows than features the D - N directions without data have their share log α in the determinant.
    /// </remarks>
    public static double LogMe(Tensor features, Tensor labels)
    {
        int[] classes = Labels("LogMe", features, labels);
        var f = Spectrum.Rows(features);
        int n = f.RowCount, d = f.ColumnCount;
        bool byRows = n <= d;
        var spectrum = Spectrum.Of(byRows ? f.TransposeAndMultiply(f) : f.TransposeThisAndMultiply(f));
        double cut = spectrum.Values[^1] * Negligible;
        int[] kept = [.. Enumerable.Range(0, spectrum.Values.Length).Where(i => spectrum.Values[i] > cut)];
        double[] sigma = [.. kept.Select(i => spectrum.Values[i])];
        var (sum, count) = (0.0, 0);
        foreach (var rows in Enumerable.Range(0, n).GroupBy(i => classes[i]))
        {
            // The squared coordinates of the indicator along the left singular vectors.
            var y = Vector<double>.Build.Dense(n);
            foreach (int row in rows)
                y[row] = 1;
            var along = byRows ? spectrum.Vectors.TransposeThisAndMultiply(y) : spectrum.Vectors.TransposeThisAndMultiply(f.TransposeThisAndMultiply(y));
            double[] squares = [.. kept.Select(i => along[i] * along[i] / (byRows ? 1 : spectrum.Values[i]))];
            sum += Evidence(sigma, squares, rows.Count(), n, d);
            count++;
        }
        return sum / count;
    }

    /// <summary>
    /// LEEP: the mean log-likelihood of the labels under the expected empirical predictor, Σ_z P(y | z) θ(x)_z, where θ is the source model's softmax and
    /// P(y, z) the mean of θ_z over the rows of class y.
    /// </summary>
    /// <param name="probabilities">θ, [N, source classes], rows that sum to 1.</param>
    /// <param name="labels">Int32 [N].</param>
    /// <exception cref="ShapeException">The shapes do not fit, there is no row, or a label is negative.</exception>
    /// <remarks>Nguyen et al.: LEEP, a new measure to evaluate transferability of learned representations; ICML 2020, equation 2.</remarks>
    public static double Leep(Tensor probabilities, Tensor labels)
    {
        int[] classes = Labels("Leep", probabilities, labels);
        var theta = Spectrum.Rows(probabilities);
        int n = theta.RowCount;
        var joint = Matrix<double>.Build.Dense(classes.Max() + 1, theta.ColumnCount);
        for (int i = 0; i < n; i++)
            joint.SetRow(classes[i], joint.Row(classes[i]) + theta.Row(i) / n);
        var marginal = joint.ColumnSums();
        double sum = 0;
        for (int i = 0; i < n; i++)
        {
            double likelihood = 0;
            for (int z = 0; z < theta.ColumnCount; z++)
                likelihood += marginal[z] > 0 ? joint[classes[i], z] / marginal[z] * theta[i, z] : 0;
            sum += Math.Log(likelihood);
        }
        return sum / n;
    }

    /// <summary>NCE: the negative conditional entropy -H(Y | Z) = Σ P(y, z) log P(y | z) of the labels, given the source classes that a source model assigns.</summary>
    /// <param name="sourceLabels">Z, Int32 [N], such as the argmax of the source model's logits.</param>
    /// <param name="labels">Y, Int32 [N].</param>
    /// <exception cref="ShapeException">The shapes do not fit, or there is no row.</exception>
    /// <remarks>Tran, Nguyen and Hassner: Transferability and hardness of supervised classification tasks; ICCV 2019.</remarks>
    public static double Nce(Tensor sourceLabels, Tensor labels)
    {
        ArgumentNullException.ThrowIfNull(sourceLabels);
        ArgumentNullException.ThrowIfNull(labels);
        Check.Integer("Nce", "source labels", sourceLabels);
        Check.Integer("Nce", "labels", labels);
        Check.That(sourceLabels.Rank == 1 && sourceLabels.Shape == labels.Shape && labels.Elements > 0, $"Nce: source labels {sourceLabels.Shape} and labels {labels.Shape} must both be [N], N 1 or more.");
        var pairs = sourceLabels.ToArray<int>().Zip(labels.ToArray<int>()).ToArray();
        var bySource = pairs.CountBy(pair => pair.First).ToDictionary();
        return pairs.CountBy(pair => pair).Sum(item => item.Value * Math.Log((double)item.Value / bySource[item.Key.First])) / pairs.Length;
    }

    /// <summary>H-score: tr(cov(f)⁺ cov(E[f | y])), how far the classes' means lie apart, measured by the spread of all features.</summary>
    /// <param name="features">[N, D].</param>
    /// <param name="labels">Int32 [N].</param>
    /// <exception cref="ShapeException">The shapes do not fit, there is no row, or a label is negative.</exception>
    /// <remarks>Bao et al.: An information-theoretic approach to transferability in task transfer learning; ICIP 2019, definition 2. The pseudo-inverse leaves eigenvalues below 1e-10 of the largest out.</remarks>
    public static double HScore(Tensor features, Tensor labels)
    {
        var (_, total, centres) = Covariances("HScore", features, labels);
        var spectrum = Spectrum.Of(total);
        double cut = spectrum.Values[^1] * Negligible;
        var along = spectrum.Vectors.TransposeThisAndMultiply(centres);
        return Enumerable.Range(0, spectrum.Values.Length).Where(i => spectrum.Values[i] > cut).Sum(i => along.Row(i).DotProduct(along.Row(i)) / spectrum.Values[i]);
    }

    /// <summary>
    /// The H-score with a shrunk covariance, which holds where features are many and rows few: tr(Σ⁻¹ (1 - s) cov(E[f | y])) with Σ = (1 - s) cov(f) + s (tr cov(f) / D) I and s by
    /// Ledoit and Wolf's formula.
    /// </summary>
    /// <inheritdoc cref="HScore"/>
    /// <remarks>Ibrahim, Ponomareva and Mazumder: Newer is not always better, rethinking transferability metrics; ECML 2022. All covariances are divided by N.</remarks>
    public static double RegularizedHScore(Tensor features, Tensor labels)
    {
        var (centred, total, centres) = Covariances("RegularizedHScore", features, labels);
        int n = centred.RowCount, d = centred.ColumnCount;
        double scale = total.Trace() / d;
        double distance = total.EnumerateIndexed().Sum(item => Math.Pow(item.Item3 - (item.Item1 == item.Item2 ? scale : 0), 2)); // of the covariance to its shrinkage's target
        var squares = centred.PointwiseMultiply(centred);
        double spread = squares.RowSums().Sum(row => row * row) / n - total.Enumerate().Sum(value => value * value); // of one row's covariance around the mean
        double shrinkage = distance > 0 ? Math.Clamp(spread / n / distance, Negligible, 1) : 1; // never singular
        if (scale == 0)
            return 0; // features that do not vary
        var shrunk = total * (1 - shrinkage) + Matrix<double>.Build.DenseDiagonal(d, shrinkage * scale);
        return (1 - shrinkage) * shrunk.Cholesky().Solve(centres).PointwiseMultiply(centres).Enumerate().Sum();
    }

    /// <summary>The number of rows of each class.</summary>
    internal static int[] CheckLabels(string name, Tensor rows, Tensor labels, int classes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        var counts = new int[classes];
        foreach (int label in Labels(name, rows, labels))
        {
            Check.That(label < classes, $"{name}: label {label} is none of the {classes} classes, 0 to {classes - 1}.");
            counts[label]++;
        }
        return counts;
    }

    private static int[] Labels(string name, Tensor rows, Tensor labels)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(labels);
        Check.Floating(name, rows);
        Check.Integer(name, "labels", labels);
        Check.That(rows.Rank == 2 && labels.Rank == 1 && rows.Shape[0] == labels.Shape[0] && rows.Elements > 0, $"{name}: {rows.Shape} and labels {labels.Shape} must be [N, D] and [N], N and D 1 or more.");
        int[] values = labels.ToArray<int>();
        Check.That(values.Min() >= 0, $"{name}: label {values.Min()} is negative.");
        return values;
    }

    /// <summary>The greatest log-evidence a row, from the eigenvalues of F Fᵀ and the target's squared coordinates along its eigenvectors.</summary>
    private static double Evidence(double[] sigma, double[] squares, double norm, int n, int d)
    {
        const double Least = 1e-100; // keeps a target that fits exactly, or not at all, finite
        double rest = sigma.Length == n ? 0 : Math.Max(0, norm - squares.Sum()); // what no feature reaches
        double alpha = 1, beta = 1, weight = 0, error = 0;
        for (int iteration = 0; iteration < 1000; iteration++)
        {
            double ratio = alpha / beta, freedom = 0, slack = n - sigma.Length; // freedom + slack = n, without cancellation
            (weight, error) = (0, rest);
            for (int i = 0; i < sigma.Length; i++)
            {
                double sum = sigma[i] + ratio;
                freedom += sigma[i] / sum;
                slack += ratio / sum;
                weight += sigma[i] * squares[i] / (sum * sum);
                error += squares[i] * ratio * ratio / (sum * sum);
            }
            alpha = freedom / Math.Max(weight, Least);
            beta = slack / Math.Max(error, Least);
            if (Math.Abs(alpha / beta - ratio) <= 1e-9 * ratio)
                break;
        }
        double determinant = sigma.Sum(value => Math.Log(alpha + beta * value)) + (d - sigma.Length) * Math.Log(alpha);
        return (d * Math.Log(alpha) + n * Math.Log(beta) - determinant - beta * error - alpha * weight - n * Math.Log(2 * Math.PI)) / (2 * n);
    }

    /// <summary>Centred features, their covariance divided by N, and a factor M [D, classes] of that of their classes' means, M Mᵀ.</summary>
    private static (Matrix<double> Centred, Matrix<double> Total, Matrix<double> Centres) Covariances(string name, Tensor features, Tensor labels)
    {
        int[] classes = Labels(name, features, labels);
        var f = Spectrum.Rows(features);
        int n = f.RowCount;
        var mean = f.ColumnSums() / n;
        var sums = Matrix<double>.Build.Dense(f.ColumnCount, classes.Max() + 1);
        for (int i = 0; i < n; i++)
        {
            var row = f.Row(i) - mean;
            f.SetRow(i, row);
            sums.SetColumn(classes[i], sums.Column(classes[i]) + row);
        }
        foreach (var (label, count) in classes.CountBy(label => label))
            sums.SetColumn(label, sums.Column(label) / Math.Sqrt((double)count * n));
        return (f, f.TransposeThisAndMultiply(f) / n, sums);
    }
}
