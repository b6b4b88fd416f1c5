namespace TransferEngine.Adaptation;

/// <summary>Joins features with class probabilities, for a discriminator to see both.</summary>
public abstract class JointMap
{
    /// <summary>Joins.</summary>
    /// <param name="features">[N, d].</param>
    /// <param name="predictions">[N, C].</param>
    /// <returns>What the discriminator takes, [N, <see cref="Outputs"/>].</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public abstract Tensor Forward(Tensor features, Tensor predictions);

    /// <summary>How many numbers a row becomes.</summary>
    /// <param name="features">d.</param>
    /// <param name="classes">C.</param>
    public abstract int Outputs(int features, int classes);

    /// <summary>The paper's choice: all products where they are 4096 or fewer, otherwise random ones.</summary>
    /// <param name="features">d.</param>
    /// <param name="classes">C.</param>
    /// <param name="outputs">How many random products.</param>
    /// <param name="generator">What they are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where they are; the CPU if null.</param>
    public static JointMap Choose(int features, int classes, int outputs = 1024, Generator? generator = null, Device? device = null) =>
        (long)features * classes <= 4096 ? new MultilinearMap() : new RandomizedMultilinearMap(features, classes, outputs, generator, device);

    private protected static void Check(string name, Tensor features, Tensor predictions)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(predictions);
        TransferEngine.Check.Alike(name, features, predictions);
        TransferEngine.Check.That(features.Rank == 2 && predictions.Rank == 2 && features.Shape[0] == predictions.Shape[0],
            $"{name}: features {features.Shape} and predictions {predictions.Shape}, wanted [N, d] and [N, C].");
    }
}

/// <summary>All products of a feature and a class, in the order of the classes: [N, C d].</summary>
public sealed class MultilinearMap : JointMap
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor features, Tensor predictions)
    {
        Check(nameof(MultilinearMap), features, predictions);
        int n = features.Shape[0], d = features.Shape[1], classes = predictions.Shape[1];
        return (predictions.Reshape(n, classes, 1) * features.Reshape(n, 1, d)).Reshape(n, classes * d);
    }

    /// <inheritdoc/>
    public override int Outputs(int features, int classes) => checked(features * classes);
}

/// <summary>Random products: (f R_f) ∘ (p R_p) / √outputs, with standard normal R_f [d, outputs] and R_p [C, outputs] drawn once.</summary>
public sealed class RandomizedMultilinearMap : JointMap
{
    private readonly Tensor ofFeatures, ofPredictions;

    /// <param name="features">d.</param>
    /// <param name="classes">C.</param>
    /// <param name="outputs">How many products.</param>
    /// <param name="generator">What R is drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where R is; the CPU if null.</param>
    /// <param name="type">The features' element type.</param>
    public RandomizedMultilinearMap(int features, int classes, int outputs = 1024, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(outputs, 1);
        (ofFeatures, ofPredictions) = (Tensor.Normal([features, outputs], 0, 1, generator, device, type).KeepAlive(), Tensor.Normal([classes, outputs], 0, 1, generator, device, type).KeepAlive());
    }

    /// <summary>R_f, [d, outputs].</summary>
    public Tensor FeatureMatrix => ofFeatures;

    /// <summary>R_p, [C, outputs].</summary>
    public Tensor PredictionMatrix => ofPredictions;

    /// <inheritdoc/>
    public override Tensor Forward(Tensor features, Tensor predictions)
    {
        Check(nameof(RandomizedMultilinearMap), features, predictions);
        return features.MatMul(ofFeatures) * predictions.MatMul(ofPredictions) / Math.Sqrt(ofFeatures.Shape[1]);
    }

    /// <inheritdoc/>
    public override int Outputs(int features, int classes) => ofFeatures.Shape[1];
}
