using MathNet.Numerics.LinearAlgebra;
using MathNet.Numerics.LinearAlgebra.Factorization;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// The singular value decomposition A = U diag(s) Vᵀ, the largest values first, of float64 on the host; differentiable in all three parts, of which a
/// loss must not depend on the signs of the vectors.
/// </summary>
/// <param name="Left">Uᵀ, [k, m]: a vector a row.</param>
/// <param name="Values">s, [k].</param>
/// <param name="Right">Vᵀ, [k, n].</param>
internal readonly record struct SingularDecomposition(Tensor Left, Tensor Values, Tensor Right)
{
    /// <summary>Decomposes.</summary>
    /// <param name="matrix">[m, n], float64.</param>
    /// <param name="tolerance">Values of at most this part of the largest are left out, and their vectors.</param>
    /// <remarks>
    /// Gradient: Townsend, Differentiating the Singular Value Decomposition (2016), equations 31 to 33. Between values so close that their vectors have no derivative, it is taken as 0, as is that of
    /// the vectors of a value of 0.
    /// </remarks>
    public static SingularDecomposition Of(Tensor matrix, double tolerance)
    {
        int m = matrix.Shape[0], n = matrix.Shape[1];
        var (u, s, v) = Decompose(Spectrum.Rows(matrix), tolerance);
        int k = s.Length;
        var packed = Tensor.FromDoubles([.. Enumerable.Range(0, k).SelectMany(i => u.Column(i).Concat(v.Column(i)).Append(s[i]))], [k, m + n + 1], matrix.Device, matrix.ElementType);
        var recorded = Graph.Record("SingularDecomposition", packed, [matrix], [], (g, _) =>
        {
            var rows = Spectrum.Rows(g);
            var gradient = Gradient(u, s, v, rows.SubMatrix(0, k, 0, m).Transpose(), [.. rows.Column(m + n)], rows.SubMatrix(0, k, m, n).Transpose());
            return [Tensor.FromDoubles(gradient.ToRowMajorArray(), [m, n], g.Device, g.ElementType)];
        });
        return new(recorded.Narrow(1, 0, m), recorded.Narrow(1, m + n, 1).Reshape(k), recorded.Narrow(1, m, n));
    }

    /// <summary>By the triangle R of a thin QR, so that what is decomposed is as small as the shorter side.</summary>
    private static (Matrix<double> U, double[] S, Matrix<double> V) Decompose(Matrix<double> a, double tolerance)
    {
        bool tall = a.RowCount >= a.ColumnCount;
        var thin = (tall ? a : a.Transpose()).QR(QRMethod.Thin);
        var inner = thin.R.Svd(computeVectors: true);
        int k = inner.S.Count(value => value > tolerance * inner.S[0] || tolerance == 0);
        Matrix<double> left = thin.Q * inner.U.SubMatrix(0, inner.U.RowCount, 0, k), right = inner.VT.SubMatrix(0, k, 0, inner.VT.ColumnCount).Transpose();
        return (tall ? left : right, [.. inner.S.Take(k)], tall ? right : left);
    }

    private static Matrix<double> Gradient(Matrix<double> u, double[] s, Matrix<double> v, Matrix<double> gu, double[] gs, Matrix<double> gv)
    {
        int k = s.Length;
        double least = 1e-10 * s[0];
        double Inverse(double value) => value > least ? 1 / value : 0;
        Matrix<double> uu = u.TransposeThisAndMultiply(gu), vv = v.TransposeThisAndMultiply(gv);
        var middle = Matrix<double>.Build.Dense(k, k, (i, j) =>
        {
            if (i == j)
                return gs[i];
            double gap = (s[j] - s[i]) * (s[j] + s[i]);
            return Math.Abs(s[j] - s[i]) > least ? ((uu[i, j] - uu[j, i]) * s[j] + s[i] * (vv[i, j] - vv[j, i])) / gap : 0;
        });
        var inverse = Matrix<double>.Build.DenseOfDiagonalArray([.. s.Select(Inverse)]);
        return u * middle * v.Transpose() + (gu - u * uu) * inverse * v.Transpose() + u * inverse * (gv - v * vv).Transpose();
    }
}
