using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// VGG (Simonyan and Zisserman, ICLR 2015) as torchvision defines it, with its names, so that its weights load: from images [N, 3, H, W], 224 x 224 for
/// those weights, to logits [N, classes]. The features are those of the last hidden layer; the head is <c>classifier.6</c>.
/// </summary>
public sealed class Vgg : Classifier
{
    private const int Places = 7;

    /// <param name="stages">How many convolutions of 3x3 each of the five stages has, before its pooling.</param>
    /// <param name="batchNorm">Whether each is normalised.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="hidden">The width of the two hidden layers.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentException">There are not five stages, each of one or more.</exception>
    public Vgg(IReadOnlyList<int> stages, bool batchNorm, int classes = 1000, int hidden = 4096, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentNullException.ThrowIfNull(stages);
        if (stages.Count != 5 || stages.Any(count => count < 1))
            throw new ArgumentException($"Vgg: the convolutions [{string.Join(", ", stages)}] are not those of five stages, each one or more.", nameof(stages));
        var make = new LayerMaker(generator, device, type);
        var features = new List<Module>();
        int channels = 3;
        for (int stage = 0; stage < 5; stage++)
        {
            int width = Math.Min(64 << stage, 512);
            for (int i = 0; i < stages[stage]; i++, channels = width)
            {
                features.Add(make.Conv(channels, width, 3, bias: true));
                if (batchNorm)
                    features.Add(make.Norm(width));
                features.Add(Activation.Relu());
            }
            features.Add(new MaxPool2d(2));
        }
        AddLayer("features", new Sequential([.. features]));
        AddLayer("avgpool", new AdaptiveAvgPool2d(Places));
        AddLayer("flatten", new Flatten());
        AddSplitHead("classifier", hidden, new Sequential(
            make.NormalLinear(channels * Places * Places, hidden, 0.01), Activation.Relu(), make.Dropout(0.5),
            make.NormalLinear(hidden, hidden, 0.01), Activation.Relu(), make.Dropout(0.5), make.NormalLinear(hidden, classes, 0.01)));
    }

    /// <summary>11 layers with weights (configuration A); 132,863,336 parameters with 1,000 classes, without normalisation.</summary>
    /// <param name="batchNorm">Whether each convolution is normalised.</param>
    /// <param name="classes">How many logits.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public static Vgg Vgg11(bool batchNorm = false, int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new([1, 1, 2, 2, 2], batchNorm, classes, generator: generator, device: device, type: type);

    /// <summary>16 layers with weights (configuration D); 138,357,544 parameters with 1,000 classes, without normalisation.</summary>
    /// <inheritdoc cref="Vgg11"/>
    public static Vgg Vgg16(bool batchNorm = false, int classes = 1000, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        new([2, 2, 3, 3, 3], batchNorm, classes, generator: generator, device: device, type: type);
}
