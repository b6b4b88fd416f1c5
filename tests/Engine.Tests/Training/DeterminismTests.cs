using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

/// <summary>The same seed gives the same bits, whatever the number of workers and of batches read ahead.</summary>
public sealed class DeterminismTests
{
    private static float[] Train(int workers, int prefetch, long stopAt = long.MaxValue)
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MaxDegreeOfParallelism = workers;
        var draw = new Generator(21);
        Tensor images = Tensor.Uniform([48, 1, 16, 16], -1, 1, draw, device), labels = Tensor.RandomIntegers([48], 0, 5, draw, device);
        var model = new Sequential(
            new Conv2d(1, 8, 3, padding: 1, generator: draw, device: device), new BatchNorm2d(8, device: device), new Function(x => x.Relu()), new MaxPool2d(2),
            new Conv2d(8, 16, 3, generator: draw, device: device), new Function(x => x.Relu()), new MaxPool2d(2),
            new Flatten(), new Dropout(0.3, draw), new Linear(144, 5, generator: draw, device: device));
        var loader = new DataLoader(new TensorDataset(images, labels), new() { BatchSize = 12, Shuffle = true, Seed = 5, Prefetch = prefetch }, device);
        var optimizer = new Adam(model.Parameters(), 3e-3);
        var settings = new TrainerSettings { Epochs = 4, MaxSteps = stopAt };
        var trainer = New(settings);
        trainer.Fit(loader);
        if (stopAt < 16)
        {
            string file = Path.GetTempFileName();
            trainer.Save(file);
            draw.State = new(99, 99);
            loader = new DataLoader(new TensorDataset(images, labels), loader.Settings, device);
            trainer = New(settings with { MaxSteps = long.MaxValue });
            trainer.Load(file);
            File.Delete(file);
            trainer.Fit(loader);
        }
        return [.. model.StateDict().Values.SelectMany(tensor => tensor.To(ElementType.Float32).ToArray<float>())];

        Trainer New(TrainerSettings its)
        {
            var made = new Trainer(model, optimizer, (logits, target) => logits.CrossEntropy(target)) { Settings = its };
            made.Generators.Clear();
            made.Generators.Add(draw);
            return made;
        }
    }

    [Fact]
    public void The_Same_Seed_Gives_The_Same_Bits()
    {
        float[] first = Train(1, 0);
        Assert.DoesNotContain(first, float.IsNaN);
        Assert.Equal(first, Train(1, 0));
        Assert.Equal(first, Train(2, 0));
        Assert.Equal(first, Train(2, 3));
    }

    [Theory]
    [InlineData(6, 0)]
    [InlineData(8, 2)]
    public void A_Resumed_Loader_Goes_On_In_The_Same_Order(int stopAt, int prefetch) => Assert.Equal(Train(2, 0), Train(2, prefetch, stopAt));
}
