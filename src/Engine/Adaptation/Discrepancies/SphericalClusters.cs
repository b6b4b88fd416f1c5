namespace TransferEngine.Adaptation;

/// <summary>Spherical k-means: rows are compared by their cosine, and a cluster's centre is the sum of its rows at length 1.</summary>
internal static class SphericalClusters
{
    /// <summary>The centres of rows by classes, [C, d], of length 1; 0 of a class without rows.</summary>
    /// <param name="rows">[N, d].</param>
    /// <param name="classes">Int32 [N]; negative ones belong to none.</param>
    /// <param name="count">C.</param>
    public static Tensor Centres(Tensor rows, Tensor classes, int count) => Normalized(classes.OneHot(count, rows.ElementType).Transpose().MatMulInFull(Normalized(rows)));

    /// <summary>The class of the nearest centre, Int32 [N], and the distance ½ (1 - cos) to it, [N].</summary>
    /// <param name="rows">[N, d].</param>
    /// <param name="centres">[C, d]; nothing is nearest to one that is 0.</param>
    public static (Tensor Classes, Tensor Distances) Nearest(Tensor rows, Tensor centres)
    {
        var isEmpty = centres.Square().Sum([1]).Equal(0);
        var cosines = Normalized(rows).MatMulInFull(centres.Transpose()) - isEmpty * 3;
        return (cosines.ArgMax(1), (1 - cosines.Max([1])) * 0.5);
    }

    /// <summary>The centres that rows settle on, from given ones on; a cluster that loses its rows stays where it was.</summary>
    /// <param name="rows">[N, d].</param>
    /// <param name="centres">[C, d], to begin with.</param>
    /// <param name="iterations">At most; each waits for the device.</param>
    public static Tensor Fit(Tensor rows, Tensor centres, int iterations = 100)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        int[] before = [];
        for (int i = 0; i < iterations; i++)
        {
            var classes = Nearest(rows, centres).Classes;
            int[] now = classes.ToArray<int>();
            if (now.AsSpan().SequenceEqual(before))
                break;
            var next = Centres(rows, classes, centres.Shape[0]);
            var isEmpty = next.Square().Sum([1], keepDim: true).Equal(0);
            (centres, before) = (next + isEmpty * centres, now);
        }
        return scope.Keep(centres.Clone());
    }

    public static Tensor Normalized(Tensor rows) => rows / (rows.Norm(2, [1], keepDim: true) + 1e-12);
}
