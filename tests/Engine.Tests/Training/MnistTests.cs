using System.Diagnostics;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Serialization;
using TransferEngine.Training;
using Xunit;
using Xunit.Abstractions;

namespace TransferEngine.Tests.Training;

/// <summary>LeNet learns MNIST on the CPU.</summary>
public sealed class MnistTests(ITestOutputHelper output)
{
    /// <summary>Where MNIST lies; without it a test is skipped, in continuous integration it fails.</summary>
    internal static string FolderOrSkip()
    {
        string? folder = Folder();
        if (folder is null && Environment.GetEnvironmentVariable("CI") == "true")
            Assert.Fail("MNIST is not there: shared/data/mnist was looked for in every folder above the test's.");
        Skip.If(folder is null, "MNIST is not there: shared/data/mnist was looked for in every folder above the test's.");
        return folder!;
    }

    private static string? Folder()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            foreach (string candidate in new[] { Path.Combine(at.FullName, "shared", "data", "mnist"), Path.Combine(at.FullName, "data", "mnist") })
            {
                if (File.Exists(Path.Combine(candidate, "train-images-idx3-ubyte.gz")))
                    return candidate;
            }
        }
        return null;
    }

    /// <summary>The first digits of a part.</summary>
    internal static TensorDataset Read(string folder, string part, int count = int.MaxValue)
    {
        var (shape, pixels) = Idx.Load(Path.Combine(folder, $"{part}-images-idx3-ubyte.gz"));
        var (_, labels) = Idx.Load(Path.Combine(folder, $"{part}-labels-idx1-ubyte.gz"));
        count = Math.Min(count, shape[0]);
        return new(
            Tensor.From(Array.ConvertAll(pixels[..(count * shape[1] * shape[2])], pixel => (pixel / 255f - 0.1307f) / 0.3081f), [count, 1, shape[1], shape[2]]),
            Tensor.From(Array.ConvertAll(labels[..count], label => (int)label)));
    }

    internal static Sequential LeNet(ulong seed)
    {
        var draw = new Generator(seed);
        return new Sequential(
            new Conv2d(1, 6, 5, padding: 2, generator: draw), new Function(x => x.Relu()), new MaxPool2d(2),
            new Conv2d(6, 16, 5, generator: draw), new Function(x => x.Relu()), new MaxPool2d(2),
            new Flatten(), new Linear(400, 120, generator: draw), new Function(x => x.Relu()),
            new Linear(120, 84, generator: draw), new Function(x => x.Relu()), new Linear(84, 10, generator: draw));
    }

    [SkippableFact]
    public void LeNet_Reaches_99_Percent_Within_Five_Epochs()
    {
        string folder = FolderOrSkip();
        TensorDataset train = Read(folder, "train"), test = Read(folder, "t10k");
        var model = LeNet(1);
        var loader = new DataLoader(train, new() { BatchSize = 64, Shuffle = true, Seed = 1, DropLast = true });
        var optimizer = new Adam(model.Parameters());
        var trainer = new Trainer(model, optimizer, (logits, labels) => logits.CrossEntropy(labels))
        {
            Settings = new() { Epochs = 4, SchedulePeriod = SchedulePeriod.Step, ReportEvery = 100 },
            Schedule = new OneCycleSchedule(optimizer, 4e-3, 4 * loader.Count),
            Metrics = { new Accuracy() },
        };
        var clock = Stopwatch.StartNew();
        var result = trainer.Fit(loader, new DataLoader(test, new() { BatchSize = 500 }));
        foreach (var epoch in result.Epochs)
            output.WriteLine($"epoch {epoch.Epoch}: loss {epoch.Loss:F4}, test {epoch.Metrics["accuracy"]:P2}, {epoch.Elapsed.TotalSeconds:F1} s");
        output.WriteLine($"{clock.Elapsed.TotalSeconds:F1} s in all");
        Assert.True(result.Epochs[^1].Metrics["accuracy"] >= 0.99, $"{result.Epochs[^1].Metrics["accuracy"]:P2} after {result.Epochs.Count} epochs, wanted 99.00 %");
    }
}
