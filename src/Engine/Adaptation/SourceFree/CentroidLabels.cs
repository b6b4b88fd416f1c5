namespace TransferEngine.Adaptation;

/// <summary>
/// SHOT's pseudo-labels: centroids of the features weighted by the predictions, c_k = Σ_i p_ik f_i, each row takes the class of the centroid nearest by
/// cosine; then, as often as asked, centroids of the rows so labelled, and labels anew. The features f have a 1 appended and are scaled to
/// length 1, as in the authors' code.
/// </summary>
/// <remarks>Liang et al., Do we really need to access the source data?, ICML 2020, equations 5 and 6, with one round. A class that no row takes in a round is out.</remarks>
public static class CentroidLabels
{
    /// <summary>Labels rows.</summary>
    /// <param name="features">[N, d].</param>
    /// <param name="probabilities">[N, C].</param>
    /// <param name="rounds">How often the centroids are taken from the labels.</param>
    /// <returns>Int32 [N].</returns>
    /// <exception cref="ShapeException">The shapes do not match, or there is no row.</exception>
    public static Tensor Compute(Tensor features, Tensor probabilities, int rounds = 1)
    {
        const string Name = nameof(CentroidLabels);
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(probabilities);
        ArgumentOutOfRangeException.ThrowIfNegative(rounds);
        Check.Alike(Name, features, probabilities);
        Check.Rank(Name, "features", features, 2, "[N, d]");
        Check.Rank(Name, "probabilities", probabilities, 2, "[N, C]");
        Check.That(features.Shape[0] == probabilities.Shape[0] && probabilities.Elements > 0,
            $"{Name}: features {features.Shape} and probabilities {probabilities.Shape}; wanted [N, d] and [N, C] of the same N, 1 or more. Take both from the same rows.");
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        int classes = probabilities.Shape[1];
        var rows = Tensor.Concat([features, Tensor.Ones([features.Shape[0], 1], features.Device, features.ElementType)], 1);
        rows /= rows.Norm(2, [1], keepDim: true);
        var labels = Nearest(rows, probabilities);
        for (int round = 0; round < rounds; round++)
            labels = Nearest(rows, labels.OneHot(classes, rows.ElementType));
        return scope.Keep(labels);
    }

    /// <summary>The classes of the nearest centroids. How long a centroid is does not matter to the cosine.</summary>
    private static Tensor Nearest(Tensor rows, Tensor shares)
    {
        var centroids = shares.Transpose().MatMul(rows);
        var lengths = centroids.Norm(2, [1], keepDim: true);
        var isEmpty = lengths.Equal(0);
        // Cosines are -1 or more: one of an empty class never wins.
        return rows.MatMul((centroids / (lengths + isEmpty)).Transpose()).AddInPlace(isEmpty.Reshape(1, -1), -2).ArgMax(1);
    }
}
