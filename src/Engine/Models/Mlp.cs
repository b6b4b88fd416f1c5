using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>Fully connected layers with ReLU between them, from [N, inputs], or [N, ...] that is flattened to it, to logits [N, classes].</summary>
public sealed class Mlp : Classifier
{
    /// <param name="inputs">The length of an input.</param>
    /// <param name="hidden">The widths of the hidden layers; the last is that of the features.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Mlp(int inputs, IReadOnlyList<int> hidden, int classes, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentNullException.ThrowIfNull(hidden);
        var layers = new List<Module> { new Flatten() };
        int width = inputs;
        foreach (int next in hidden)
        {
            layers.Add(new Linear(width, next, generator: generator, device: device, type: type));
            layers.Add(Activation.Relu());
            width = next;
        }
        AddLayer("features", new Sequential([.. layers]));
        AddHead("head", width, new Linear(width, classes, generator: generator, device: device, type: type));
    }
}
