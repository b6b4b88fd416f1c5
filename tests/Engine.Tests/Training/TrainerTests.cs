using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class TrainerTests
{
    private sealed class Setup
    {
        public Setup(ulong seed = 1, TrainerSettings? settings = null)
        {
            Stream = new Generator(seed);
            var init = new Generator(seed + 100);
            Model = new Sequential(new Linear(4, 16, generator: init, device: Device), new Function(x => x.Relu()), new Dropout(0.25, Stream), new Linear(16, 1, generator: init, device: Device));
            Optimizer = new Sgd(Model.Parameters(), 0.05, 0.9);
            Schedule = new ExponentialSchedule(Optimizer, 0.99);
            Trainer = new Trainer<ProblemBatch>(Model, Optimizer, batch => Loss(Model.Forward(batch.X), batch.Y))
            {
                Settings = settings ?? new() { Epochs = 3 },
                Schedule = Schedule,
            };
            Trainer.Generators[0] = Stream;
        }

        public Device Device { get; } = Device.Open(DeviceKind.Cpu);

        public Generator Stream { get; }

        public Sequential Model { get; }

        public Sgd Optimizer { get; }

        public ExponentialSchedule Schedule { get; }

        public Trainer<ProblemBatch> Trainer { get; }

        public static Tensor Loss(Tensor output, Tensor target) => ((output - target) * (output - target)).Sum() / output.Elements;

        public ProblemBatches Data(int count = 8, int size = 16) => new(count, size, Stream, Device);

        public float[] Weights() => [.. Model.Parameters().SelectMany(p => p.ToArray<float>())];
    }

    private sealed class Recorder : IProgress<TrainingProgress>
    {
        public List<TrainingProgress> Seen { get; } = [];

        public void Report(TrainingProgress value) => Seen.Add(value);
    }

    [Fact]
    public void Training_Lowers_The_Loss_And_Reports()
    {
        var setup = new Setup(settings: new() { Epochs = 20, ReportEvery = 4, SchedulePeriod = SchedulePeriod.Step });
        var recorder = new Recorder();
        var result = setup.Trainer.Fit(setup.Data(), recorder);
        Assert.Equal(TrainingEnd.Completed, result.End);
        Assert.Equal(20, result.Epochs.Count);
        Assert.Equal(160, setup.Trainer.Step);
        Assert.Equal(160, setup.Schedule.StepCount);
        Assert.True(result.Epochs[^1].Loss < result.Epochs[0].Loss / 3, $"{result.Epochs[0].Loss} to {result.Epochs[^1].Loss}");
        Assert.Equal(60, recorder.Seen.Count);
        Assert.Equal(20, recorder.Seen.Count(p => p.IsEpochEnd));
        Assert.Equal(0.05, recorder.Seen[0].LearningRate * Math.Pow(0.99, -3), 12);
    }

    [Fact]
    public void Live_Bytes_Are_Flat()
    {
        var setup = new Setup(settings: new() { Epochs = 1000 });
        long first = 0;
        setup.Trainer.Callbacks.Add(new Watch(run =>
        {
            if (run.Step == 16)
                first = setup.Device.LiveBytes;
            if (run.Step == 400)
            {
                Assert.InRange(setup.Device.LiveBytes, 0, first);
                run.Stop();
            }
        }));
        Assert.Equal(TrainingEnd.Stopped, setup.Trainer.Fit(setup.Data()).End);
    }

    private sealed class Watch(Action<ITrainingRun> stepEnd) : ITrainingCallback
    {
        public void StepEnd(ITrainingRun run) => stepEnd(run);
    }

    [Fact]
    public void Accumulated_Batches_Make_One_Step_Of_Their_Mean()
    {
        var whole = new Setup(settings: new() { Epochs = 1 });
        var parts = new Setup(settings: new() { Epochs = 1, AccumulationSteps = 3 });
        parts.Trainer.Fit(parts.Data(7, 4));
        Assert.Equal(3, parts.Trainer.Step); // 3 + 3 + 1 batches
        Assert.DoesNotContain(parts.Model.Parameters(), p => p.Grad is not null);
        Assert.NotEqual(whole.Weights(), parts.Weights());
    }

    [Fact]
    public void Cancelling_Leaves_The_Last_Whole_Step()
    {
        using var cancel = new CancellationTokenSource();
        var stopped = new Setup(settings: new() { Epochs = 3, AccumulationSteps = 2 });
        stopped.Trainer.Callbacks.Add(new Watch(run =>
        {
            if (run.Step == 5)
                cancel.Cancel();
        }));
        Assert.Throws<OperationCanceledException>(() => stopped.Trainer.Fit(stopped.Data(), null, cancel.Token));
        Assert.Equal(5, stopped.Trainer.Step);
        float[] at = stopped.Weights();
        // Going on gives what never stopping would have given.
        stopped.Trainer.Fit(stopped.Data());
        var whole = new Setup(settings: new() { Epochs = 3, AccumulationSteps = 2 });
        float[] atWhole = [];
        whole.Trainer.Callbacks.Add(new Watch(run => atWhole = run.Step == 5 ? whole.Weights() : atWhole));
        whole.Trainer.Fit(whole.Data());
        Assert.Equal(atWhole, at);
        Assert.Equal(whole.Weights(), stopped.Weights());
    }

    [Fact]
    public void Stopping_At_Steps_And_Going_On_Is_The_Same_As_Not_Stopping()
    {
        var stopped = new Setup(settings: new() { Epochs = 3, MaxSteps = 11 });
        Assert.Equal(TrainingEnd.MaxSteps, stopped.Trainer.Fit(stopped.Data()).End);
        Assert.Equal(11, stopped.Trainer.Step);
        var whole = new Setup();
        float[] at = [];
        whole.Trainer.Callbacks.Add(new Watch(run => at = run.Step == 11 ? whole.Weights() : at));
        whole.Trainer.Fit(whole.Data());
        Assert.Equal(at, stopped.Weights());
    }

    [Fact]
    public void Early_Stopping_Puts_The_Best_Back()
    {
        var setup = new Setup(settings: new() { Epochs = 50, Patience = 1, RestoreBest = true, Monitor = "score" });
        double[] scores = [0.1, 0.5, 0.4, 0.3, 0.9];
        int epoch = 0;
        float[] best = [];
        setup.Trainer.Validation = _ =>
        {
            if (epoch == 1)
                best = setup.Weights();
            Assert.False(setup.Model.IsTraining);
            return new Dictionary<string, double> { ["score"] = scores[epoch++] };
        };
        var result = setup.Trainer.Fit(setup.Data());
        Assert.Equal(TrainingEnd.EarlyStopped, result.End);
        Assert.Equal((0.5, 2, 4), (result.Best, result.BestEpoch, result.Epochs.Count));
        Assert.Equal(best, setup.Weights());
        Assert.True(setup.Model.IsTraining);
    }

    [Fact]
    public void Clipping_Bounds_What_Reaches_The_Optimiser()
    {
        var setup = new Setup(settings: new() { Epochs = 1, ClipNorm = 1e-6, ClipValue = 1 });
        float[] before = setup.Weights();
        setup.Trainer.Fit(setup.Data());
        Assert.True(before.Zip(setup.Weights(), (a, b) => Math.Abs(a - b)).Max() < 1e-5f);
    }

    [Fact]
    public void Mistakes_Are_Named()
    {
        Assert.Contains("no batch", Assert.Throws<InvalidOperationException>(() => new Setup().Trainer.Fit([])).Message);
        var setup = new Setup(settings: new() { Monitor = "accuracy" });
        Assert.Contains("'accuracy'", Assert.Throws<InvalidOperationException>(() => setup.Trainer.Fit(setup.Data())).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Setup(settings: new() { AccumulationSteps = 0 }).Trainer.Fit([]));
    }
}
