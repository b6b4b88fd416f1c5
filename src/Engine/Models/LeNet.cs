using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// Two convolutions of 5x5 with max-pooling and two fully connected layers (after LeCun et al., 1998, with the widths of Caffe's LeNet), from
/// images [N, channels, size, size] to logits [N, classes].
/// </summary>
public sealed class LeNet : Classifier
{
    private const int Width = 500;

    /// <param name="classes">How many logits.</param>
    /// <param name="channels">The channels of the images.</param>
    /// <param name="size">The height and width of the images; 16 or more, such that both poolings come out even.</param>
    /// <param name="dropout">The share of the second convolution's channels, and of the features, that training drops: 0.5 in the papers on domain adaptation.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public LeNet(int classes = 10, int channels = 1, int size = 28, double dropout = 0, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        if (size < 16 || size % 4 != 0)
            throw new ArgumentOutOfRangeException(nameof(size), size, "LeNet: the size is a multiple of 4 from 16 on. Resize the images.");
        int left = (size - 12) / 4;
        var make = new LayerMaker(generator, device, type);
        AddLayer("features", new Sequential(
            make.PlainConv(channels, 20, 5), Activation.Relu(), new MaxPool2d(2),
            make.PlainConv(20, 50, 5), new Dropout2d(dropout, generator), Activation.Relu(), new MaxPool2d(2),
            new Flatten(), make.PlainLinear(50 * left * left, Width), Activation.Relu(), make.Dropout(dropout)));
        AddHead("head", Width, make.PlainLinear(Width, classes));
    }
}
