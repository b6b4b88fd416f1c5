namespace TransferEngine.Adaptation;

/// <summary>
/// The moment distance of several domains: Σ_k ((1/N) Σ_i ‖E s_i^k - E t^k‖ + (2 / (N (N - 1))) Σ_{i &lt; j} ‖E s_i^k - E s_j^k‖), with N sources s_i, a target
/// t, and element-wise powers k from 1 on.
/// </summary>
/// <remarks>Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, definition 1 with the norms of section 4.1; k up to 2. A distance of 0 has the gradient 0. The authors' code measures
/// something else: of batches centred to mean 0 the distances row by row in place of the first moments, then those of higher powers, and a sixth of the sum, in which one pair of its four sources stands twice and one never.</remarks>
public sealed class MomentDistance
{
    private readonly int moments;

    /// <param name="moments">How many powers.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is none.</exception>
    public MomentDistance(int moments = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(moments, 1);
        this.moments = moments;
    }

    /// <summary>Measures.</summary>
    /// <param name="sources">Features of each source domain, [n_i, d].</param>
    /// <param name="target">Features of the target domain, [m, d].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ArgumentException">There is no source.</exception>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(IReadOnlyList<Tensor> sources, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(sources);
        if (sources.Count == 0)
            throw new ArgumentException("MomentDistance: there is no source domain. Give one or more.", nameof(sources));
        foreach (var source in sources)
            Discrepancy.CheckFeatures(nameof(MomentDistance), source, target);
        Tensor? sum = null;
        for (int k = 1; k <= moments; k++)
        {
            Tensor[] means = [.. sources.Select(Mean)];
            var toTarget = Mean(target);
            Add(means.Select(mean => mean - toTarget), sources.Count);
            Add(means.SelectMany((mean, i) => means.Skip(i + 1).Select(other => mean - other)), sources.Count * (sources.Count - 1) / 2);

            Tensor Mean(Tensor x) => (k == 1 ? x : x.Pow(k)).Mean([0]);
        }
        return sum!;

        void Add(IEnumerable<Tensor> differences, int count)
        {
            foreach (var difference in differences)
            {
                var part = difference.Norm() / count;
                sum = sum is null ? part : sum + part;
            }
        }
    }
}
