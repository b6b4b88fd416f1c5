namespace TransferEngine.Adaptation;

/// <summary>What papers do to features before a classical method sees them. Each domain is scaled by itself.</summary>
public static class FeatureScaling
{
    /// <summary>Divides each row by the sum of its elements: histograms of counts become frequencies. A row of sum 0 stays.</summary>
    /// <param name="features">[n, d].</param>
    public static Tensor RowFrequencies(Tensor features) => Divided(features, nameof(RowFrequencies), static x => x.Sum([1], keepDim: true));

    /// <summary>Divides each row by its Euclidean length. A row of length 0 stays.</summary>
    /// <param name="features">[n, d].</param>
    public static Tensor UnitRows(Tensor features) => Divided(features, nameof(UnitRows), static x => x.Square().Sum([1], keepDim: true).Sqrt());

    /// <summary>The z-score: each column less its mean, over its deviation (divided by n - 1). A constant column becomes 0.</summary>
    /// <param name="features">[n, d], two rows or more.</param>
    public static Tensor Standardize(Tensor features)
    {
        ArgumentNullException.ThrowIfNull(features);
        Check.Floating(nameof(Standardize), features);
        Check.Rank(nameof(Standardize), "features", features, 2, "[n, d]");
        Check.That(features.Shape[0] > 1, $"Standardize: {features.Shape} has fewer than two rows, so no deviation.");
        using var scope = new TensorScope();
        var centred = features - features.Mean([0], keepDim: true);
        return scope.Keep(Divided(centred, nameof(Standardize), x => x.Std([0], keepDim: true)));
    }

    private static Tensor Divided(Tensor features, string name, Func<Tensor, Tensor> measure)
    {
        ArgumentNullException.ThrowIfNull(features);
        Check.Floating(name, features);
        Check.Rank(name, "features", features, 2, "[n, d]");
        using var scope = new TensorScope();
        var divisor = measure(features);
        return scope.Keep(features / (divisor + divisor.Equal(0)));
    }
}
