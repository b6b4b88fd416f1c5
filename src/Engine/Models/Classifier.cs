using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// A network in two parts: layers that make features of the input, one after the other, and a head that makes logits of the features. Transfer
/// keeps the first and trains or replaces the second.
/// </summary>
public abstract class Classifier : Module
{
    private readonly List<Module> layers = [];

    /// <summary>The layers that make the features, in the order in which they run; a prefix of them is what is frozen first.</summary>
    public IReadOnlyList<Module> FeatureLayers => layers;

    /// <summary>The name of the head among the modules, such as <c>fc</c> or <c>classifier.6</c>.</summary>
    public string HeadName { get; private set; } = "";

    /// <summary>The length of the feature vectors, or the channels of the features where they are maps.</summary>
    public int FeatureCount { get; private set; }

    /// <summary>What makes logits of the features.</summary>
    public Module Head => GetModule(HeadName);

    /// <summary>Computes the features as the head takes them: [N, <see cref="FeatureCount"/>], or maps [N, <see cref="FeatureCount"/>, H, W] of SqueezeNet.</summary>
    /// <param name="input">What the model takes.</param>
    public Tensor Features(Tensor input) => Chain(input, layers);

    /// <summary>Computes the features as vectors, [N, <see cref="FeatureCount"/>]: maps are averaged over their pixels.</summary>
    /// <param name="input">What the model takes.</param>
    public Tensor FeatureVectors(Tensor input)
    {
        var features = Features(input);
        return features.Rank == 4 ? features.Mean([2, 3]) : features;
    }

    /// <summary>Puts another head in the place of the present one: for other classes than those of the weights that were loaded.</summary>
    /// <param name="head">From what <see cref="Features"/> gives.</param>
    public void ReplaceHead(Module head) => Replace(HeadName, head);

    /// <summary>Registers the next layer of the features.</summary>
    /// <typeparam name="T">Its type.</typeparam>
    /// <param name="name">Its name here.</param>
    /// <param name="layer">The layer.</param>
    /// <returns>The layer.</returns>
    protected T AddLayer<T>(string name, T layer) where T : Module
    {
        layers.Add(Add(name, layer));
        return layer;
    }

    /// <summary>Registers the head, after all layers.</summary>
    /// <param name="name">Its name here.</param>
    /// <param name="features">The length of the feature vectors, or the channels of the maps.</param>
    /// <param name="head">From features to logits.</param>
    protected void AddHead(string name, int features, Module head)
    {
        Add(name, head);
        (HeadName, FeatureCount) = (name, features);
    }

    /// <summary>Registers fully connected layers whose last is the head, and whose others make features still.</summary>
    /// <param name="name">The name of all of them.</param>
    /// <param name="features">The length of the feature vectors that the last takes.</param>
    /// <param name="connected">The layers.</param>
    protected void AddSplitHead(string name, int features, Sequential connected)
    {
        ArgumentNullException.ThrowIfNull(connected);
        Add(name, connected);
        layers.AddRange(connected.SkipLast(1));
        (HeadName, FeatureCount) = ($"{name}.{connected.Children[^1].Name}", features);
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => Head.Forward(Features(input));
}
