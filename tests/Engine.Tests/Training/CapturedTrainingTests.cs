using TransferEngine.Data;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;
using Xunit.Abstractions;

namespace TransferEngine.Tests.Training;

/// <summary>A trainer that captures its steps trains as one that does not, to the bit.</summary>
public sealed class CapturedTrainingTests(ITestOutputHelper output)
{
    private sealed class Watch(Action<ITrainingRun> stepEnd) : ITrainingCallback
    {
        public void StepEnd(ITrainingRun run) => stepEnd(run);
    }

    private static (double[] Losses, float[] State) Train(TrainerSettings settings, Action<Module, ITrainingRun>? stepEnd = null)
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var draw = new Generator(21);
        Tensor images = Tensor.Uniform([58, 1, 16, 16], -1, 1, draw, device), labels = Tensor.RandomIntegers([58], 0, 5, draw, device);
        var model = new Sequential(
            new Conv2d(1, 8, 3, padding: 1, generator: draw, device: device), new BatchNorm2d(8, device: device), Activation.Relu(), new MaxPool2d(2),
            new Flatten(), new Dropout(0.3, draw), new Linear(512, 5, generator: draw, device: device));
        var optimizer = new Adam(model.Parameters(), 3e-3);
        var trainer = new Trainer(model, optimizer, (logits, target) => logits.CrossEntropy(target)) { Settings = settings, Schedule = new ExponentialSchedule(optimizer, 0.98) };
        trainer.Generators[0] = draw;
        if (stepEnd is not null)
            trainer.Callbacks.Add(new Watch(run => stepEnd(model, run)));
        var data = new TensorDataset(images, labels);
        var result = trainer.Fit(new DataLoader(data, new() { BatchSize = 6, Shuffle = true, Seed = 5, Prefetch = 2 }, device), new DataLoader(data, new() { BatchSize = 20 }, device));
        return ([.. result.Epochs.SelectMany(epoch => epoch.Metrics.Values.Append(epoch.Loss))], [.. model.StateDict().Values.SelectMany(tensor => tensor.To(ElementType.Float32).ToArray<float>())]);
    }

    [Theory]
    [InlineData(1, null)]
    [InlineData(1, 0.5)]
    [InlineData(3, 0.5)]
    public void Captured_Training_Has_The_Bits_Of_Ordinary_Training(int accumulation, double? clip)
    {
        var settings = new TrainerSettings { Epochs = 3, AccumulationSteps = accumulation, ClipNorm = clip, SchedulePeriod = SchedulePeriod.Step };
        var (losses, state) = Train(settings);
        var (captured, capturedState) = Train(settings with { CaptureSteps = true });
        Assert.DoesNotContain(losses, double.IsNaN);
        Assert.Equal(losses, captured);
        Assert.Equal(state, capturedState);
    }

    [Fact]
    public void What_Is_Frozen_Between_Steps_Is_Frozen()
    {
        var settings = new TrainerSettings { Epochs = 2 };
        Assert.Equal(Train(settings, Freeze).State, Train(settings with { CaptureSteps = true }, Freeze).State);

        static void Freeze(Module model, ITrainingRun run)
        {
            if (run.Step is not (5 or 9))
                return;
            foreach (var parameter in model.GetModule("0").Parameters())
                parameter.RequiresGrad = run.Step == 9;
        }
    }

    [Fact]
    public void A_Step_That_Can_Not_Be_Captured_Ends_The_Training()
    {
        var model = new Linear(4, 2);
        Tensor x = Tensor.Ones([12, 4]), y = Tensor.Zeros([12, 2]);
        var loader = new DataLoader(new TensorDataset(x, y), new() { BatchSize = 2 });
        double annealed = 1;
        foreach (var loss in new Func<Tensor, Tensor, Tensor>[] { (a, b) => a.MseLoss(b) * (annealed *= 0.9), (a, b) => a.MseLoss(b) / a.Mean().Item() })
        {
            var trainer = new Trainer(model, new Sgd(model.Parameters()), loss) { Settings = new() { CaptureSteps = true } };
            Assert.Throws<CaptureException>(() => trainer.Fit(loader));
            Assert.InRange(trainer.Step, 1, 2);
            Assert.All(model.Parameters(), parameter => Assert.Null(parameter.Grad));
        }
        var several = new Trainer<Batch>(model, new Sgd(model.Parameters()), batch => (IEnumerable<TrainingUpdate>)[new(model.Forward(batch.Input).Sum())]) { Settings = new() { CaptureSteps = true } };
        Assert.Contains("several updates", Assert.Throws<ArgumentException>(() => several.Fit(loader)).Message);
        var foreign = new Trainer<ProblemBatch>(model, new Sgd(model.Parameters()), batch => model.Forward(batch.X).Sum()) { Settings = new() { CaptureSteps = true } };
        Assert.Contains("ITensorBatch<ProblemBatch>", Assert.Throws<ArgumentException>(() => foreign.Fit([])).Message);
    }

    /// <summary>Loading included: batches are cut out of a data set in memory.</summary>
    [Fact]
    public void A_Steady_Step_Of_Training_Allocates_Little()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MaxDegreeOfParallelism = 1; // all work on this thread, so that its allocation is all there is
        var draw = new Generator(1);
        var model = new Mlp(32, [64, 16], 10, draw, device);
        var data = new TensorDataset(Tensor.Normal([640, 32], generator: draw, device: device), Tensor.RandomIntegers([640], 0, 10, draw, device));
        var trainer = new Trainer(model, new Sgd(model.Parameters(), 0.01, 0.9), (logits, target) => logits.CrossEntropy(target)) { Settings = new() { CaptureSteps = true } };
        long start = 0, end = 0;
        int collections = 0;
        trainer.Callbacks.Add(new Watch(run =>
        {
            if (run.Step == 20)
                (start, collections) = (GC.GetAllocatedBytesForCurrentThread(), GC.CollectionCount(2));
            if (run.Step == 60)
                end = GC.GetAllocatedBytesForCurrentThread();
        }));
        trainer.Fit(new DataLoader(data, new() { BatchSize = 8 }, device));
        output.WriteLine($"{(end - start) / 40.0:N0} bytes a step");
        Assert.InRange((end - start) / 40.0, 1, 1024);
        Assert.Equal(collections, GC.CollectionCount(2));
    }
}
