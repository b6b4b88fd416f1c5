using TransferEngine.Modules;
using TransferEngine.Serialization;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

/// <summary>A resumed training is the uninterrupted one, bit for bit; a wrong file changes nothing.</summary>
public sealed class CheckpointTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("checkpoint").FullName;

    private string File => Path.Combine(folder, "training.safetensors");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    private sealed class Run
    {
        public Run(long maxSteps = long.MaxValue, int epochs = 4, Action<Run>? callback = null, int hidden = 12)
        {
            Draw = new Generator(11);
            Order = new Generator(12);
            Model = new Sequential(new Linear(4, hidden, generator: Draw), new BatchNorm1d(hidden), new Function(x => x.Relu()), new Dropout(0.3, Draw), new Linear(hidden, 1, generator: Draw));
            Optimizer = new Adam(Model.Parameters(), 0.01);
            Trainer = new Trainer<ProblemBatch>(Model, Optimizer, batch => Model.Forward(batch.X).MseLoss(batch.Y))
            {
                Settings = new() { Epochs = epochs, MaxSteps = maxSteps, AccumulationSteps = 2, SchedulePeriod = SchedulePeriod.Step, RestoreBest = true, Patience = 100, ClipNorm = 1 },
                Schedule = new OneCycleSchedule(Optimizer, 0.02, 20),
                Plateau = new PlateauSchedule(Optimizer, patience: 0, threshold: 0.9),
            };
            Trainer.Generators.Clear();
            Trainer.Generators.Add(Draw);
            Trainer.Generators.Add(Order);
        }

        public Generator Draw { get; }

        public Generator Order { get; }

        public Sequential Model { get; }

        public Adam Optimizer { get; }

        public Trainer<ProblemBatch> Trainer { get; }

        public TrainingResult Fit() => Trainer.Fit(new ProblemBatches(9, 8, Order));

        /// <summary>Everything that training changes, to compare.</summary>
        public string State() => string.Join('\n', Model.StateDict().Select(item => (item.Key, item.Value)).Concat(Optimizer.StateDict().Select(item => (item.Key, item.Value)))
            .Select(item => $"{item.Key}: {Bits(item.Value)}")) + $"\n{Draw.State} {Order.State} {Trainer.Step} {Trainer.EpochsDone} {Trainer.Best:R} {Trainer.Schedule!.StepCount}";

        private static string Bits(Tensor tensor) => tensor.ElementType switch
        {
            ElementType.Float32 => Convert.ToHexString(System.Runtime.InteropServices.MemoryMarshal.AsBytes(tensor.ToArray<float>().AsSpan())),
            ElementType.Float64 => string.Join(' ', tensor.ToArray<double>().Select(BitConverter.DoubleToInt64Bits)),
            _ => string.Join(' ', tensor.ToArray<int>()),
        };
    }

    [Theory]
    [InlineData(3)] // in the midst of the first epoch of 5 steps
    [InlineData(5)] // where it ends
    [InlineData(12)]
    public void Resuming_Is_The_Same_As_Not_Stopping(int steps)
    {
        var whole = new Run();
        whole.Fit();

        var first = new Run(steps);
        Assert.Equal(TrainingEnd.MaxSteps, first.Fit().End);
        first.Trainer.Save(File);

        var second = new Run();
        second.Trainer.Load(File);
        Assert.Equal(first.State(), second.State());
        second.Fit();
        Assert.Equal(whole.State(), second.State());
        Assert.Equal(20, second.Trainer.Step);
    }

    [Fact]
    public void The_Trainer_Saves_As_It_Goes()
    {
        var run = new Run();
        string best = Path.Combine(folder, "best.safetensors");
        var trainer = new Trainer<ProblemBatch>(run.Model, run.Optimizer, batch => run.Model.Forward(batch.X).MseLoss(batch.Y))
        {
            Settings = new() { Epochs = 2, CheckpointPath = File, CheckpointEverySteps = 4, BestCheckpointPath = best },
        };
        trainer.Fit(new ProblemBatches(9, 8, run.Order));
        Assert.True(System.IO.File.Exists(best));
        Assert.Equal([best, File], Directory.GetFiles(folder).Order());
        trainer.Load(File);
        Assert.Equal(18, trainer.Step);
        Assert.Contains("CheckpointEverySteps = 4", Safetensors.Load(File).Metadata["settings"]);
    }

    [Fact]
    public void A_Truncated_Or_Foreign_File_Changes_Nothing()
    {
        var run = new Run(3);
        run.Fit();
        run.Trainer.Save(File);
        byte[] bytes = System.IO.File.ReadAllBytes(File);
        string before = run.State();
        foreach (int length in new[] { 0, 7, 100, bytes.Length / 2, bytes.Length - 1 })
        {
            System.IO.File.WriteAllBytes(File, bytes[..length]);
            Assert.Throws<DataFormatException>(() => run.Trainer.Load(File));
        }
        Safetensors.Save(File, run.Model.StateDict());
        Assert.Contains("LoadStateDict", Assert.Throws<DataFormatException>(() => run.Trainer.Load(File)).Message);
        Assert.Equal(before, run.State());
    }

    [Fact]
    public void A_Checkpoint_Of_Another_Model_Or_Optimiser_Changes_Nothing()
    {
        var run = new Run(3);
        run.Fit();
        run.Trainer.Save(File);
        var wider = new Run(3, hidden: 13);
        string before = wider.State();
        Assert.Contains("0.weight", Assert.Throws<ArgumentException>(() => wider.Trainer.Load(File)).Message);
        Assert.Equal(before, wider.State());
        var other = new Trainer<ProblemBatch>(run.Model, new Sgd(run.Model.Parameters(), 0.1), batch => run.Model.Forward(batch.X).MseLoss(batch.Y));
        Assert.Contains("Adam", Assert.Throws<ArgumentException>(() => other.Load(File)).Message);
    }
}
