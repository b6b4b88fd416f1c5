using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// Two convolutions of 5x5 with max-pooling and two fully connected layers (after LeCun et al., 1998, with the widths of Caffe's LeNet), from
/// images [N, channels, size, size] to logits [N, classes].
/// </summary>
public sealed class LeNet : Classifier
{
    private const int Width = 500;

    private readonly Sequential features;

    /// <param name="classes">How many logits.</param>
    /// <param name="channels">The channels of the images.</param>
    /// <param name="size">The height and width of the images; 16 or more, such that both poolings come out even.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public LeNet(int classes = 10, int channels = 1, int size = 28, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) : base("head")
    {
        if (size < 16 || size % 4 != 0)
            throw new ArgumentOutOfRangeException(nameof(size), size, "LeNet: the size is a multiple of 4 from 16 on. Resize the images.");
        int left = (size - 12) / 4;
        features = Add("features", new Sequential(
            new Conv2d(channels, 20, 5, generator: generator, device: device, type: type), Activation.Relu(), new MaxPool2d(2),
            new Conv2d(20, 50, 5, generator: generator, device: device, type: type), Activation.Relu(), new MaxPool2d(2),
            new Flatten(), new Linear(50 * left * left, Width, generator: generator, device: device, type: type), Activation.Relu()));
        AddHead(Width, classes, generator, device, type);
    }

    /// <inheritdoc/>
    public override Tensor Features(Tensor input) => features.Forward(input);
}
