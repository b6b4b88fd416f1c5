namespace TransferEngine.Adaptation;

/// <summary>
/// RSD, for regression: Σ_i sin θ_i over the principal angles between the subspaces that the rows of the source's and of the target's features span, plus β times the mismatch
/// of their bases, ‖ |P_s| - |P_t| ‖_F. It brings the spaces together and, unlike discrepancies of distributions, leaves the scale of features alone, which a regression depends on.
/// </summary>
/// <remarks>
/// Chen et al., Representation Subspace Distance for Domain Adaptation Regression, ICML 2021, and the authors' code: with orthonormal bases of the rows' spans U_s, U_t (right singular vectors, the
/// largest first), U_sᵀ U_t = P_s diag(cos θ) P_tᵀ. Features that one domain has as 0 have rank less than their rows: directions of singular values below 1e-6 of the largest are left out, and where the
/// ranks or the batch sizes differ, the mismatch is of the leading directions. With n + m above d, the spaces meet in directions whose angles are 0 and stay so: sines
/// below 1e-6 count as 0 and have no gradient; take batches smaller than half the number of features. Computed in float64, the decompositions on the host, which waits for the device;
/// the gradient is exact where singular values differ and no entry of P is 0; gradients of gradients do not see the vectors' own change.
/// In the authors' total the distance weighs 0.001, in half of MPI3D's tasks 0.003. Their code runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class RepresentationSubspaceDistance : IDiscrepancy
{
    private readonly double basesWeight;

    /// <param name="basesWeight">β, 0 or more; the authors' script for MPI3D takes 0.03, that for dSprites 0.1 (0.01 from color to scream).</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public RepresentationSubspaceDistance(double basesWeight = 0.03)
    {
        if (!(basesWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(basesWeight), basesWeight, "RepresentationSubspaceDistance: the weight of the bases' mismatch is 0 or more.");
        this.basesWeight = basesWeight;
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(RepresentationSubspaceDistance), source, target);
        Check.That(source.Shape[1] > 0, $"RepresentationSubspaceDistance: {source.Shape} has no features. Give one or more.");
        Tensor s = Span(source), t = Span(target);
        if (s.Elements == 0 || t.Elements == 0)
            return (source.Sum() + target.Sum()) * 0; // no rank, no angle
        var (left, cosines, right) = SingularDecomposition.Of(s.MatMulInFull(t.Transpose()), tolerance: 0);
        var squares = 1 - cosines.Square();
        var isZero = squares.LessOrEqual(1e-12);
        var value = Tensor.Where(isZero, isZero * 0, Tensor.Where(isZero, isZero, squares).Sqrt()).Sum();
        if (basesWeight > 0)
        {
            int common = Math.Min(s.Shape[0], t.Shape[0]);
            value += (left.Narrow(1, 0, common).Abs() - right.Narrow(1, 0, common).Abs()).Norm() * basesWeight;
        }
        return value.To(source.ElementType);
    }

    /// <summary>An orthonormal basis of what the rows span, a vector a row. No number is decomposed in a training that has diverged.</summary>
    private static Tensor Span(Tensor rows)
    {
        var wide = rows.To(ElementType.Float64);
        using (new NoGrad())
        {
            double sum = wide.Detach().Square().Sum().Item();
            if (!double.IsFinite(sum))
                return wide * double.NaN;
            if (sum == 0)
                return wide.Narrow(0, 0, 0);
        }
        return SingularDecomposition.Of(wide, tolerance: 1e-6).Right;
    }
}
