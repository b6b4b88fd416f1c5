using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// Subspace alignment: the source's principal directions P_S are turned onto the target's, P_S (P_Sᵀ P_T), and each domain's centred rows are projected: source (x - μ_S) P_S P_Sᵀ P_T,
/// target (x - μ_T) P_T.
/// </summary>
/// <remarks>Fernando, Habrard, Sebban and Tuytelaars, Unsupervised Visual Domain Adaptation Using Subspace Alignment, ICCV 2013, equations 2 to 4.</remarks>
public sealed class SubspaceAlignment : IFeatureAlignment
{
    private readonly int dimensions;

    /// <param name="dimensions">The directions of each domain, at most as many as it has features or rows.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is below 1.</exception>
    public SubspaceAlignment(int dimensions = 20)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dimensions, 1);
        this.dimensions = dimensions;
    }

    /// <inheritdoc/>
    public string Name => "SA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A domain has fewer features or rows than dimensions.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var (sourceMean, source) = PrincipalComponents.Subspace(nameof(SubspaceAlignment), data.Source.Detach(), dimensions);
        var (targetMean, target) = PrincipalComponents.Subspace(nameof(SubspaceAlignment), data.Target.Detach(), dimensions);
        return LinearSpace.Of(nameof(SubspaceAlignment), new(sourceMean, source.MatMul(source.Transpose().MatMul(target))), new(targetMean, target));
    }
}

/// <summary>
/// The geodesic flow kernel: the inner product of rows projected to all subspaces Φ(t) on the shortest way from the source's principal subspace to the target's,
/// xᵀ G y = ∫₀¹ (Φ(t)ᵀ x)ᵀ (Φ(t)ᵀ y) dt. Both domains are mapped by x ↦ x F with F Fᵀ = G, so that Euclidean distances there are the kernel's.
/// </summary>
/// <remarks>
/// Gong, Shi, Sha and Grauman, Geodesic Flow Kernel for Unsupervised Domain Adaptation, CVPR 2012, equations 5 and 6. With P_Sᵀ P_T = U cos(Θ) Vᵀ, A = P_S U and the directions Q that complete
/// P_T V = A cos Θ + Q sin Θ, the flow is Φ(t) = A cos(tΘ) + Q sin(tΘ), and each principal angle θ gives a 2 by 2 block of G over (A, Q):
/// ½ [1 + sin 2θ / 2θ, (1 - cos 2θ) / 2θ; ·, 1 - sin 2θ / 2θ]. Rows are not centred.
/// </remarks>
public sealed class GeodesicFlowKernel : IFeatureAlignment
{
    private readonly int dimensions;

    /// <param name="dimensions">The directions of each domain, at most half as many as there are features, and as many as there are rows.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is below 1.</exception>
    public GeodesicFlowKernel(int dimensions = 20)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dimensions, 1);
        this.dimensions = dimensions;
    }

    /// <inheritdoc/>
    public string Name => "GFK";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A domain has too few features or rows.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        int d = data.Source.Shape[1];
        Check.That(2 * dimensions <= d, $"GeodesicFlowKernel: {dimensions} dimensions are wanted of {d} features; the flow needs twice as many. Take at most {d / 2}.");
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var source = PrincipalComponents.Subspace(nameof(GeodesicFlowKernel), data.Source.Detach(), dimensions).Basis.To(ElementType.Float64);
        var target = PrincipalComponents.Subspace(nameof(GeodesicFlowKernel), data.Target.Detach(), dimensions).Basis.To(ElementType.Float64);
        return LinearSpace.Same(nameof(GeodesicFlowKernel), null, Root(source, target).To(data.Source.ElementType));
    }

    /// <summary>F, [d, 2k], of two orthonormal bases, [d, k].</summary>
    private static Tensor Root(Tensor source, Tensor target)
    {
        int k = source.Shape[1];
        var svd = Spectrum.Rows(source.Transpose().MatMul(target)).Svd();
        Tensor OnDevice(Matrix<double> matrix) => Tensor.From(matrix.Transpose().ToColumnMajorArray(), [matrix.RowCount, matrix.ColumnCount], source.Device);
        Tensor Diagonal(Func<int, double> value) => Tensor.From([.. Enumerable.Range(0, k).Select(value)], [1, k], source.Device);
        double[] cosines = [.. svd.S.Select(value => Math.Min(1, value))];
        var along = source.MatMul(OnDevice(svd.U));
        var across = target.MatMul(OnDevice(svd.VT.Transpose())) - along * Diagonal(i => cosines[i]);
        double[] sines = across.Square().Sum([0]).Sqrt().ToArray<double>(), angles = new double[k], first = new double[k], mixed = new double[k], second = new double[k];
        for (int i = 0; i < k; i++)
        {
            // The lower triangular root of the block; sin x / x and (1 - cos x) / x by their series where x is small.
            double x = 2 * (angles[i] = Math.Atan2(sines[i], cosines[i]));
            double sinc = x > 1e-4 ? Math.Sin(x) / x : 1 - x * x / 6, slope = x > 1e-4 ? (1 - Math.Cos(x)) / x : x / 2;
            first[i] = Math.Sqrt((1 + sinc) / 2);
            mixed[i] = slope / 2 / first[i];
            second[i] = Math.Sqrt(Math.Max(0, (1 - sinc) / 2 - mixed[i] * mixed[i]));
        }
        var unit = across * Diagonal(i => sines[i] > 1e-9 ? 1 / sines[i] : 0); // a direction without an angle is not left
        return Tensor.Concat([along * Diagonal(i => first[i]) + unit * Diagonal(i => mixed[i]), unit * Diagonal(i => second[i])], 1);
    }
}
