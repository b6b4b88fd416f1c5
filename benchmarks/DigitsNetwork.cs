using TransferEngine.Modules;

namespace TransferEngine.Benchmarks;

/// <summary>SHOT's network for digits of 28x28 pixels, with its bottleneck, and CDAN's, which differs in the last layers; pixels from 0 to 1 go to -1 to 1 first.</summary>
internal static class DigitsNetwork
{
    public const int Side = 28, Bottleneck = 256, CdanWidth = 500, Classes = 10;

    private const int Maps = 50 * 4 * 4;

    /// <summary>The layers that take [N, 1, 28, 28] to [N, 256].</summary>
    public static Module[] Features(Generator generator, Device device) =>
        [.. Convolutions(generator, device), new Linear(Maps, Bottleneck, generator: generator, device: device), new BatchNorm1d(Bottleneck, device: device), new Dropout(0.5, generator)];

    /// <summary>The layers of CDAN's code that take [N, 1, 28, 28] to [N, 500].</summary>
    public static Module[] CdanFeatures(Generator generator, Device device) =>
        [.. Convolutions(generator, device), new Linear(Maps, CdanWidth, generator: generator, device: device), Activation.Relu(), new Dropout(0.5, generator)];

    private static Module[] Convolutions(Generator generator, Device device)
    {
        Conv2d Conv(int inputs, int outputs) => new(inputs, outputs, 5, generator: generator, device: device);
        return [new Function(x => x * 2 - 1), Conv(1, 20), new MaxPool2d(2), Activation.Relu(), Conv(20, 50), new Dropout2d(0.5, generator), new MaxPool2d(2), Activation.Relu(), new Flatten()];
    }

    /// <summary>Takes [N, 256] to logits.</summary>
    public static Module Head(Generator generator, Device device) => new WeightNormLinear(Bottleneck, Classes, generator: generator, device: device);
}
