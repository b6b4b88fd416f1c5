using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// SqueezeNet (Iandola et al., 2016) as torchvision defines it, with its names, so that its weights load: from images [N, 3, H, W], 224 x 224 for those
/// weights, to logits [N, classes]. Its features are maps [N, 512, H', W']; the head <c>classifier</c> turns each of their pixels into scores, which are
/// averaged.
/// </summary>
public sealed class SqueezeNet : Classifier
{
    private const int Width = 512;

    private SqueezeNet(Func<LayerMaker, Module[]> features, int classes, Generator? generator, Device? device, ElementType type)
    {
        var make = new LayerMaker(generator, device, type);
        AddLayer("features", new Sequential(features(make)));
        var scores = make.PlainConv(Width, classes, 1);
        Initialization.Normal(scores.Weight, 0, 0.01, generator);
        Initialization.Constant(scores.Bias!, 0);
        AddHead("classifier", Width, new Sequential(make.Dropout(0.5), scores, Activation.Relu(), new AdaptiveAvgPool2d(1), new Flatten()));
    }

    /// <summary>Version 1.0, that of the paper; 1,248,424 parameters with 1,000 classes.</summary>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static SqueezeNet Version10(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) => new(
        static make => [make.UniformConv(3, 96, 7, 2), Activation.Relu(), Pool(), new Fire(make, 96, 16, 64), new Fire(make, 128, 16, 64), new Fire(make, 128, 32, 128), Pool(),
            new Fire(make, 256, 32, 128), new Fire(make, 256, 48, 192), new Fire(make, 384, 48, 192), new Fire(make, 384, 64, 256), Pool(), new Fire(make, 512, 64, 256)],
        classes, generator, device, type);

    /// <summary>Version 1.1, as exact at 2.4 times fewer operations; 1,235,496 parameters with 1,000 classes.</summary>
    /// <inheritdoc cref="Version10"/>
    public static SqueezeNet Version11(int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) => new(
        static make => [make.UniformConv(3, 64, 3, 2), Activation.Relu(), Pool(), new Fire(make, 64, 16, 64), new Fire(make, 128, 16, 64), Pool(), new Fire(make, 128, 32, 128),
            new Fire(make, 256, 32, 128), Pool(), new Fire(make, 256, 48, 192), new Fire(make, 384, 48, 192), new Fire(make, 384, 64, 256), new Fire(make, 512, 64, 256)],
        classes, generator, device, type);

    private static MaxPool2d Pool() => new(3, 2, ceilMode: true);

    /// <summary>A convolution of 1x1 to few channels, and of 1x1 and 3x3 side by side to many.</summary>
    private sealed class Fire : Module
    {
        private readonly Module[] squeeze, points, windows;

        public Fire(LayerMaker make, int inputs, int squeezed, int expanded)
        {
            squeeze = Rectified("squeeze", make.UniformConv(inputs, squeezed, 1));
            points = Rectified("expand1x1", make.UniformConv(squeezed, expanded, 1));
            windows = Rectified("expand3x3", make.UniformConv(squeezed, expanded, 3, padding: 1));
        }

        internal override bool IsTransparent => !HasHooks && !Children.Any(child => !child.Module.IsTransparent);

        protected override Tensor Compute(Tensor input)
        {
            var few = Chain(input, squeeze);
            Tensor[] sides = [Chain(few, points), Chain(few, windows)];
            var output = Tensor.Concat(sides, 1);
            if (IsTransparent)
            {
                few.Dispose();
                sides[0].Dispose();
                sides[1].Dispose();
            }
            return output;
        }

        private Module[] Rectified(string name, Module conv) => [Add(name, conv), Add(name + "_activation", Activation.Relu())];
    }
}
