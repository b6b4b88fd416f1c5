using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// The residual networks for CIFAR-10 (He et al., CVPR 2016, section 4.2) with short cuts without weights (option A), from images [N, 3, 32, 32] to logits
/// [N, classes]. Names are those of Y. Idelbayev's implementation in PyTorch, so that its weights load. The head is <c>linear</c>.
/// </summary>
public sealed class CifarResNet : Classifier
{
    /// <param name="depth">The layers with weights: 6 n + 2, such as 20, 32, 44 or 56, for n blocks in each of three stages.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentOutOfRangeException">The depth is not 6 n + 2.</exception>
    public CifarResNet(int depth, int classes = 10, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        if (depth < 8 || depth % 6 != 2)
            throw new ArgumentOutOfRangeException(nameof(depth), depth, $"CifarResNet: a depth of {depth} is not 6 n + 2. Use 20, 32, 44 or 56.");
        var make = new LayerMaker(generator, device, type);
        AddLayer("conv1", make.Conv(3, 16, 3, fanOut: false));
        AddLayer("bn1", make.Norm(16));
        AddLayer("relu", Activation.Relu());
        int channels = 16;
        for (int stage = 0; stage < 3; stage++)
        {
            int width = 16 << stage;
            var row = new Module[(depth - 2) / 6];
            for (int i = 0; i < row.Length; i++, channels = width)
            {
                row[i] = new ResidualBlock(make, channels, [(width, 3, channels == width ? 1 : 2), (width, 3, 1)], "shortcut",
                    channels == width ? null : new PaddedShortcut(channels, width), fanOut: false);
            }
            AddLayer(string.Create(CultureInfo.InvariantCulture, $"layer{stage + 1}"), new Sequential(row));
        }
        AddLayer("avgpool", new AdaptiveAvgPool2d(1));
        AddLayer("flatten", new Flatten());
        var linear = make.PlainLinear(channels, classes);
        Initialization.KaimingNormal(linear.Weight, generator: generator);
        AddHead("linear", channels, linear);
    }
}
