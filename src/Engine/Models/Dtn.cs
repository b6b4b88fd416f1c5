using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>
/// The network for coloured digits of the papers on domain adaptation (SVHN to MNIST; CDAN, Long et al., NeurIPS 2018, and SHOT, Liang et al., ICML 2020):
/// three convolutions of 5x5 with stride 2, normalised and dropped, and a hidden layer, from images [N, 3, 32, 32] to logits [N, classes]. Parts are
/// called as in CDAN's code; the head is <c>classifier</c>.
/// </summary>
public sealed class Dtn : Classifier
{
    private const int Width = 512;

    /// <param name="classes">How many logits.</param>
    /// <param name="channels">The channels of the images.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Dtn(int classes = 10, int channels = 3, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        const int Outputs = 256, Places = 4;
        var make = new LayerMaker(generator, device, type);
        AddLayer("conv_params", new Sequential(
            [.. Stage(channels, 64, 0.1), .. Stage(64, 128, 0.3), .. Stage(128, Outputs, 0.5)]));
        AddLayer("flatten", new Flatten());
        AddLayer("fc_params", new Sequential(
            make.PlainLinear(Outputs * Places * Places, Width), new BatchNorm1d(Width, device: device, type: type), Activation.Relu(), make.Dropout(0.5)));
        AddHead("classifier", Width, make.PlainLinear(Width, classes));

        Module[] Stage(int inputs, int outputs, double dropout) =>
            [make.PlainConv(inputs, outputs, 5, 2, 2), make.Norm(outputs), new Dropout2d(dropout, generator), Activation.Relu()];
    }
}
