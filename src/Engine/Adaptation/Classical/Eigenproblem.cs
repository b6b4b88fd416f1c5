using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>Eigenvectors of symmetric matrices, by MathNet on the host in float64; the matrices come from the device and the vectors go there.</summary>
internal static class Eigenproblem
{
    /// <summary>The eigenvectors of the greatest eigenvalues, the greatest first, orthonormal columns [d, k], each with its entry of greatest magnitude positive.</summary>
    public static Tensor Greatest(Tensor symmetric, int count) => Columns(Spectrum.Of(Symmetric(symmetric)).Vectors, count, symmetric);

    /// <summary>The tensor on the host, its rounding's asymmetry gone.</summary>
    public static Matrix<double> Symmetric(Tensor x)
    {
        var matrix = Spectrum.Rows(x);
        return (matrix + matrix.Transpose()) * 0.5;
    }

    /// <summary>The last columns in reverse order, on the device of a tensor and of its type.</summary>
    private static Tensor Columns(Matrix<double> vectors, int count, Tensor like)
    {
        int d = vectors.RowCount;
        var columns = new double[d * count];
        for (int j = 0; j < count; j++)
        {
            var vector = vectors.Column(vectors.ColumnCount - 1 - j);
            double sign = vector[vector.AbsoluteMaximumIndex()] < 0 ? -1 : 1;
            for (int i = 0; i < d; i++)
                columns[i * count + j] = sign * vector[i];
        }
        return Tensor.FromDoubles(columns, [d, count], like.Device, like.ElementType);
    }
}
