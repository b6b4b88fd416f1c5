using MathNet.Numerics.LinearAlgebra;

namespace TransferEngine.Transfer;

/// <summary>Eigenvalues, ascending and none below 0, and eigenvectors, the columns, of a Gram matrix; in float64 on the host.</summary>
internal readonly record struct Spectrum(double[] Values, Matrix<double> Vectors)
{
    public static Spectrum Of(Matrix<double> gram)
    {
        var decomposition = gram.Evd(Symmetricity.Symmetric);
        return new([.. decomposition.EigenValues.Select(value => Math.Max(0, value.Real))], decomposition.EigenVectors);
    }

    /// <summary>The rows of a tensor [N, D] as float64.</summary>
    public static Matrix<double> Rows(Tensor x)
    {
        using var wide = x.Detach().To(ElementType.Float64);
        return Matrix<double>.Build.DenseOfRowMajor(x.Shape[0], x.Shape[1], wide.ToArray<double>());
    }
}
