namespace TransferEngine.Adaptation;

/// <summary>
/// CORAL: the source's rows are whitened and re-coloured with the target's covariance, x ↦ (x - μ_S) (C_S + λI)^-½ (C_T + λI)^½ + μ_T; the target's stay. The aligned source then has the
/// target's mean and, for small λ, its covariance.
/// </summary>
/// <remarks>
/// Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016, algorithm 1, with λ = 1 as there; it takes both domains as centred, the means here are what that comes to for features that
/// are not. Covariances are divided by n - 1.
/// </remarks>
public sealed class CorrelationAlignment : IFeatureAlignment
{
    private readonly double regularization;

    /// <param name="regularization">λ, what is added to each variance.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public CorrelationAlignment(double regularization = 1)
    {
        if (!(regularization > 0))
            throw new ArgumentOutOfRangeException(nameof(regularization), regularization, "CorrelationAlignment: the regularization is positive.");
        this.regularization = regularization;
    }

    /// <inheritdoc/>
    public string Name => "CORAL";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A domain has fewer than two rows.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        Discrepancy.CheckFeatures(nameof(CorrelationAlignment), data.Source, data.Target, minimumRows: 2);
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        Tensor source = data.Source.Detach(), target = data.Target.Detach();
        var white = Eigenproblem.Function(DeepCoral.Covariance(source.To(ElementType.Float64)), variance => 1 / Math.Sqrt(variance + regularization));
        var colour = Eigenproblem.Function(DeepCoral.Covariance(target.To(ElementType.Float64)), variance => Math.Sqrt(variance + regularization));
        return new Space(new AffineMap(source.Mean([0], keepDim: true), white.MatMul(colour).To(source.ElementType), target.Mean([0], keepDim: true)).KeepAlive());
    }

    private sealed class Space(AffineMap source) : IAlignedSpace
    {
        public Tensor Source(Tensor rows) => source.Apply(nameof(CorrelationAlignment), rows);

        public Tensor Target(Tensor rows) => rows;
    }
}
