using TransferEngine.Adaptation;
using TransferEngine.Cli;
using TransferEngine.Data;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Tests.Serialization;
using TransferEngine.Training;
using Xunit;
using Xunit.Abstractions;

namespace TransferEngine.Tests.Training;

/// <summary>Trainings in 16 bits come to what those in Float32 come to.</summary>
public sealed class MixedPrecisionTests(ITestOutputHelper output)
{
    private static readonly ElementType[] Types = [ElementType.Float32, ElementType.BFloat16, ElementType.Float16];

    /// <summary>LeNet on 6,000 digits, tested on 5,000 others.</summary>
    [SkippableFact]
    public void LeNet_Learns_Mnist_As_Well()
    {
        string folder = MnistTests.FolderOrSkip();
        var (train, test) = (MnistTests.Read(folder, "train", 6000), MnistTests.Read(folder, "t10k", 5000));
        var reached = Types.ToDictionary(type => type, type =>
        {
            var model = MnistTests.LeNet(1);
            var loader = new DataLoader(train, new() { BatchSize = 64, Shuffle = true, Seed = 1, DropLast = true });
            var optimizer = new Adam(model.Parameters());
            var trainer = new Trainer(model, optimizer, (logits, labels) => logits.CrossEntropy(labels))
            {
                Settings = new() { Epochs = 3, SchedulePeriod = SchedulePeriod.Step, Autocast = type },
                Schedule = new OneCycleSchedule(optimizer, 4e-3, 3 * loader.Count),
                Metrics = { new Accuracy() },
            };
            double accuracy = trainer.Fit(loader, new DataLoader(test, new() { BatchSize = 500 })).Epochs[^1].Metrics["accuracy"];
            output.WriteLine($"{type}: {accuracy:P2}{(trainer.Scaler is { } scaler ? $", scale {scaler.CurrentScale}, {scaler.SkippedSteps} steps left out" : "")}");
            Assert.Equal(type == ElementType.Float16, trainer.Scaler is not null);
            return accuracy;
        });
        // Two standard errors of the difference of two shares of 95 % of 5,000 are 0.9 points.
        Assert.All(reached.Values, accuracy => Assert.InRange(accuracy, Math.Max(0.94, reached[ElementType.Float32] - 0.009), 1));
    }

    /// <summary>Drawn digits adapted to handwritten ones by DANN, on the half whose labels nothing has seen.</summary>
    [Fact]
    public void Dann_Adapts_Digits_As_Well()
    {
        var (images, labels) = OptDigits.Load();
        var (adapting, scoring) = Splits.Stratified(labels, 0.5, seed: 0);
        var (drawn, digits) = DrawnDigits.Draw(2000, 0);
        Tensor Stack(int[] rows) => Tensor.From([.. rows.SelectMany(row => images.AsSpan(row * 64, 64).ToArray())], [rows.Length, 1, 8, 8]);
        var source = new TensorDataset(Tensor.From(drawn, [2000, 1, 8, 8]), Tensor.From(digits));
        var target = new TensorDataset(Stack(adapting), Tensor.Zeros([adapting.Length], type: ElementType.Int32));
        Tensor seen = Stack(scoring), truth = Tensor.From([.. scoring.Select(row => labels[row])]);
        double Reach(bool adapts, ElementType type)
        {
            var draw = new Generator(1);
            var features = new Sequential(
                new Conv2d(1, 16, 3, padding: 1, generator: draw), new BatchNorm2d(16), Activation.Relu(), new MaxPool2d(2),
                new Conv2d(16, 32, 3, padding: 1, generator: draw), new BatchNorm2d(32), Activation.Relu(), new MaxPool2d(2), new Flatten(), new Linear(128, 64, generator: draw), Activation.Relu());
            var head = new Linear(64, 10, generator: draw);
            var adversary = new DomainAdversary(new Sequential(new Linear(64, 64, generator: draw), Activation.Relu(), new Linear(64, 1, generator: draw)), weight: 0.15);
            var adapter = new Adapter(features, head, adapts ? adversary : new SourceOnly());
            var pairs = new DomainLoader(
                new DataLoader(source, new() { BatchSize = 64, Shuffle = true, DropLast = true, Seed = 1 }), new DataLoader(target, new() { BatchSize = 64, Shuffle = true, DropLast = true, Seed = 2 }));
            adapter.Fit(pairs, new() { Steps = 300, Autocast = type });
            return Accuracy.Of(adapter.Logits(seen).Detach(), truth);
        }
        double alone = Reach(false, ElementType.Float32);
        var reached = Types.ToDictionary(type => type, type => Reach(true, type));
        output.WriteLine($"source alone {alone:P1}; {string.Join(", ", reached.Select(item => $"{item.Key} {item.Value:P1}"))}");
        // Two standard errors of the difference of two shares of about 85 % of 899 are 3.4 points.
        Assert.All(reached.Values, accuracy => Assert.InRange(accuracy, Math.Max(alone, reached[ElementType.Float32] - 0.034), 1));
    }

    [Theory, InlineData(ElementType.BFloat16), InlineData(ElementType.Float16)]
    public void A_Resumed_Or_Captured_Training_Has_The_Bits_Of_One_That_Was_Neither(ElementType type)
    {
        using var folder = new TemporaryFolder();
        var settings = new TrainerSettings { Epochs = 3, Autocast = type, ClipNorm = 1 };
        float[] whole = Weights(NewTrainer(settings, out var batches), batches);
        Assert.Equal(whole, Weights(NewTrainer(settings with { CaptureSteps = true }, out batches), batches));
        var first = NewTrainer(settings with { MaxSteps = 7 }, out batches);
        Weights(first, batches);
        first.Save(folder.File("half.safetensors"));
        var second = NewTrainer(settings, out batches);
        second.Load(folder.File("half.safetensors"));
        Assert.Equal(first.Scaler?.CurrentScale, second.Scaler?.CurrentScale);
        Assert.Equal(whole, Weights(second, batches));
        if (type == ElementType.Float16)
        {
            Assert.True(second.Scaler!.SkippedSteps > 0, "the first scale, 1e9, is too large");
            Assert.Contains("scaler", Assert.Throws<ArgumentException>(() => NewTrainer(new(), out _).Load(folder.File("half.safetensors"))).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_Setting_Reaches_Fine_Tuning_And_Refuses_Other_Types()
    {
        var draw = new Generator(3);
        float[] Tuned(ElementType type)
        {
            var model = new LeNet(3, size: 16, generator: new(1));
            var tuner = new FineTuner(model, (logits, target) => logits.CrossEntropy(target)) { Settings = new() { Autocast = type } };
            var data = new TensorDataset(Tensor.Normal([12, 1, 16, 16], generator: new(2)), Tensor.RandomIntegers([12], 0, 3, new(4)));
            tuner.Fit(FineTuneRecipe.OneCycle(tuner.Groups, epochs: 1), new DataLoader(data, new() { BatchSize = 4 }));
            return [.. model.Parameters().SelectMany(parameter => parameter.ToArray<float>())];
        }
        Assert.NotEqual(Tuned(ElementType.Float32), Tuned(ElementType.BFloat16));
        Assert.Throws<ElementTypeException>(() => Tuned(ElementType.Float64));
        Assert.Equal(ElementType.Float32, Autocast.Current);
    }

    private static Trainer NewTrainer(TrainerSettings settings, out DataLoader batches)
    {
        var draw = new Generator(21);
        Tensor images = Tensor.Uniform([20, 1, 16, 16], -1, 1, draw), labels = Tensor.RandomIntegers([20], 0, 5, draw);
        var model = new Sequential(
            new Conv2d(1, 4, 3, padding: 1, generator: draw), new BatchNorm2d(4), Activation.Relu(), new MaxPool2d(2), new Flatten(), new Dropout(0.3, draw), new Linear(256, 5, generator: draw));
        batches = new DataLoader(new TensorDataset(images, labels), new() { BatchSize = 4, Shuffle = true, Seed = 5 });
        var trainer = new Trainer(model, new Adam(model.Parameters(), 3e-3), (logits, target) => logits.CrossEntropy(target))
        {
            Settings = settings,
            Scaler = settings.Autocast == ElementType.Float16 ? new(1e9, growthInterval: 4) : null,
        };
        trainer.Generators[0] = draw;
        return trainer;
    }

    private static float[] Weights(Trainer trainer, DataLoader batches)
    {
        trainer.Fit(batches);
        return [.. trainer.Model.Parameters().SelectMany(parameter => parameter.ToArray<float>())];
    }
}
