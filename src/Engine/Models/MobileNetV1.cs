using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>How a MobileNet v1 is put together; the defaults are those of Google's weights.</summary>
public sealed record MobileNetV1Options
{
    /// <summary>How many of the 13 blocks there are, each a convolution of every channel for itself and one of 1x1: fewer for weights of a truncated network.</summary>
    public int Blocks { get; init; } = 13;

    /// <summary>
    /// Whether padding is TensorFlow's SAME, which at stride 2 adds a row at the bottom and a column at the right of images of even size, and none at the
    /// top and the left; otherwise PyTorch's, one on every side.
    /// </summary>
    public bool SamePadding { get; init; } = true;

    /// <summary>What normalisation adds to the variance: 1e-3 in TensorFlow, where PyTorch has 1e-5.</summary>
    public double Eps { get; init; } = 1e-3;
}

/// <summary>
/// MobileNet v1 of width 1.0 (Howard et al., 2017) with the names of Keras (<c>conv1</c>, <c>conv_dw_1</c>, <c>conv_pw_1_bn</c>...), from images
/// [N, 3, H, W], 224 x 224 for its weights, to logits [N, classes]. The head is <c>head</c>.
/// </summary>
public sealed class MobileNetV1 : Classifier
{
    private static readonly (int Outputs, int Stride)[] Plan =
        [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)];

    private readonly MobileNetV1Options options;

    /// <param name="classes">How many logits.</param>
    /// <param name="options">How it is put together; the defaults if null.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for less than one block or more than 13.</exception>
    public MobileNetV1(int classes = 1000, MobileNetV1Options? options = null, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        this.options = options ?? new();
        if (this.options.Blocks < 1 || this.options.Blocks > Plan.Length)
            throw new ArgumentOutOfRangeException(nameof(options), this.options.Blocks, $"MobileNetV1: {this.options.Blocks} blocks; there are 1 to {Plan.Length}.");
        var make = new LayerMaker(generator, device, type);
        int channels = 32;
        AddConv(make, "conv1", 3, channels, 3, 2);
        for (int i = 0; i < this.options.Blocks; i++)
        {
            string place = (i + 1).ToString(CultureInfo.InvariantCulture);
            AddConv(make, "conv_dw_" + place, channels, channels, 3, Plan[i].Stride, channels);
            AddConv(make, "conv_pw_" + place, channels, Plan[i].Outputs, 1, 1);
            channels = Plan[i].Outputs;
        }
        AddLayer("avgpool", new AdaptiveAvgPool2d(1));
        AddLayer("flatten", new Flatten());
        AddHead("head", channels, make.PlainLinear(channels, classes));
    }

    private void AddConv(LayerMaker make, string name, int inputs, int outputs, int size, int stride, int groups = 1)
    {
        bool pads = options.SamePadding && stride > 1;
        if (pads)
            AddLayer(name + "_pad", new SamePad2d(size, stride));
        AddLayer(name, make.Conv(inputs, outputs, size, stride, pads ? 0 : null, groups));
        AddLayer(name + "_bn", make.Norm(outputs, options.Eps));
        AddLayer(name + "_relu", Activation.Relu6());
    }
}
