using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// Residual networks (He et al., CVPR 2016) as torchvision defines them, with its names, so that its weights load: from images
/// [N, 3, H, W], 224 x 224 for those weights, to logits [N, classes]. Blocks are two convolutions of 3x3, or bottlenecks of 1x1, 3x3 and 1x1 with four
/// times the channels, whose stride is that of the 3x3. The head is <c>fc</c>.
/// </summary>
public sealed class ResNet : Classifier
{
    private const int Expansion = 4;

    /// <param name="blocks">How many blocks each of the four stages has.</param>
    /// <param name="bottleneck">Whether blocks are bottlenecks (ResNet-50 and deeper) rather than basic ones.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public ResNet(IReadOnlyList<int> blocks, bool bottleneck, int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        if (blocks.Count != 4 || blocks.Any(count => count < 1))
            throw new ArgumentException($"ResNet: the blocks [{string.Join(", ", blocks)}] are not those of four stages, each one or more.", nameof(blocks));
        var make = new LayerMaker(generator, device, type);
        AddLayer("conv1", make.Conv(3, 64, 7, 2));
        AddLayer("bn1", make.Norm(64));
        AddLayer("relu", Activation.Relu());
        AddLayer("maxpool", new MaxPool2d(3, 2, 1));
        int channels = 64;
        for (int stage = 0; stage < 4; stage++)
        {
            int width = 64 << stage, outputs = bottleneck ? width * Expansion : width;
            var row = new Module[blocks[stage]];
            for (int i = 0; i < row.Length; i++, channels = outputs)
            {
                int stride = stage > 0 && i == 0 ? 2 : 1;
                (int, int, int)[] layers = bottleneck ? [(width, 1, 1), (width, 3, stride), (outputs, 1, 1)] : [(width, 3, stride), (width, 3, 1)];
                row[i] = new ResidualBlock(make, channels, layers, "downsample",
                    stride == 1 && channels == outputs ? null : new Sequential(make.Conv(channels, outputs, 1, stride), make.Norm(outputs)));
            }
            AddLayer(string.Create(CultureInfo.InvariantCulture, $"layer{stage + 1}"), new Sequential(row));
        }
        AddLayer("avgpool", new AdaptiveAvgPool2d(1));
        AddLayer("flatten", new Flatten());
        AddHead("fc", channels, make.PlainLinear(channels, classes));
    }

    /// <summary>18 layers of basic blocks; 11,689,512 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="ResNet(IReadOnlyList{int}, bool, int, Generator?, Device?, ElementType)"/>
    public static ResNet ResNet18(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new([2, 2, 2, 2], false, classes, generator, device, type);

    /// <summary>34 layers of basic blocks; 21,797,672 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="ResNet18"/>
    public static ResNet ResNet34(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new([3, 4, 6, 3], false, classes, generator, device, type);

    /// <summary>50 layers of bottlenecks; 25,557,032 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="ResNet18"/>
    public static ResNet ResNet50(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new([3, 4, 6, 3], true, classes, generator, device, type);
}
