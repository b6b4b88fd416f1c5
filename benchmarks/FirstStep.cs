using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TransferEngine.Models;
using TransferEngine.Modules;

namespace TransferEngine.Benchmarks;

/// <summary>What a user waits for: from the start of the process to the end of a first training step, in a JSON line.</summary>
internal static class FirstStep
{
    /// <summary>What there is to train, on random data.</summary>
    public static bool IsKnown(string model) => model is "lenet" or "resnet18";

    /// <param name="model">lenet, of 64 images of 28 x 28, or resnet18, of 8 of 224 x 224.</param>
    /// <param name="device">Where; opened a moment ago.</param>
    /// <param name="warmsUp">Whether the kernels that a process before needed are loaded in the background.</param>
    /// <returns>The exit code.</returns>
    public static int Run(string model, Device device, bool warmsUp)
    {
        var warmingUp = warmsUp ? device.WarmUpAsync() : Task.FromResult(0);
        var generator = new Generator(1);
        Module network = model == "lenet" ? new Sequential([.. DigitsNetwork.Features(generator, device), DigitsNetwork.Head(generator, device)]) : ResNet.ResNet18(generator: generator, device: device);
        Shape shape = model == "lenet" ? [64, 1, 28, 28] : [8, 3, 224, 224];
        var optimizer = new Sgd(network.Parameters(), 0.01, momentum: 0.9);
        var loss = network.Forward(Tensor.Normal(shape, generator: generator, device: device)).CrossEntropy(Tensor.RandomIntegers([shape[0]], 0, 10, generator, device));
        loss.Backward();
        optimizer.Step();
        double value = loss.Item();
        double ms = (DateTime.UtcNow - Process.GetCurrentProcess().StartTime.ToUniversalTime()).TotalMilliseconds;
        Console.WriteLine(JsonSerializer.Serialize(new { name = $"first-step/{model}", ms = Math.Round(ms), loss = value.ToString("G9", CultureInfo.InvariantCulture), warmed = warmingUp.Result }));
        return 0;
    }
}
