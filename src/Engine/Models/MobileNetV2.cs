using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// MobileNet v2 of width 1.0 (Sandler et al., CVPR 2018) as torchvision defines it, with its names, so that its weights load: from images [N, 3, H, W],
/// 224 x 224 for those weights, to logits [N, classes]. The head is <c>classifier</c>, which drops and maps.
/// </summary>
public sealed class MobileNetV2 : Classifier
{
    private const int Width = 1280;

    /// <summary>The expansion, the outputs, the blocks and the stride of the first of them, a stage a row (the paper's table 2).</summary>
    private static readonly (int Expansion, int Outputs, int Blocks, int Stride)[] Plan =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

    /// <summary>3,504,872 parameters with 1,000 classes.</summary>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public MobileNetV2(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        var make = new LayerMaker(generator, device, type);
        int channels = 32;
        var features = new List<Module> { ConvNormRelu6(make, 3, channels, 3, 2) };
        foreach (var (expansion, outputs, blocks, stride) in Plan)
        {
            for (int i = 0; i < blocks; i++, channels = outputs)
                features.Add(new InvertedResidual(make, channels, outputs, i == 0 ? stride : 1, expansion));
        }
        features.Add(ConvNormRelu6(make, channels, Width, 1));
        AddLayer("features", new Sequential([.. features]));
        AddLayer("avgpool", new AdaptiveAvgPool2d(1));
        AddLayer("flatten", new Flatten());
        AddHead("classifier", Width, new Sequential(make.Dropout(0.2), make.NormalLinear(Width, classes, 0.01)));
    }

    private static Sequential ConvNormRelu6(LayerMaker make, int inputs, int outputs, int size, int stride = 1, int groups = 1) =>
        new(make.Conv(inputs, outputs, size, stride, groups: groups), make.Norm(outputs), Activation.Relu6());

    /// <summary>Many channels of 1x1, each convolved for itself, and few of 1x1 without an activation; beside a short cut where sizes agree.</summary>
    private sealed class InvertedResidual : Module
    {
        private readonly Sequential conv;
        private readonly bool adds;

        public InvertedResidual(LayerMaker make, int inputs, int outputs, int stride, int expansion)
        {
            int width = inputs * expansion;
            Module[] end = [ConvNormRelu6(make, width, width, 3, stride, width), make.Conv(width, outputs, 1), make.Norm(outputs)];
            conv = Add("conv", new Sequential(expansion == 1 ? end : [ConvNormRelu6(make, inputs, width, 1), .. end]));
            adds = stride == 1 && inputs == outputs;
        }

        internal override bool IsTransparent => !HasHooks && conv.IsTransparent;

        protected override Tensor Compute(Tensor input)
        {
            var y = conv.Forward(input);
            if (!adds)
                return y;
            var sum = input + y;
            if (IsTransparent)
                y.Dispose();
            return sum;
        }
    }
}
