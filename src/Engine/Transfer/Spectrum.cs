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

    /// <summary>
    /// U diag(f) Uᵀ of the matrix U Λ Uᵀ that this is the spectrum of. Differentiable: with L_ij = (f_i - f_j) / (λ_i - λ_j), or f'(λ_i) where they are equal, the gradient is
    /// U (L ∘ Uᵀ G U) Uᵀ (Daleckii and Krein); gradients of gradients do not see the change of U and L.
    /// </summary>
    /// <param name="name">What the operator is called.</param>
    /// <param name="matrix">The symmetric matrix, [d, d].</param>
    /// <param name="values">f, one for each eigenvalue.</param>
    /// <param name="slope">L.</param>
    public Tensor Function(string name, Tensor matrix, double[] values, Func<int, int, double> slope)
    {
        int d = values.Length;
        var slopes = new double[d * d];
        for (int i = 0; i < d; i++)
        {
            for (int j = 0; j < d; j++)
                slopes[i * d + j] = slope(i, j);
        }
        Tensor Constant(double[] entries, Shape shape) => Tensor.FromDoubles(entries, shape, matrix.Device, matrix.ElementType);
        var rows = Constant(Vectors.ToColumnMajorArray(), [d, d]); // an eigenvector a row: Uᵀ
        Tensor result;
        using (new NoGrad())
            result = rows.Transpose().MatMulInFull(rows * Constant(values, [d, 1]));
        return Graph.Record(name, result, [matrix], [rows, Constant(slopes, [d, d])], static (g, c) =>
            [c[0].Transpose().MatMulInFull(c[1] * c[0].MatMulInFull(g).MatMulInFull(c[0].Transpose())).MatMulInFull(c[0])]);
    }

    /// <summary>
    /// The sum of the squares of the largest or smallest singular values of a matrix, all where there are fewer; differentiable, with the vectors held constant,
    /// whose own change adds nothing to first order.
    /// </summary>
    public static Tensor Squares(Tensor x, int count, bool largest)
    {
        var (byRows, spectrum) = OfSmallerGram(x);
        int size = spectrum.Values.Length, k = Math.Min(count, size);
        if (size == 0)
            return x.Sum();
        var vectors = Tensor.FromDoubles(spectrum.Vectors.SubMatrix(0, size, largest ? size - k : 0, k).ToColumnMajorArray(), [k, size], x.Device, x.ElementType); // a vector a row
        return (byRows ? vectors.MatMulInFull(x) : x.MatMulInFull(vectors.Transpose())).Square().Sum();
    }

    /// <summary>U Vᵀ of the singular value decomposition U Σ Vᵀ of a matrix, a constant; without the directions of singular values below 1e-7 of the largest.</summary>
    public static Tensor PolarFactor(Tensor x)
    {
        using var recording = new NoGrad();
        var (byRows, (values, vectors)) = OfSmallerGram(x);
        double least = values.Length == 0 ? 0 : values[^1] * 1e-14;
        var inverse = vectors * Matrix<double>.Build.DenseOfDiagonalArray([.. values.Select(value => value > least ? 1 / Math.Sqrt(value) : 0)]) * vectors.Transpose();
        var root = Tensor.FromDoubles(inverse.ToColumnMajorArray(), [values.Length, values.Length], x.Device, x.ElementType);
        return byRows ? root.MatMulInFull(x.Detach()) : x.Detach().MatMulInFull(root);
    }

    /// <summary>The spectrum of X Xᵀ where there are no more rows than columns, else of Xᵀ X.</summary>
    private static (bool ByRows, Spectrum Spectrum) OfSmallerGram(Tensor x)
    {
        using var recording = new NoGrad();
        bool byRows = x.Shape[0] <= x.Shape[1];
        if (x.Elements == 0)
            return (byRows, new([], Matrix<double>.Build.Dense(1, 1)));
        var wide = x.Detach().To(ElementType.Float64);
        return (byRows, Of(Rows(byRows ? wide.MatMulInFull(wide.Transpose()) : wide.Transpose().MatMulInFull(wide))));
    }
}
