namespace TransferEngine.Adaptation;

/// <summary>A kernel k(x, y) of two rows of features: what a maximum mean discrepancy compares distributions under.</summary>
public abstract class SampleKernel
{
    /// <summary>The kernel of all pairs of rows of both domains; differentiable.</summary>
    /// <param name="points">[n + m, d], the source's rows first.</param>
    /// <param name="sourceRows">n.</param>
    /// <returns>[n + m, n + m].</returns>
    public abstract Tensor Matrix(Tensor points, int sourceRows);

    /// <summary>The kernel of each row of one matrix with the row in its place in another; differentiable.</summary>
    /// <param name="left">[k, d].</param>
    /// <param name="right">[k, d].</param>
    /// <param name="points">All rows, [n + m, d], the source's first: what a bandwidth is taken from.</param>
    /// <param name="sourceRows">n.</param>
    /// <returns>[k].</returns>
    public abstract Tensor Paired(Tensor left, Tensor right, Tensor points, int sourceRows);

    /// <summary>As <see cref="Matrix(Tensor, int)"/>, with what it takes from data, such as a bandwidth, taken from the rows that count alone; a kernel that takes nothing, or is not of this library, looks at no count.</summary>
    /// <param name="points">[n + m, d].</param>
    /// <param name="sourceRows">n.</param>
    /// <param name="counted">1 for rows that count, else 0; [n + m], a constant.</param>
    internal virtual Tensor Matrix(Tensor points, int sourceRows, Tensor counted) => Matrix(points, sourceRows);

    /// <summary>The kernel of any rows, [k, d], with given points, [k, n + m]; what it takes from data, such as a bandwidth, is taken from those points, once.</summary>
    internal virtual Func<Tensor, Tensor> Against(Tensor points, int sourceRows)
    {
        points.KeepAlive();
        return rows => Matrix(Tensor.Concat([points, rows]), sourceRows).Narrow(0, points.Shape[0], rows.Shape[0]).Narrow(1, 0, points.Shape[0]);
    }
}

/// <summary>What a kernel's base bandwidth is taken from, anew for each pair of batches. No gradient flows through it.</summary>
public enum BandwidthRule
{
    /// <summary>The mean squared distance over all pairs of different rows of both domains; under a linear-time estimator, over the pairs that it looks at.</summary>
    Mean,

    /// <summary>The sum of the squared distances of all pairs over (n + m)², pairs of a row with itself counted: tllib's.</summary>
    MeanWithDiagonal,

    /// <summary>The median squared distance over all pairs of different rows of both domains: Gretton et al. 2012, section 8.</summary>
    Median,

    /// <summary>The median squared distance over the source's n² pairs, pairs of a row with itself counted: pytorch-adapt's and skada's.</summary>
    SourceMedian,
}

/// <summary>
/// A mixture of kernels that depend on the distance alone, Σ_u w_u κ_u(‖x - y‖² / (f_u b)), with factors f_u, weights w_u and a base bandwidth b, a
/// squared length, that is given or taken from the data by a <see cref="BandwidthRule"/>.
/// </summary>
public abstract class RadialKernel : SampleKernel
{
    /// <param name="factors">What the base bandwidth is multiplied by, one for each kernel.</param>
    /// <param name="bandwidth">The base, a squared length; by the rule if null.</param>
    /// <param name="rule">Where the base is taken from if none is given.</param>
    /// <param name="weights">What the kernels weigh; equal and of sum 1 if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A factor or the bandwidth is not positive, or a weight is negative.</exception>
    /// <exception cref="ArgumentException">The weights are not as many as the factors.</exception>
    protected RadialKernel(IReadOnlyList<double> factors, double? bandwidth, BandwidthRule rule, IReadOnlyList<double>? weights)
    {
        ArgumentNullException.ThrowIfNull(factors);
        string name = GetType().Name;
        Factors = [.. factors];
        Weights = weights is null ? [.. Factors.Select(_ => 1.0 / Factors.Count)] : [.. weights];
        if (Factors.Count == 0 || Factors.Any(factor => !(factor > 0)))
            throw new ArgumentOutOfRangeException(nameof(factors), $"{name}: bandwidth factors are one or more positive numbers, got [{string.Join(", ", Factors)}].");
        if (bandwidth is { } given && !(given > 0))
            throw new ArgumentOutOfRangeException(nameof(bandwidth), given, $"{name}: a bandwidth is positive.");
        if (Weights.Count != Factors.Count)
            throw new ArgumentException($"{name}: {Weights.Count} weights for {Factors.Count} factors; one for each is wanted.", nameof(weights));
        if (Weights.Any(weight => !(weight >= 0)))
            throw new ArgumentOutOfRangeException(nameof(weights), $"{name}: weights are 0 or more, got [{string.Join(", ", Weights)}].");
        (Bandwidth, Rule) = (bandwidth, rule);
    }

    /// <summary>What the base bandwidth is multiplied by, one for each kernel.</summary>
    public IReadOnlyList<double> Factors { get; }

    /// <summary>What each kernel weighs.</summary>
    public IReadOnlyList<double> Weights { get; }

    /// <summary>The base bandwidth, or null where the rule gives it.</summary>
    public double? Bandwidth { get; }

    /// <summary>Where the base bandwidth is taken from if none is given.</summary>
    public BandwidthRule Rule { get; }

    /// <summary>What the rule's base is never below, a squared length, so that rows that are all but the same get no huge gradient; 0, no bound, unless set.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public double LeastBandwidth
    {
        get;
        init => field = value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(LeastBandwidth), value, $"{GetType().Name}: the least bandwidth is 0 or more.");
    }

    /// <inheritdoc/>
    public sealed override Tensor Matrix(Tensor points, int sourceRows)
    {
        ArgumentNullException.ThrowIfNull(points);
        var distances = points.PairwiseSquaredDistances(points);
        return Of(distances, Bandwidths(distances, sourceRows));
    }

    internal sealed override Tensor Matrix(Tensor points, int sourceRows, Tensor counted)
    {
        var distances = points.PairwiseSquaredDistances(points);
        return Of(distances, Bandwidths(distances, sourceRows, counted));
    }

    /// <inheritdoc/>
    public sealed override Tensor Paired(Tensor left, Tensor right, Tensor points, int sourceRows)
    {
        ArgumentNullException.ThrowIfNull(left);
        ArgumentNullException.ThrowIfNull(points);
        var distances = (left - right).Square().Sum([1]);
        Tensor bandwidths;
        using (new NoGrad())
        {
            bandwidths = Bandwidth is not null || Rule == BandwidthRule.Mean
                ? Scaled(distances, Bandwidth is null ? distances.Mean() : null)
                : Bandwidths(points.PairwiseSquaredDistances(points), sourceRows);
        }
        return Of(distances, bandwidths);
    }

    internal sealed override Func<Tensor, Tensor> Against(Tensor points, int sourceRows)
    {
        Tensor bandwidths;
        using (var scope = new TensorScope())
            bandwidths = scope.Keep(Bandwidths(points.PairwiseSquaredDistances(points), sourceRows));
        (points, bandwidths) = (points.KeepAlive(), bandwidths.KeepAlive());
        return rows => Of(rows.PairwiseSquaredDistances(points), bandwidths);
    }

    /// <summary>The mixture of squared distances.</summary>
    /// <param name="squaredDistances">Any shape.</param>
    /// <param name="bandwidths">One for each kernel, [K]; constants.</param>
    /// <returns>The distances' shape.</returns>
    protected abstract Tensor Of(Tensor squaredDistances, Tensor bandwidths);

    /// <summary>The bandwidths f_u b, [K], on the device: nothing waits for them. Of the rows that count, where some don't.</summary>
    internal Tensor Bandwidths(Tensor distances, int sourceRows, Tensor? counted = null)
    {
        using (new NoGrad())
        {
            if (Bandwidth is not null)
                return Scaled(distances, null);
            distances = distances.Detach();
            if (Rule is BandwidthRule.Median or BandwidthRule.SourceMedian)
            {
                bool ofSource = Rule == BandwidthRule.SourceMedian;
                return Scaled(distances, ofSource
                    ? Median(distances.Narrow(0, 0, sourceRows).Narrow(1, 0, sourceRows), counted?.Narrow(0, 0, sourceRows), ownPairs: true)
                    : Median(distances, counted, ownPairs: false));
            }
            // The diagonal of the distances is 0, so their sum is one over pairs of different elements.
            bool withDiagonal = Rule == BandwidthRule.MeanWithDiagonal;
            if (counted is not null)
            {
                var count = counted.Sum();
                return Scaled(distances, (distances * counted * counted.Unsqueeze(1)).Sum() / (count * (withDiagonal ? count : count - 1)).Clamp(1, double.MaxValue));
            }
            double rows = distances.Shape[0];
            return Scaled(distances, withDiagonal ? distances.Mean() : distances.Sum() / Math.Max(1, rows * (rows - 1)));
        }
    }

    /// <summary>Sums kernels of single bandwidths, each with its weight.</summary>
    /// <param name="bandwidths">[K].</param>
    /// <param name="kernel">One kernel, told its bandwidth, [1], and its place.</param>
    private protected Tensor Mixture(Tensor bandwidths, Func<Tensor, int, Tensor> kernel)
    {
        Tensor? sum = null;
        for (int u = 0; u < Weights.Count; u++)
        {
            if (Weights[u] == 0 && (sum is not null || u + 1 < Weights.Count))
                continue;
            var term = kernel(bandwidths.Narrow(0, u, 1), u) * Weights[u];
            sum = sum is null ? term : sum + term;
        }
        return sum!;
    }

    /// <summary>The distances themselves; the root's gradient, which has no limit at 0, is taken as 0 there.</summary>
    internal static Tensor Root(Tensor squaredDistances)
    {
        var isZero = squaredDistances.Equal(0);
        return Tensor.Where(isZero, isZero * 0, (squaredDistances + isZero).Sqrt());
    }

    /// <summary>A base of 0, of rows that are all the same, is lifted a little.</summary>
    private Tensor Scaled(Tensor like, Tensor? found)
    {
        var factors = Tensor.FromDoubles([.. Factors.Select(factor => factor * (Bandwidth ?? 1))], [Factors.Count], like.Device, like.ElementType);
        if (found is null)
            return factors;
        return factors * (LeastBandwidth > 0 ? found.Clamp(LeastBandwidth, double.MaxValue) : found + 1e-30);
    }

    /// <summary>The lower median of all distances, or of one for each pair of different rows, as PyTorch's; on the device.</summary>
    private static Tensor Median(Tensor distances, Tensor? counted, bool ownPairs)
    {
        int rows = distances.Shape[0];
        int[] below = ownPairs ? [] : [.. Enumerable.Range(0, rows).SelectMany(i => Enumerable.Range(i * rows, i))];
        var all = Pairs(distances);
        if (all.Elements == 0)
            return Tensor.Zeros([], distances.Device, distances.ElementType);
        if (counted is null)
            return all.Sort().Values.Narrow(0, (all.Elements - 1) / 2, 1).Reshape([]);
        // Pairs that do not count are sorted behind all others.
        var known = Pairs(counted * counted.Unsqueeze(1));
        var place = ((known.Sum([0], keepDim: true) - 1) * 0.5).Clamp(0, rows * (double)rows).To(ElementType.Int32);
        return (all * known + (1 - known) * 1e30).Sort().Values.IndexSelect(0, place).Reshape([]);

        Tensor Pairs(Tensor square) => ownPairs ? square.Reshape(-1) : square.Reshape(-1).IndexSelect(0, Tensor.From(below, square.Device));
    }
}
