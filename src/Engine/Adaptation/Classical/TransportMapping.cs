using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// Moves the source's rows onto the target's along an optimal transport plan P of the squared distances between the two uniform samples: each row goes to the mean of where its mass goes,
/// x_i ↦ n Σ_j P_ij t_j. The plan is exact (EMD), or entropic (Sinkhorn), which spreads the mass and is smoother.
/// </summary>
/// <remarks>
/// Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017), sections 3 and 4; the barycentric map is equation 13. A row of the source that was not in the fit
/// moves by as much as the nearest that was, as in Ferradans et al., Regularized Discrete Optimal Transport, SIAM J. Imaging Sciences 7 (2014). The exact plan is computed on the host; its cost grows about as
/// n m (n + m).
/// </remarks>
public sealed class TransportMapping : IFeatureAlignment
{
    private readonly double? regularization;
    private readonly int iterations;

    /// <param name="regularization">The penalty ε of the entropy, in units of the mean squared distance; null for the exact plan.</param>
    /// <param name="iterations">How often each potential is updated, of an entropic plan.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public TransportMapping(double? regularization = null, int iterations = 200)
    {
        if (regularization is { } given && !(given > 0))
            throw new ArgumentOutOfRangeException(nameof(regularization), regularization, "TransportMapping: the regularization is positive, or null for the exact plan.");
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        (this.regularization, this.iterations) = (regularization, iterations);
    }

    /// <inheritdoc/>
    public string Name => regularization is null ? "EMD" : "Sinkhorn";

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A feature is NaN or infinite.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        Tensor source = data.Source.Detach(), target = data.Target.Detach();
        int n = source.Shape[0], m = target.Shape[0];
        var cost = source.PairwiseSquaredDistances(target);
        double mean = cost.Mean().Item();
        if (!double.IsFinite(mean))
            throw new ArgumentException("TransportMapping: a feature of the source or the target is NaN or infinite. Clean the features first.");
        var plan = regularization is { } penalty
            ? new EntropicTransport(Tensor.Full([], mean * penalty + 1e-30, cost.Device, cost.ElementType), iterations).Plan(cost)
            : Tensor.FromDoubles(ExactTransport.Plan(LinearProbe.Doubles(cost), n, m, cancellation), [n, m], cost.Device, cost.ElementType);
        return new Space(scope.Keep(source.Clone()).KeepAlive(), scope.Keep(n * plan.MatMul(target) - source).KeepAlive());
    }

    private sealed class Space(Tensor source, Tensor moves) : IAlignedSpace
    {
        public Tensor Source(Tensor rows)
        {
            Discrepancy.CheckFeatures(nameof(TransportMapping), source, rows, minimumRows: 0);
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            return scope.Keep(rows + moves.IndexSelect(0, rows.PairwiseSquaredDistances(source).ArgMin(1)));
        }

        public Tensor Target(Tensor rows) => rows;
    }
}
