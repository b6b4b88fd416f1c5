using System.Diagnostics;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Cli;

/// <summary>
/// The main job: drawn digits with labels are the source domain, real handwriting without labels the target. A small convolutional network is trained on
/// the source alone, then with each adaptation method; then the features of MK-MMD are frozen and a head is fitted on ten labelled target images a class.
/// Half of the target, drawn before anything else, is only ever scored on.
/// </summary>
internal sealed class DigitsDemo(Device device, int seeds)
{
    private const int SourceImages = 4000, BatchSize = 64, Steps = 550, LabelsPerClass = 10;

    private readonly Dictionary<string, List<(double Accuracy, double Seconds)>> results = [];

    public void Run(FileInfo? json, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var (images, labels) = OptDigits.Load();
        // The split depends on nothing that is varied or tuned.
        var (adaptationRows, scoringRows) = Splits.Stratified(labels, 0.5, seed: 0);
        AnsiConsole.MarkupLineInterpolated($"Device: {device} {device.Name}");
        AnsiConsole.MarkupLineInterpolated($"Source: {SourceImages} drawn digits with labels. Target: {adaptationRows.Length} handwritten digits without labels, {scoringRows.Length} held for scoring.");
        AnsiConsole.WriteLine();
        var target = new Domain(device, images, labels, adaptationRows, scoringRows);
        Progressing(report =>
        {
            for (int seed = 0; seed < seeds; seed++)
            {
                cancellation.ThrowIfCancellationRequested();
                RunSeed(target, seed, report, cancellation);
            }
        });
        WriteTable(clock.Elapsed);
        if (json is not null)
            WriteJson(json, clock.Elapsed);
    }

    private void RunSeed(Domain target, int seed, Action<string, int, int> report, CancellationToken cancellation)
    {
        var (drawn, digits) = DrawnDigits.Draw(SourceImages, seed);
        var source = new TensorDataset(Tensor.From(drawn, [SourceImages, 1, 8, 8], device), Tensor.From(digits, [SourceImages], device));
        Module? adapted = null;
        foreach (var method in Methods(seed))
        {
            var clock = Stopwatch.StartNew();
            // Every method starts from the same weights and sees the same batches.
            var generator = new Generator((ulong)seed + 1);
            var (features, head) = Network(generator);
            var adapter = new Adapter(features, head, method);
            var pairs = new DomainLoader(
                new DataLoader(source, new() { BatchSize = BatchSize, Shuffle = true, DropLast = true, Seed = (ulong)seed }, device),
                new DataLoader(target.Unlabelled, new() { BatchSize = BatchSize, Shuffle = true, DropLast = true, Seed = (ulong)seed + 1000 }, device));
            adapter.Fit(pairs, new() { Steps = Steps, Schedule = optimizer => new DannSchedule(optimizer, Steps) },
                new Reporter(progress => report($"seed {seed + 1}: {method.Name}, loss {progress.Loss:F3}", (int)progress.Step, Steps)), cancellation);
            Record(method.Name, target.Score(x => head.Forward(features.Forward(x))), clock);
            if (method.Name == "mk-mmd")
                adapted = features;
        }
        FewShotHead(target, adapted!, seed, report);
    }

    /// <summary>Freezes the adapted features and fits a linear head on a few labelled images of the target, none of them held for scoring.</summary>
    private void FewShotHead(Domain target, Module features, int seed, Action<string, int, int> report)
    {
        var clock = Stopwatch.StartNew();
        var (input, label) = target.FewLabelled(LabelsPerClass, (ulong)seed);
        using var freeze = FreezePolicy.All().Apply(features);
        Tensor extracted;
        using (new NoGrad())
            extracted = features.Forward(input);
        var head = LinearProbe.Fit(extracted, label, classes: 10);
        report($"seed {seed + 1}: few-shot-head", 1, 1);
        Record("few-shot-head", target.Score(x => head.Forward(features.Forward(x))), clock);
    }

    // The network and the weights were chosen on another target, MNIST reduced to 8 x 8, whose labels may be looked at; optdigits' labels were not.
    private IEnumerable<AdaptationMethod> Methods(int seed)
    {
        yield return new SourceOnly();
        yield return new DiscrepancyMethod("mk-mmd", new MaximumMeanDiscrepancy(), weight: 5, WeightSchedule.Ganin);
        yield return new DiscrepancyMethod("coral", new DeepCoral(), weight: 100, WeightSchedule.Ganin);
        var generator = new Generator((ulong)seed + 100);
        yield return new DomainAdversary(new Sequential(new Linear(128, 128, generator: generator, device: device), new Function(x => x.Relu()), new Linear(128, 1, generator: generator, device: device)), weight: 0.15);
    }

    private (Module Features, Module Head) Network(Generator generator) => (
        new Sequential(
            new Conv2d(1, 32, 3, padding: 1, generator: generator, device: device), new BatchNorm2d(32, device: device), new Function(x => x.Relu()),
            new Conv2d(32, 64, 3, padding: 1, generator: generator, device: device), new BatchNorm2d(64, device: device), new Function(x => x.Relu()), new MaxPool2d(2),
            new Conv2d(64, 64, 3, padding: 1, generator: generator, device: device), new BatchNorm2d(64, device: device), new Function(x => x.Relu()), new MaxPool2d(2),
            new Flatten(), new Linear(256, 128, generator: generator, device: device), new Function(x => x.Relu())),
        new Linear(128, 10, generator: generator, device: device));

    private void Record(string method, double accuracy, Stopwatch clock)
    {
        if (!results.TryGetValue(method, out var list))
            results[method] = list = [];
        list.Add((accuracy, clock.Elapsed.TotalSeconds));
    }

    private void Progressing(Action<Action<string, int, int>> work)
    {
        if (!AnsiConsole.Profile.Capabilities.Interactive || Console.IsOutputRedirected)
        {
            work((what, step, steps) =>
            {
                if (step == steps)
                    Console.WriteLine($"  {what}");
            });
            return;
        }
        AnsiConsole.Progress().AutoClear(true).Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new SpinnerColumn()).Start(context =>
        {
            var all = context.AddTask("all seeds", maxValue: seeds * 5);
            var task = context.AddTask("starting", maxValue: 1);
            work((what, step, steps) =>
            {
                task.Description = Markup.Escape(what);
                (task.MaxValue, task.Value) = (steps, step);
                if (step == steps)
                    all.Increment(1);
            });
        });
    }

    private void WriteTable(TimeSpan elapsed)
    {
        var table = new Table().Title("Accuracy on the target's held half").AddColumns("method", "accuracy", "spread", "seconds a seed");
        foreach (var column in table.Columns.Skip(1))
            column.RightAligned();
        foreach (var (method, runs) in results)
            table.AddRow(method, $"{Mean(runs):P1}", runs.Count > 1 ? $"± {100 * Deviation(runs):F1}" : "", $"{runs.Average(run => run.Seconds):F1}");
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLineInterpolated($"{seeds} seed(s) on {device} in {elapsed.TotalSeconds:F0} s.");
    }

    private void WriteJson(FileInfo file, TimeSpan elapsed) => File.WriteAllText(file.FullName, JsonSerializer.Serialize(new
    {
        device = $"{device} {device.Name}",
        seconds = elapsed.TotalSeconds,
        methods = results.Select(item => new
        {
            name = item.Key,
            accuracy_mean = Mean(item.Value),
            accuracy_std = Deviation(item.Value),
            accuracies = item.Value.Select(run => run.Accuracy),
            seconds = item.Value.Average(run => run.Seconds),
        }),
    }, new JsonSerializerOptions { WriteIndented = true }));

    private static double Mean(List<(double Accuracy, double Seconds)> runs) => runs.Average(run => run.Accuracy);

    /// <summary>The sample standard deviation; 0 of one run.</summary>
    private static double Deviation(List<(double Accuracy, double Seconds)> runs) =>
        runs.Count < 2 ? 0 : Math.Sqrt(runs.Sum(run => Math.Pow(run.Accuracy - Mean(runs), 2)) / (runs.Count - 1));

    /// <summary>Reports on the calling thread, in order.</summary>
    private sealed class Reporter(Action<TrainingProgress> report) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => report(value);
    }

    /// <summary>The target domain: one half to adapt to, whose labels only the few-shot head may ask for, and one to score on.</summary>
    private sealed class Domain(Device device, float[] images, int[] labels, int[] adaptationRows, int[] scoringRows)
    {
        private readonly Tensor scoring = Stack(device, images, scoringRows), scoringLabels = Tensor.From([.. scoringRows.Select(row => labels[row])], [scoringRows.Length], device);

        /// <summary>The half to adapt to, with zeros where labels would be.</summary>
        public TensorDataset Unlabelled { get; } = new(Stack(device, images, adaptationRows), Tensor.Zeros([adaptationRows.Length], device, ElementType.Int32));

        public (Tensor Input, Tensor Labels) FewLabelled(int perClass, ulong seed)
        {
            var (drawn, _) = Splits.PerClass([.. adaptationRows.Select(row => labels[row])], perClass, seed);
            int[] rows = [.. drawn.Select(i => adaptationRows[i])];
            return (Stack(device, images, rows), Tensor.From([.. rows.Select(row => labels[row])], [rows.Length], device));
        }

        public double Score(Func<Tensor, Tensor> model)
        {
            using var recording = new NoGrad();
            using var scope = new TensorScope();
            return Accuracy.Of(model(scoring), scoringLabels);
        }

        private static Tensor Stack(Device device, float[] images, int[] rows) =>
            Tensor.From([.. rows.SelectMany(row => images.AsSpan(row * 64, 64).ToArray())], [rows.Length, 1, 8, 8], device);
    }
}
