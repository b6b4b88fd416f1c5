using System.Diagnostics;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Benchmarks;

/// <summary>A task of deep adaptation for one seed: rows, networks, and how they are trained.</summary>
internal sealed record DeepTask
{
    /// <summary>The source's training rows, as they are scored.</summary>
    public required IDataset Source { get; init; }

    /// <summary>Labelled rows of the source that nothing is trained on.</summary>
    public required IDataset Held { get; init; }

    /// <summary>The target's rows that are trained on without labels.</summary>
    public required IDataset Target { get; init; }

    /// <summary>The target's rows that accuracy is measured on; may be the same.</summary>
    public required IDataset Test { get; init; }

    /// <summary>Makes features and head.</summary>
    public required Func<Generator, (Module Features, Module Head)> Networks { get; init; }

    /// <summary>The length of the features.</summary>
    public required int Width { get; init; }

    /// <summary>The classes.</summary>
    public required int Classes { get; init; }

    /// <summary>The width of discriminators.</summary>
    public required int DiscriminatorWidth { get; init; }

    /// <summary>The rows of a batch of each domain.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Steps of all methods on both domains; MCD, whose steps are several, makes fewer.</summary>
    public required int Steps { get; init; }

    /// <summary>Steps on the source alone: of source-only, and of SHOT before it adapts.</summary>
    public required int SourceSteps { get; init; }

    /// <summary>SHOT's passes through the target.</summary>
    public required int ShotEpochs { get; init; }

    /// <summary>What SHOT's pseudo-labels weigh.</summary>
    public double PseudoLabelWeight { get; init; } = 0.3;

    /// <summary>How much of a source label is spread over all classes.</summary>
    public double Smoothing { get; init; } = 0.1;

    /// <summary>How weights decay.</summary>
    public double WeightDecay { get; init; } = 1e-3;

    /// <summary>Whether momentum is Nesterov's.</summary>
    public bool IsNesterov { get; init; } = true;

    /// <summary>The learning rates of so many steps.</summary>
    public Func<Optimizer, int, LearningRateSchedule> Schedule { get; init; } = (optimizer, steps) => new DannSchedule(optimizer, steps);

    /// <summary>What becomes of the source's rows in the methods that augment them.</summary>
    public Data.Transforms.ITransform? Augmentation { get; init; }
}

/// <summary>A method of deep adaptation: its recipe, what it is made of, and what is tried of it.</summary>
/// <param name="Description">What the tables say of it.</param>
/// <param name="Make">Makes it for a task; null of SHOT, which has a training of its own.</param>
/// <param name="Weights">The weights to choose from.</param>
/// <param name="StepShare">Its part of the task's steps.</param>
/// <param name="Augments">Whether the source's rows are augmented, in tasks that have a way to.</param>
/// <param name="Serves">Which tasks it is for; all if null.</param>
/// <param name="Of">What it makes of the task, where its rows, network or training are of its own; null for nothing else.</param>
internal sealed record DeepMethod(
    ExperimentMethod Description, Func<DeepTask, MethodSettings, AdaptationMethod>? Make, IReadOnlyList<double> Weights, double StepShare = 1, bool Augments = false, Predicate<DeepTask>? Serves = null,
    Func<DeepTask, DeepTask>? Of = null)
{
    /// <summary>What the names of trainings on the source alone begin with, and the name of the one that the others are held against.</summary>
    public const string SourceOnly = "source-only";

    /// <summary>What the name of a method on rows of its own ends with: its scores do not compare with the others'.</summary>
    public const string Own = " own";

    public bool IsSourceOnly => Description.Name.StartsWith(SourceOnly, StringComparison.Ordinal);
}

/// <summary>
/// An experiment with trained networks. For each task, seed and method the weights to try are trained and the model is chosen by information
/// maximisation, which sees no target label; the accuracies of all are kept beside the validators' scores, for the study of the validators.
/// </summary>
internal abstract class DeepExperiment : Experiment
{
    protected const double Momentum = 0.9, LearningRate = 0.01;

    /// <summary>Chooses; fixed before any result was seen, and not changed by the study of validators that came out of these.</summary>
    private static readonly Validator Judge = new InformationMaximizationValidator();

    /// <summary>The most rows of each part that validators look at, evenly spaced.</summary>
    private const int ScoredRows = 2000;

    public override IReadOnlyList<ExperimentMethod> Methods => [.. DeepMethods.Select(method => method.Description)];

    /// <summary>How all are trained, for the protocol.</summary>
    protected static string Training => """
        All train by SGD with Nesterov's momentum 0.9, weight decay 1e-3 and learning rate 0.01 (1 + 10 p)^-0.75, p from 0 to 1; source and target rows go through the network in one batch.
        Cross-entropy on the source has label smoothing 0.1, as SHOT's. Weights of the methods grow by Ganin's schedule.
        """;

    /// <summary>What the times mean, for the notes.</summary>
    protected static string Times => "Times are of all trainings that a result was chosen from and of their scoring by all validators, on one or two threads of a machine that was busy with other work.";

    protected abstract IReadOnlyList<DeepMethod> DeepMethods { get; }

    /// <summary>Reads what all tasks need, once.</summary>
    protected abstract void Prepare(ExperimentRun run, CancellationToken cancellation);

    /// <summary>A task, for a seed.</summary>
    protected abstract DeepTask Task(string name, int seed);

    public override IEnumerable<ResultRow> Run(ExperimentRun run, CancellationToken cancellation)
    {
        Prepare(run, cancellation);
        for (int seed = 1; seed <= run.Seeds; seed++)
        {
            foreach (string name in Tasks)
            {
                var open = DeepMethods.Where(method => run.Methods.Contains(method.Description) && !run.IsDone(name, method.Description, seed)).ToArray();
                if (open.Length == 0)
                    continue;
                var task = Task(name, seed);
                var plain = Source(null);
                var augmented = task.Augmentation is null ? plain : Source(task.Augmentation);
                foreach (var method in open.Where(method => method.Serves?.Invoke(task) ?? true))
                    yield return Row(name, method, method.Of?.Invoke(task) ?? task, method.Augments ? augmented : plain, run.Device, seed, cancellation);

                Lazy<AdaptedModel> Source(Data.Transforms.ITransform? augmentation) => new(() => TrainSource(task, augmentation, run.Device, (ulong)seed, cancellation));
            }
        }
    }

    /// <summary>Networks by SHOT's rules for first weights: He's for convolutions, Glorot's for linear maps, biases of 0.</summary>
    protected static Sequential Initialized(Generator generator, params Module[] layers)
    {
        var network = new Sequential(layers);
        foreach (var (_, module) in network.NamedModules())
        {
            switch (module)
            {
                case Conv2d conv:
                    Initialization.KaimingUniform(conv.Weight, generator: generator);
                    Initialization.Constant(conv.Bias!, 0);
                    break;
                case Linear linear:
                    Initialization.XavierNormal(linear.Weight, generator: generator);
                    Initialization.Constant(linear.Bias!, 0);
                    break;
                case WeightNormLinear head: // keeps its own weights, as in SHOT's code
                    Initialization.Constant(head.Bias!, 0);
                    break;
            }
        }
        return network;
    }

    private static ResultRow Row(string name, DeepMethod method, DeepTask task, Lazy<AdaptedModel> source, Device device, int seed, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        Candidate[] candidates = [.. method.Weights.Select(weight => Make(method, task, source, device, weight, (ulong)seed))];
        var result = new ModelSelection(new(Spaced(task.Source), Spaced(task.Held), Spaced(task.Target), device)) { RankedBy = Judge, KeepsModels = true }.Run(candidates, cancellation: cancellation);
        double seconds = clock.Elapsed.TotalSeconds;
        CandidateRow[] rows = [.. result.Ranking.Select(item => new CandidateRow(item.Candidate.Weight, item.Candidate.LearningRate, Right(item.Model!, task, device, cancellation), item.Scores))];
        return new(name, method.Description.Name, seed, rows[0].Accuracy, seconds, rows);
    }

    private static Candidate Make(DeepMethod method, DeepTask task, Lazy<AdaptedModel> source, Device device, double weight, ulong seed)
    {
        if (method.IsSourceOnly)
            return new(method.Description.Name, (_, _, _) => source.Value, weight, LearningRate, seed, IsBaseline: true);
        if (method.Make is { } make)
            return Runs(task, method.Augments ? task.Augmentation : null, device, (int)(task.Steps * method.StepShare)).Create(method.Description.Name, settings => make(task, settings), weight, LearningRate, seed);
        return new(method.Description.Name, (candidate, progress, cancellation) =>
        {
            var (features, head) = task.Networks(new(candidate.Seed));
            features.LoadStateDict(source.Value.Features.StateDict());
            head.LoadStateDict(source.Value.Head.StateDict());
            new Shot(features, head).Fit(task.Target, new()
            {
                Epochs = task.ShotEpochs,
                PseudoLabelWeight = task.PseudoLabelWeight * candidate.Weight,
                Loader = new() { BatchSize = task.BatchSize, Shuffle = true, Seed = candidate.Seed },
            }, device, progress, cancellation);
            return new(features, head);
        }, weight, LearningRate, seed);
    }

    private static AdaptedModel TrainSource(DeepTask task, Data.Transforms.ITransform? augmentation, Device device, ulong seed, CancellationToken cancellation)
    {
        var candidate = Runs(task, augmentation, device, task.SourceSteps).SourceOnly(LearningRate, seed);
        return candidate.Train(candidate, null, cancellation);
    }

    private static AdapterCandidates Runs(DeepTask task, Data.Transforms.ITransform? augmentation, Device device, int steps)
    {
        var rows = new DataLoaderSettings { BatchSize = task.BatchSize, Shuffle = true, DropLast = true };
        return new(task.Source, task.Target, task.Networks, device)
        {
            Settings = new() { Steps = steps, Schedule = optimizer => task.Schedule(optimizer, steps) },
            Loader = rows with { Transform = augmentation },
            TargetLoader = rows,
            Criterion = (logits, classes) => logits.CrossEntropy(classes, labelSmoothing: task.Smoothing),
            Optimizer = (parameters, rate) => new Sgd(parameters, rate, Momentum, weightDecay: task.WeightDecay, nesterov: task.IsNesterov),
        };
    }

    private static IDataset Spaced(IDataset rows) => rows.Count <= ScoredRows ? rows : new Subset(rows, [.. Enumerable.Range(0, ScoredRows).Select(i => (int)((long)i * rows.Count / ScoredRows))]);

    private static double Right(AdaptedModel model, DeepTask task, Device device, CancellationToken cancellation) =>
        Evaluation.Accuracy(new Sequential(model.Features, model.Head), new DataLoader(task.Test, new() { BatchSize = 500 }, device), cancellation);
}
