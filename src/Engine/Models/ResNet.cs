using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// Residual networks (He et al., CVPR 2016) as torchvision defines them, with its names, so that its weights load: from images
/// [N, 3, H, W], 224 x 224 for those weights, to logits [N, classes]. The head is <c>fc</c>.
/// </summary>
public sealed class ResNet : Classifier
{
    private readonly Module[] stages;

    /// <param name="blocks">How many blocks each of the four stages has.</param>
    /// <param name="bottleneck">Whether blocks are bottlenecks (ResNet-50 and deeper) rather than basic ones.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public ResNet(IReadOnlyList<int> blocks, bool bottleneck, int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) : base("fc")
    {
        ArgumentNullException.ThrowIfNull(blocks);
        if (blocks.Count != 4 || blocks.Any(count => count < 1))
            throw new ArgumentException($"ResNet: the blocks [{string.Join(", ", blocks)}] are not those of four stages, each one or more.", nameof(blocks));
        var make = new ResidualLayers(generator, device, type);
        var stages = new List<Module> { Add("conv1", make.Conv(3, 64, 7, 2)), Add("bn1", make.Norm(64)), Add("relu", Activation.Relu()), Add("maxpool", new MaxPool2d(3, 2, 1)) };
        int channels = 64;
        for (int stage = 0; stage < 4; stage++)
        {
            var row = new Module[blocks[stage]];
            for (int i = 0; i < row.Length; i++)
            {
                var block = new ResidualBlock(make, channels, 64 << stage, stage > 0 && i == 0 ? 2 : 1, bottleneck);
                (row[i], channels) = (block, block.Outputs);
            }
            stages.Add(Add(string.Create(CultureInfo.InvariantCulture, $"layer{stage + 1}"), new Sequential(row)));
        }
        stages.Add(Add("avgpool", new AdaptiveAvgPool2d(1)));
        this.stages = [.. stages];
        AddHead(channels, classes, generator, device, type);
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

    /// <inheritdoc/>
    public override Tensor Features(Tensor input) => Chain(input, stages).Flatten(1);
}

/// <summary>Layers as residual networks begin with: convolutions without bias by He's rule, normalisation at 1 and 0.</summary>
internal sealed class ResidualLayers(Generator? generator, Device? device, ElementType type)
{
    public Conv2d Conv(int inputs, int outputs, int size, int stride)
    {
        var conv = new Conv2d(inputs, outputs, size, stride, size / 2, bias: false, generator: generator, device: device, type: type);
        Initialization.KaimingNormal(conv.Weight, fanOut: true, generator: generator);
        return conv;
    }

    public BatchNorm2d Norm(int channels) => new(channels, device: device, type: type);
}

/// <summary>
/// Convolutions beside a short cut: two of 3x3, or as a bottleneck 1x1, 3x3 and 1x1 with four times the channels, the stride in the one of
/// 3x3 as torchvision has it.
/// </summary>
internal sealed class ResidualBlock : Module
{
    private const int Expansion = 4;

    private readonly Module[] path;
    private readonly Module relu = Activation.Relu();
    private readonly Module? downsample;

    public ResidualBlock(ResidualLayers make, int inputs, int width, int stride, bool bottleneck)
    {
        Outputs = bottleneck ? width * Expansion : width;
        (int Outputs, int Size, int Stride)[] layers = bottleneck ? [(width, 1, 1), (width, 3, stride), (Outputs, 1, 1)] : [(width, 3, stride), (width, 3, 1)];
        var path = new List<Module>();
        int channels = inputs;
        for (int i = 0; i < layers.Length; i++)
        {
            string place = (i + 1).ToString(CultureInfo.InvariantCulture);
            if (i > 0)
                path.Add(relu);
            path.Add(Add("conv" + place, make.Conv(channels, layers[i].Outputs, layers[i].Size, layers[i].Stride)));
            path.Add(Add("bn" + place, make.Norm(layers[i].Outputs)));
            channels = layers[i].Outputs;
        }
        Add("relu", relu);
        this.path = [.. path];
        if (stride != 1 || inputs != Outputs)
            downsample = Add("downsample", new Sequential(make.Conv(inputs, Outputs, 1, stride), make.Norm(Outputs)));
    }

    public int Outputs { get; }

    internal override bool IsTransparent => !HasHooks && path.All(module => module.IsTransparent) && downsample is null or { IsTransparent: true };

    protected override Tensor Compute(Tensor input)
    {
        var y = Chain(input, path);
        var shortcut = downsample is null ? input : downsample.Forward(input);
        var sum = y + shortcut;
        var output = relu.Forward(sum);
        if (IsTransparent)
        {
            y.Dispose();
            sum.Dispose();
            if (!ReferenceEquals(shortcut, input))
                shortcut.Dispose();
        }
        return output;
    }
}
