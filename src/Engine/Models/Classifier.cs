using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// A network in two parts: what makes features of the input, and a head that makes logits of the features. Transfer keeps the first and
/// trains or replaces the second.
/// </summary>
public abstract class Classifier : Module
{
    private readonly string headName;

    /// <summary>A network whose head has this name. Derived constructors register the features first and then call <see cref="AddHead"/>.</summary>
    /// <param name="headName">The head's name among the children.</param>
    protected Classifier(string headName) => this.headName = headName;

    /// <summary>The length of the feature vectors.</summary>
    public int FeatureCount { get; private set; }

    /// <summary>What makes logits of features [N, <see cref="FeatureCount"/>].</summary>
    public Module Head => GetModule(headName);

    /// <summary>Computes the features, [N, <see cref="FeatureCount"/>].</summary>
    /// <param name="input">What the model takes.</param>
    public abstract Tensor Features(Tensor input);

    /// <summary>Puts another head in the place of the present one: for other classes than those of the weights that were loaded.</summary>
    /// <param name="head">From [N, <see cref="FeatureCount"/>].</param>
    public void ReplaceHead(Module head) => Replace(headName, head);

    /// <summary>Registers the head: a linear map to the logits.</summary>
    /// <param name="features">The length of the feature vectors.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    protected void AddHead(int features, int classes, Generator? generator, Device? device, ElementType type)
    {
        FeatureCount = features;
        Add(headName, new Linear(features, classes, generator: generator, device: device, type: type));
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => Head.Forward(Features(input));
}
