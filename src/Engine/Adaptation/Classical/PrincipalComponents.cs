namespace TransferEngine.Adaptation;

/// <summary>
/// Principal component analysis of both domains together: Z = (X - μ) W with the k eigenvectors W of the greatest eigenvalues of the pooled covariance. It ignores that there are two
/// domains, which makes it what subspace methods are compared with.
/// </summary>
/// <remarks>Pearson 1901; as a baseline of adaptation: Pan et al., Domain Adaptation via Transfer Component Analysis, IEEE TNN 22 (2011).</remarks>
public sealed class PrincipalComponents : IFeatureAlignment
{
    private readonly int dimensions;

    /// <param name="dimensions">k, at most as many as there are features.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is below 1.</exception>
    public PrincipalComponents(int dimensions = 20)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dimensions, 1);
        this.dimensions = dimensions;
    }

    /// <inheritdoc/>
    public string Name => "PCA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are fewer features than dimensions.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var both = Tensor.Concat([data.Source.Detach(), data.Target.Detach()]);
        var (mean, basis) = Subspace(nameof(PrincipalComponents), both, dimensions);
        return LinearSpace.Same(nameof(PrincipalComponents), mean, basis);
    }

    /// <summary>The mean of rows, [1, d], and the directions of greatest variance, orthonormal columns, [d, k].</summary>
    internal static (Tensor Mean, Tensor Basis) Subspace(string name, Tensor rows, int dimensions)
    {
        int d = rows.Shape[1];
        Check.That(dimensions <= Math.Min(d, rows.Shape[0]), $"{name}: {dimensions} dimensions are wanted of rows {rows.Shape}; there are at most {Math.Min(d, rows.Shape[0])}. Take fewer dimensions.");
        using var scope = new TensorScope();
        var mean = rows.Mean([0], keepDim: true);
        var centred = (rows - mean).To(ElementType.Float64);
        return (scope.Keep(mean), scope.Keep(Eigenproblem.Greatest(centred.Transpose().MatMul(centred), dimensions).To(rows.ElementType)));
    }
}
