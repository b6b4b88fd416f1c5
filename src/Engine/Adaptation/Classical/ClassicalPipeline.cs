namespace TransferEngine.Adaptation;

/// <summary>
/// The usual classical method: the features of both domains are aligned, the source's rows weighed, and a classifier fitted on the source's; each part may be left out but the last.
/// </summary>
/// <param name="classifier">Fitted on the source's aligned rows.</param>
/// <param name="alignment">What moves the features; they stay where they are if null.</param>
/// <param name="weighting">What weighs the source's rows, by the aligned features; all alike if null.</param>
/// <param name="name">What tables call it; made of the parts' names if null.</param>
public sealed class ClassicalPipeline(IFeatureClassifier classifier, IFeatureAlignment? alignment = null, ISampleWeighting? weighting = null, string? name = null) : IClassicalMethod
{
    /// <inheritdoc/>
    public string Name { get; } = name ?? string.Join(" + ", new[] { alignment?.Name, weighting?.Name, classifier?.Name }.Where(part => part is not null));

    /// <inheritdoc/>
    public IPredictor Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(classifier);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var space = alignment?.Fit(data, progress, cancellation);
        var source = space?.Source(data.Source) ?? data.Source;
        double[]? weights = weighting?.Weights(source, space?.Target(data.Target) ?? data.Target, progress, cancellation);
        return new Predictor(space, classifier.Fit(source, data.Labels, data.Classes, weights, cancellation));
    }

    private sealed class Predictor(IAlignedSpace? space, IPredictor predictor) : IPredictor
    {
        public Tensor Predict(Tensor features)
        {
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            return scope.Keep(predictor.Predict(space?.Target(features) ?? features));
        }
    }
}
