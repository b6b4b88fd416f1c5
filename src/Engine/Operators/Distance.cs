using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Distances between rows, Gaussian kernels of them, and the sums of kernels that maximum mean discrepancies are.</summary>
public sealed partial class Tensor
{
    /// <summary>The squared Euclidean distances between the rows of two matrices: y[i, j] = |x[i] - other[j]|^2, never below 0.</summary>
    /// <param name="other">[m, d]; this tensor, which is [n, d], for the distances among its own rows.</param>
    /// <returns>[n, m].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <remarks>
    /// Computed as |x|^2 + |y|^2 - 2 x y by one matrix product, so the error is relative to the squares of the norms. Gradient for x:
    /// 2 (sum of g over j) x - 2 g y, and alike for y.
    /// </remarks>
    public Tensor PairwiseSquaredDistances(Tensor other)
    {
        ArgumentNullException.ThrowIfNull(other);
        const string Operation = "PairwiseSquaredDistances";
        Check.Alike(Operation, this, other);
        Check.Rank(Operation, "the left operand", this, 2, "[n, d]");
        Check.Rank(Operation, "the right operand", other, 2, "[m, d]");
        Check.That(Shape[1] == other.Shape[1], $"{Operation}: rows of {Shape} and {other.Shape} have different lengths ({Shape[1]}, {other.Shape[1]}).");
        var y = SquaredDistances(this, other);
        if (ReferenceEquals(this, other))
        {
            return Graph.Record(Operation, y, [this], [this], static (g, c) =>
            {
                var both = g + g.Transpose();
                return [2 * (both.Sum([1], keepDim: true) * c[0] - both.MatMul(c[0]))];
            });
        }
        return Graph.Record(Operation, y, [this, other], [this, other], static (g, c) =>
        [
            c.Needs(0) ? 2 * (g.Sum([1], keepDim: true) * c[0] - g.MatMul(c[1])) : null,
            c.Needs(1) ? 2 * (g.Sum([0]).Unsqueeze(1) * c[1] - g.Transpose().MatMul(c[0])) : null,
        ]);
    }

    /// <summary>The sum of Gaussian kernels of squared distances: the sum over k of exp(-x / bandwidths[k]).</summary>
    /// <param name="bandwidths">[K], such as 2 sigma^2. Constants: no gradient flows to them.</param>
    /// <returns>This tensor's shape.</returns>
    /// <exception cref="ShapeException">The bandwidths are no vector.</exception>
    public Tensor GaussianKernel(Tensor bandwidths) => Gaussians(Rates("GaussianKernel", this, bandwidths), 0);

    /// <summary>
    /// The sum over all pairs i, j of rows of weight(i, j) times the sum over k of exp(-|points[i] - points[j]|^2 / bandwidths[k]), in one pass over
    /// one matrix of distances: with weights 1/n^2, -1/(n m) and 1/m^2 the biased squared maximum mean discrepancy of the first n and the other m rows.
    /// </summary>
    /// <param name="points">[n + m, d].</param>
    /// <param name="split">n: how many rows are of the first set.</param>
    /// <param name="first">The weight of a pair in the first set.</param>
    /// <param name="across">The weight of a pair across the sets; each is met twice, as (i, j) and (j, i).</param>
    /// <param name="second">The weight of a pair in the second set.</param>
    /// <param name="bandwidths">Gives the bandwidths [K], told the squared distances [n + m, n + m]. Constants: no gradient flows to them.</param>
    /// <param name="skipDiagonal">Leaves out the pairs of a row with itself.</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">The points are no matrix, or there are fewer than <paramref name="split"/>.</exception>
    /// <remarks>Gradient: 4 (diag(W 1) - W) points, where W are the derivatives by the distances, which the forward pass leaves in their place.</remarks>
    public static Tensor GaussianPairSum(
        Tensor points, int split, double first, double across, double second, Func<Tensor, Tensor> bandwidths, bool skipDiagonal = false)
    {
        ArgumentNullException.ThrowIfNull(points);
        ArgumentNullException.ThrowIfNull(bandwidths);
        const string Operation = "GaussianPairSum";
        Check.Floating(Operation, points);
        Check.Rank(Operation, "the points", points, 2, "[n + m, d]");
        Check.That(split >= 0 && split <= points.Shape[0], $"{Operation}: {points.Shape} can't be split after {split} rows.");
        int rows = points.Shape[0];
        var weights = new PairWeights(split, split, first, across, across, second, skipDiagonal ? 1 : 0);
        Tensor distances, rates, total;
        using (new NoGrad())
        {
            distances = SquaredDistances(points, points);
            rates = Rates(Operation, points, bandwidths(distances));
        }
        bool needed = Graph.Needs(points);
        using (new NoGrad())
        using (var sums = points.AllocateLike([rows]))
        {
            Distances.GaussianSums(points.Device.Compute, rows, rows, weights, needed ? PairGradient.Points : PairGradient.None, distances.Slice, rates.Slice, sums.Slice, distances.Slice);
            total = sums.Sum();
        }
        // From here on the matrix holds 4 (diag(W 1) - W), no distances.
        var result = Graph.Record(Operation, total, [points], [points, distances, rates], (g, c) => [c.CreatesGraph
            ? g * PairSumGradient(c[0], c[2], weights)
            : g * c[1].MatMul(c[0])]);
        distances.Dispose();
        return result;
    }

    /// <summary>The gradient of <see cref="GaussianPairSum"/> in recorded operators.</summary>
    private static Tensor PairSumGradient(Tensor points, Tensor rates, PairWeights weights)
    {
        int rows = points.Shape[0];
        var values = new double[rows * rows];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < rows; j++)
            {
                values[i * rows + j] = i == j && weights.SkipDiagonal != 0 ? 0
                    : i < weights.RowSplit ? j < weights.ColumnSplit ? weights.Weight00 : weights.Weight01 : j < weights.ColumnSplit ? weights.Weight10 : weights.Weight11;
            }
        }
        var slopes = FromDoubles(values, [rows, rows], points.Device, points.ElementType) * points.PairwiseSquaredDistances(points).Gaussians(rates, 1);
        return 4 * (slopes.Sum([1], keepDim: true) * points - slopes.MatMul(points));
    }

    /// <summary>The sum over k of (-rates[k])^order exp(-rates[k] x), which is its own kind of derivative.</summary>
    private Tensor Gaussians(Tensor rates, int order)
    {
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Distances.Gaussian(Device.Compute, order, x.Slice, rates.Slice, y.Slice);
        return Graph.Record("GaussianKernel", y, [this], [this, rates], (g, c) => [g * c[0].Gaussians(c[1], order + 1)]);
    }

    private static Tensor Rates(string operation, Tensor x, Tensor bandwidths)
    {
        Check.Alike(operation, x, bandwidths);
        Check.Rank(operation, "the bandwidths", bandwidths, 1, "[K]");
        using (new NoGrad())
            return 1 / bandwidths;
    }

    private static Tensor SquaredDistances(Tensor x, Tensor y)
    {
        int n = x.Shape[0], m = y.Shape[0], d = x.Shape[1];
        var (device, result) = (x.Device.Compute, x.AllocateLike([n, m]));
        using var left = new Dense(x);
        using var right = new Dense(y);
        Kernels.MatMul.Run(device, new(1, n, m, d), Matrix.RowMajor(left.Slice, n, d), Matrix.RowMajor(right.Slice, m, d).Transposed, result.Slice);
        using var p = x.AllocateLike([n]);
        if (ReferenceEquals(x, y))
        {
            // The products' own diagonal, so that a row's distance to itself is 0 exactly.
            if (n > 0)
                Movement.CopyStrided(device, [n], result.Slice, [n + 1], p.Slice);
            Distances.FromProducts(device, n, m, result.Slice, p.Slice, p.Slice, result.Slice);
            return result;
        }
        using var q = x.AllocateLike([m]);
        Distances.RowSquares(device, n, d, left.Slice, p.Slice);
        Distances.RowSquares(device, m, d, right.Slice, q.Slice);
        Distances.FromProducts(device, n, m, result.Slice, p.Slice, q.Slice, result.Slice);
        return result;
    }
}
