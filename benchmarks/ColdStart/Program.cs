using System.Diagnostics;
using System.Globalization;
using TransferEngine;
using TransferEngine.Models;

// mlp | resnet18: the first training step, or the first inference, of a fresh process; prints the milliseconds since the process began.
var device = Device.Cpu;
var generator = new Generator(1);
switch (args)
{
    case ["mlp"]:
        var mlp = new Mlp(784, [512, 256], 10, generator, device);
        var optimizer = new Sgd(mlp.Parameters(), 0.01, momentum: 0.9);
        var loss = mlp.Forward(Tensor.Normal([128, 784], generator: generator, device: device)).CrossEntropy(Tensor.RandomIntegers([128], 0, 10, generator, device));
        loss.Backward();
        optimizer.Step();
        Report(loss.Item());
        return 0;
    case ["resnet18"]:
        var resnet = ResNet.ResNet18(generator: generator, device: device);
        resnet.Eval();
        using (new NoGrad())
            Report(resnet.Forward(Tensor.Normal([1, 3, 224, 224], generator: generator, device: device)).Sum().Item());
        return 0;
    default:
        Console.Error.WriteLine("usage: TransferEngine.ColdStart mlp|resnet18");
        return 2;
}

static void Report(double value) => Console.WriteLine(string.Create(
    CultureInfo.InvariantCulture, $"{{\"ms\": {(DateTime.UtcNow - Process.GetCurrentProcess().StartTime.ToUniversalTime()).TotalMilliseconds:F0}, \"value\": {value:G9}}}"));
