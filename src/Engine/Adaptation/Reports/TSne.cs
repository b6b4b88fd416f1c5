namespace TransferEngine.Adaptation;

/// <summary>Where a <see cref="TSne"/> stands.</summary>
/// <param name="Iteration">The iterations done.</param>
/// <param name="Iterations">All of them.</param>
public readonly record struct TSneProgress(int Iteration, int Iterations);

/// <summary>
/// t-distributed stochastic neighbour embedding: lays rows out in few dimensions, for pictures, so that rows that are close stay close. Minimises
/// KL(P || Q) by gradient descent with momentum and gains, where P are Gaussian neighbourhoods of one perplexity and Q those of Student's t with one degree
/// of freedom. Exact: time and memory grow with the square of the rows. The products and distances run on the rows' device.
/// </summary>
/// <remarks>
/// Van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9 (2008); the layout begins at the principal components, as Kobak and Berens, The art of using
/// t-SNE for single-cell transcriptomics, Nature Communications 10 (2019) advise. Axes, distances between clusters and their sizes mean nothing.
/// </remarks>
public sealed class TSne
{
    private const int Exaggerated = 250, MostRows = 10_000;
    private const double EarlyMomentum = 0.5, LateMomentum = 0.8, StartDeviation = 1e-4;

    /// <summary>The dimensions of the layout.</summary>
    public int Dimensions { get; init; } = 2;

    /// <summary>The number of neighbours that a row is meant to have; below a third of the number of rows.</summary>
    public double Perplexity { get; init; } = 30;

    /// <summary>Steps of the gradient descent; in the first 250 the neighbourhoods are exaggerated.</summary>
    public int Iterations { get; init; } = 750;

    /// <summary>What P is multiplied by in the beginning.</summary>
    public double Exaggeration { get; init; } = 12;

    /// <summary>The step size of the gradient descent; if null N / (4 · exaggeration), 50 at least.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Lays rows out.</summary>
    /// <param name="rows">[N, d], floating, from 4 to 10,000 rows.</param>
    /// <param name="progress">Hears of each iteration.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <returns>[N, <see cref="Dimensions"/>], centred.</returns>
    /// <exception cref="ShapeException">There are too few or too many rows, too few features, or the perplexity does not fit the number of rows.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public Tensor Embed(Tensor rows, IProgress<TSneProgress>? progress = null, CancellationToken cancellation = default)
    {
        const string Name = nameof(TSne);
        ArgumentNullException.ThrowIfNull(rows);
        Check.Floating(Name, rows);
        Check.Rank(Name, "rows", rows, 2, "[N, d]");
        int n = rows.Shape[0];
        Check.That(n is >= 4 and <= MostRows, $"{Name}: {n} rows; wanted 4 to {MostRows}, since memory grows with their square. Take a sample.");
        Check.That(Perplexity >= 1 && Perplexity < n / 3.0, $"{Name}: a perplexity of {Perplexity} for {n} rows; wanted 1 or more, and fewer than a third of the rows.");
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var neighbours = Neighbourhoods(rows, cancellation);
        var exaggerated = neighbours * Exaggeration;
        var offDiagonal = 1 - Tensor.Eye(n, rows.Device, rows.ElementType);
        double rate = LearningRate ?? Math.Max(n / Exaggeration / 4, 50);
        var y = Start(rows).KeepAlive();
        var velocity = Tensor.Zeros(y.Shape, y.Device, y.ElementType).KeepAlive();
        var gains = Tensor.Ones(y.Shape, y.Device, y.ElementType).KeepAlive();
        for (int i = 0; i < Iterations; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var step = new TensorScope();
            // The gradient for row i is 4 sum_j (p_ij - q_ij) t_ij (y_i - y_j), with Student's t_ij = 1 / (1 + |y_i - y_j|^2) and q = t / sum t.
            var kernel = (y.PairwiseSquaredDistances(y) + 1).Reciprocal() * offDiagonal;
            var force = ((i < Exaggerated ? exaggerated : neighbours) - kernel / kernel.Sum()) * kernel;
            var gradient = (force.Sum([1], keepDim: true) * y - force.MatMul(y)) * 4;
            var agrees = (gradient * velocity).Greater(0);
            gains.Assign((agrees * (gains * 0.8) + (1 - agrees) * (gains + 0.2)).Clamp(0.01, double.PositiveInfinity));
            velocity.Assign(velocity * (i < Exaggerated ? EarlyMomentum : LateMomentum) - gains * gradient * rate);
            var moved = y + velocity;
            y.Assign(moved - moved.Mean([0], keepDim: true));
            progress?.Report(new(i + 1, Iterations));
        }
        velocity.Dispose();
        gains.Dispose();
        return y;
    }

    /// <summary>P: for each row Gaussian weights of the others whose entropy is the logarithm of the perplexity, made symmetric, of sum 1.</summary>
    private Tensor Neighbourhoods(Tensor rows, CancellationToken cancellation)
    {
        int n = rows.Shape[0];
        double[] distances = rows.PairwiseSquaredDistances(rows).To(ElementType.Float64).ToArray<double>();
        var p = new double[n * n];
        Parallel.For(0, n, new ParallelOptions { CancellationToken = cancellation }, row => Neighbours(distances.AsSpan(row * n, n), row, p.AsSpan(row * n, n)));
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j <= i; j++)
                p[i * n + j] = p[j * n + i] = (p[i * n + j] + p[j * n + i]) / (2.0 * n);
        }
        return Tensor.FromDoubles(p, [n, n], rows.Device, rows.ElementType);
    }

    /// <summary>Halves an interval of the precision 1 / (2 sigma^2) until the entropy is right.</summary>
    private void Neighbours(ReadOnlySpan<double> distances, int self, Span<double> weights)
    {
        double wanted = Math.Log(Perplexity), low = 0, high = double.PositiveInfinity, nearest = double.PositiveInfinity;
        for (int j = 0; j < distances.Length; j++)
        {
            if (j != self)
                nearest = Math.Min(nearest, distances[j]);
        }
        double mean = 0;
        for (int j = 0; j < distances.Length; j++)
            mean += (distances[j] - (j == self ? 0 : nearest)) / distances.Length;
        double precision = mean > 0 ? 1 / mean : 1, sum = 1;
        for (int halving = 0; halving < 64; halving++)
        {
            (sum, double weighted) = (0, 0);
            for (int j = 0; j < distances.Length; j++)
            {
                weights[j] = j == self ? 0 : Math.Exp(-(distances[j] - nearest) * precision);
                sum += weights[j];
                weighted += weights[j] * (distances[j] - nearest);
            }
            double entropy = Math.Log(sum) + precision * weighted / sum;
            if (Math.Abs(entropy - wanted) < 1e-8)
                break;
            if (entropy > wanted)
                (low, precision) = (precision, double.IsPositiveInfinity(high) ? precision * 2 : (precision + high) / 2);
            else
                (high, precision) = (precision, (low + precision) / 2);
        }
        for (int j = 0; j < weights.Length; j++)
            weights[j] /= sum;
    }

    /// <summary>The first principal components, so small that the first steps are alike for all rows.</summary>
    private Tensor Start(Tensor rows)
    {
        var (mean, basis) = PrincipalComponents.Subspace(nameof(TSne), rows, Dimensions);
        var layout = (rows - mean).MatMul(basis);
        double deviation = Math.Sqrt(layout.Narrow(1, 0, 1).Square().Mean().Item());
        return layout * (deviation > 0 ? StartDeviation / deviation : 0);
    }
}
