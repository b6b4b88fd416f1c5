using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>Eigenproblems of symmetric matrices, in float64: the decompositions by MathNet on the host, the products on the matrices' device.</summary>
internal static class Eigenproblem
{
    /// <summary>The eigenvectors of the greatest eigenvalues of a matrix, the greatest first, orthonormal columns, [d, k]; each with its entry of greatest magnitude positive.</summary>
    public static Tensor Greatest(Tensor symmetric, int count) => Columns(Decompose(symmetric).Vectors, count, symmetric.Device);

    /// <summary>
    /// The solutions of A w = φ B w of the greatest φ, the greatest first, with Wᵀ B W = I: B = L Lᵀ, and L⁻¹ A L⁻ᵀ has the same φ and the eigenvectors Lᵀ w.
    /// </summary>
    /// <param name="name">Whose problem it is, for errors.</param>
    /// <param name="a">[p, p], symmetric, Float64.</param>
    /// <param name="b">[p, p], symmetric and positive, Float64.</param>
    /// <param name="count">k.</param>
    /// <returns>φ, [1, k], and W, [p, k].</returns>
    public static (Tensor Values, Tensor Vectors) Generalized(string name, Tensor a, Tensor b, int count)
    {
        var inverse = InverseRoot(name, b);
        var (values, vectors) = Decompose(inverse.MatMul(a).MatMul(inverse.Transpose()));
        double[] greatest = [.. values.Reverse().Take(count)];
        return (Tensor.From(greatest, [1, count], a.Device), inverse.Transpose().MatMul(Columns(vectors, count, a.Device)));
    }

    /// <summary>U f(λ) Uᵀ of a symmetric matrix of eigenvalues λ, those below 0, which are rounding, taken as 0; Float64.</summary>
    public static Tensor Function(Tensor symmetric, Func<double, double> function)
    {
        var (values, vectors) = Decompose(symmetric);
        var rows = Tensor.From(vectors.ToColumnMajorArray(), [values.Length, values.Length], symmetric.Device); // an eigenvector a row
        return rows.Transpose().MatMul(rows * Tensor.From(Array.ConvertAll(values, value => function(value)), [values.Length, 1], symmetric.Device));
    }

    /// <summary>L of a positive matrix L Lᵀ.</summary>
    public static Tensor Root(string name, Tensor positive) => Tensor.From(Factor(name, positive).Transpose().ToColumnMajorArray(), positive.Shape, positive.Device);

    /// <summary>L⁻¹ of a positive matrix L Lᵀ.</summary>
    public static Tensor InverseRoot(string name, Tensor positive)
    {
        int n = positive.Shape[0];
        double[] factor = Factor(name, positive).Transpose().ToColumnMajorArray(), inverse = new double[n * n];
        for (int i = 0; i < n; i++)
        {
            // Row i of the inverse: from the rows above it.
            var row = inverse.AsSpan(i * n, n);
            double pivot = 1 / factor[i * n + i];
            for (int k = 0; k < i; k++)
            {
                double times = factor[i * n + k] * pivot;
                var above = inverse.AsSpan(k * n, k + 1);
                for (int j = 0; j <= k; j++)
                    row[j] -= times * above[j];
            }
            row[i] = pivot;
        }
        return Tensor.From(inverse, positive.Shape, positive.Device);
    }

    /// <summary>The unit matrix, Float64.</summary>
    public static Tensor Identity(int size, Device device)
    {
        var diagonal = new double[size * size];
        for (int i = 0; i < size; i++)
            diagonal[i * size + i] = 1;
        return Tensor.From(diagonal, [size, size], device);
    }

    private static Matrix<double> Factor(string name, Tensor positive)
    {
        try
        {
            return Symmetric(positive).Cholesky().Factor;
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"{name}: a matrix {positive.Shape} that has to be positive is not. Features that are NaN or depend on each other do that; raise the regularization.", e);
        }
    }

    private static Spectrum Decompose(Tensor symmetric) => Spectrum.Of(Symmetric(symmetric));

    /// <summary>The tensor on the host, the asymmetry of its rounding gone.</summary>
    private static Matrix<double> Symmetric(Tensor x)
    {
        var matrix = Spectrum.Rows(x);
        return (matrix + matrix.Transpose()) * 0.5;
    }

    /// <summary>The last columns in reverse order, [d, k].</summary>
    private static Tensor Columns(Matrix<double> vectors, int count, Device device)
    {
        int d = vectors.RowCount;
        var columns = new double[d * count];
        for (int j = 0; j < count; j++)
        {
            var vector = vectors.Column(d - 1 - j);
            double sign = vector[vector.AbsoluteMaximumIndex()] < 0 ? -1 : 1;
            for (int i = 0; i < d; i++)
                columns[i * count + j] = sign * vector[i];
        }
        return Tensor.From(columns, [d, count], device);
    }
}
