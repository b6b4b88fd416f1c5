using System.Globalization;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Serialization;

namespace TransferEngine.Benchmarks;

/// <summary>UCI HAR: activities from a smartphone's sensors, a person a domain, with AdaTime's one-dimensional convolutional network.</summary>
internal sealed class Har : DeepExperiment
{
    private const int Channels = 9, Features = 64, ClassCount = 6;

    private readonly Dictionary<int, (TensorDataset Training, TensorDataset Test)> subjects = [];
    private Device device = Device.Cpu;

    public override string Name => "har";

    public override string Title => "UCI HAR: activities from a smartphone, person to person";

    public override string Protocol => $$"""
        Windows of 128 samples of nine channels (body acceleration, gyroscope, total acceleration), six activities, the subjects and splits of AdaTime (Ragab et al., TKDD 2023): about 230 training
        and 95 test windows a person. Each channel is standardised by the source's training windows. A method sees the training windows of both persons and the source's labels; accuracy is
        measured on the target's test windows. 2→11 and 6→23 are pairs of AdaTime's; it reports macro-F1 scores, which accuracies do not compare with.

        The network is AdaTime's at half its width: convolutions of 5, 8 and 8 samples to 32, 64 and 64 channels, each batch-normalised, rectified and max-pooled by two, dropout 0.5 after the first, the mean over
        time, and a linear head. Batches of 32 a domain, 240 steps. {{Training}}
        Each method's weight is chosen among three, for each pair and seed, by the validator of information maximisation, which was fixed beforehand and sees no target label: the accuracy is that
        of the chosen model.
        """;

    public override string Notes => $$"""
        {{Times}} SHOT goes on from the source-only model, so it trains longer than the others; MCD, each of whose steps is six updates, classifies the source in a third of the
        steps and has learned too little of it by then.
        """;

    public override IReadOnlyList<string> Tasks { get; } = ["2→11", "6→23", "11→6", "23→2", "6→11"];

    protected override IReadOnlyList<DeepMethod> DeepMethods { get; } = Recipes.Searched(shotEpochs: "30");

    protected override void Prepare(ExperimentRun run, CancellationToken cancellation)
    {
        device = run.Device;
        foreach (int subject in Tasks.SelectMany(task => task.Split('→')).Select(text => int.Parse(text, CultureInfo.InvariantCulture)).Distinct())
            subjects[subject] = (Load(run, subject, "train"), Load(run, subject, "test"));
    }

    protected override DeepTask Task(string name, int seed)
    {
        int[] pair = [.. name.Split('→').Select(text => int.Parse(text, CultureInfo.InvariantCulture))];
        var training = subjects[pair[0]].Training.Inputs;
        var (mean, deviation) = (training.Mean([0, 2], keepDim: true), training.Var([0, 2], keepDim: true).Sqrt());
        TensorDataset Standard(TensorDataset data) => new((data.Inputs - mean) / deviation, data.Targets);
        return new()
        {
            Source = Standard(subjects[pair[0]].Training),
            Held = Standard(subjects[pair[0]].Test),
            Target = Standard(subjects[pair[1]].Training),
            Test = Standard(subjects[pair[1]].Test),
            Networks = Network,
            Width = Features,
            Classes = ClassCount,
            DiscriminatorWidth = 64,
            BatchSize = 32,
            Steps = 240,
            SourceSteps = 240,
            ShotEpochs = 30,
        };
    }

    private static TensorDataset Load(ExperimentRun run, int subject, string part)
    {
        string file = string.Create(CultureInfo.InvariantCulture, $"subject{subject:00}_{part}.npz"), path = Path.Combine(run.Folder("uci-har", file), file);
        var arrays = Npy.LoadArchive(path, run.Device);
        if (!arrays.TryGetValue("X", out var x) || !arrays.TryGetValue("y", out var y) || x.Rank != 3 || x.Shape[1] != Channels || y.Rank != 1 || y.Shape[0] != x.Shape[0])
            throw new DataFormatException(path, $"wanted windows X [N, {Channels}, L] and activities y [N].");
        return new(x, y);
    }

    private (Module Features, Module Head) Network(Generator generator)
    {
        Module[] Stage(int inputs, int outputs, int size) =>
            [new Conv1d(inputs, outputs, size, padding: size / 2, bias: false, generator: generator, device: device), new BatchNorm1d(outputs, device: device), Activation.Relu(), new MaxPool1d(2, 2, 1)];
        return (new Sequential([.. Stage(Channels, 32, 5), new Dropout(0.5, generator), .. Stage(32, 64, 8), .. Stage(64, Features, 8), new AdaptiveAvgPool1d(1), new Flatten()]),
            new Linear(Features, ClassCount, generator: generator, device: device));
    }
}
