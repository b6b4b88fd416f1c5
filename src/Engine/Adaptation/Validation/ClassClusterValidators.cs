namespace TransferEngine.Adaptation;

/// <summary>
/// Class clusters: whether the target's predicted classes are the clusters of its features. The features are clustered by k-means into as many clusters as there are
/// classes, and the score is the adjusted mutual information of clusters and predicted classes: 1 where they agree, 0 as by chance.
/// </summary>
/// <remarks>
/// pytorch-adapt's ClassClusterValidator with its default score, ClassAMI in Musgrave et al., Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised
/// Domain Adaptation, 2022; without its projection on principal components. Clusters begin at the predicted classes' means; a class that is never predicted begins at the row
/// that is farthest from all other beginnings, so that nothing is random and a model that forgets classes does not gain by it. A model that predicts one class only scores 0.
/// </remarks>
/// <param name="withSource">Whether the source's training rows are clustered along, with their labels.</param>
public sealed class ClassClusterValidator(bool withSource = false) : Validator
{
    /// <inheritdoc/>
    public override string Name => withSource ? "class-ami-both" : "class-ami";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        var (features, classes) = (data.Target.Features, data.TargetPredictions);
        if (classes.Distinct().Count() == 1)
            return 0;
        if (withSource)
            (features, classes) = (Tensor.Concat([features, data.SourceTrain.Features]), [.. classes, .. data.SourceTrain.Labels!.ToArray<int>()]);
        return MutualInformation.Adjusted(classes, Clustering.KMeans(features, classes, data.ClassCount, cancellation));
    }
}

/// <summary>
/// The mean silhouette of the target's rows under their predicted classes: (b - a) / max(a, b), a the mean distance to the other rows of the class and b the least mean
/// distance to those of another class; 0 for a class of one row. From -1 to 1; -1 for a model that predicts one class only.
/// </summary>
/// <remarks>Rousseeuw, Silhouettes, Journal of Computational and Applied Mathematics 20 (1987); pytorch-adapt's SilhouetteScoreValidator. Euclidean distances, computed by blocks of rows.</remarks>
public sealed class SilhouetteValidator : Validator
{
    /// <inheritdoc/>
    public override string Name => "silhouette";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return Clustering.Silhouette(data.Target.Features, data.TargetPredictions, data.ClassCount, cancellation);
    }
}
