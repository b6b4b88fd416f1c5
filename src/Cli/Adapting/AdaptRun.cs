using System.Diagnostics;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Training;

namespace TransferEngine.Cli;

/// <summary>What adapt is asked for.</summary>
internal sealed record AdaptOptions(
    IReadOnlyList<string> Methods, string Source, string Target, string? Weights, string? Backbone, bool IsFrozen, string? Select, double? Weight, int Steps, int BatchSize, double LearningRate, ulong Seed,
    string Output, FileInfo? Predictions, FileInfo? Json, FileInfo? Report);

/// <summary>
/// Adapts from a source with classes to a target without: trains a model on the source alone and one by each method, and chooses among all of them by a
/// validator, which sees no target label. Where the target's classes are known they are used when all is chosen, to say how right it was.
/// </summary>
internal sealed class AdaptRun(AdaptOptions options, Device device)
{
    private const double HeldOut = 0.2, SourceShare = 0.5;
    private const int MostScored = 2000;

    private readonly Stopwatch clock = Stopwatch.StartNew();

    public void Run(CancellationToken cancellation)
    {
        AdaptMethod[] methods = [.. options.Methods.Distinct().Select(AdaptMethod.Find)];
        var validator = Find(options.Select);
        var task = AdaptTask.Open(options.Source, options.Target, options.Backbone, options.Weights, options.IsFrozen, options.BatchSize, device, cancellation);
        var (held, rest) = Splits.Stratified(task.SourceLabels, HeldOut, options.Seed);
        var (training, validation) = (new Subset(task.Source, rest), new Subset(task.Source, held));
        if (rest.Length < options.BatchSize || task.Target.Count < options.BatchSize)
            throw new ArgumentException($"{rest.Length} rows of the source to train on and {task.Target.Count} of the target do not fill batches of {options.BatchSize}. Give a smaller --batch-size.");
        AnsiConsole.MarkupLineInterpolated($"{task.Classes.Count} classes, {task.Source.Count} rows of the source, {validation.Count} of them held out, {task.Target.Count} of the target; on {device} {device.Name}.");
        var runs = new AdapterCandidates(training, task.Target, task.Networks, device)
        {
            Settings = new() { Steps = options.Steps, Schedule = optimizer => new CosineSchedule(optimizer, options.Steps) },
            Loader = new() { BatchSize = options.BatchSize, Shuffle = true, DropLast = true, Prefetch = 2 },
        };
        Candidate[] candidates = [runs.SourceOnly(options.LearningRate, options.Seed), .. methods.Select(method => Candidate(method, task, runs))];
        var set = new ValidationSet(Some(training), Some(validation), Some(task.Target), device, options.BatchSize * 4);
        var selection = new ModelSelection(set) { KeepsModels = true, RankedBy = validator ?? new ModelSelection(set).RankedBy };
        var result = selection.Run(candidates, new Reporter(), cancellation);

        var best = result.Best;
        AdaptedOutcome[] outcomes = [.. result.Ranking.Select(candidate => AdaptedOutcome.Of(candidate, task, validation, options.BatchSize, device, cancellation))];
        task.Save(best.Model!, options.Output);
        Print(result, outcomes);
        if (best.NegativeTransfer is { IsAlarm: true } alarm)
            AnsiConsole.MarkupLineInterpolated($"[yellow]Negative transfer: {best.Candidate.Method} {alarm}.[/]");
        AnsiConsole.MarkupLineInterpolated($"[bold]{best.Candidate.Method}[/], chosen by {result.RankedBy}, written to {options.Output}; {clock.Elapsed.TotalSeconds:F1} s.");
        if (options.Predictions is not null)
            File.WriteAllLines(options.Predictions.FullName, ["row,class", .. outcomes[0].Predicted.Select((label, row) => $"{row},{task.Classes[label]}")]);
        if (options.Report is not null)
            AdaptReport.Write(options.Report.FullName, options, task, result, outcomes, Some(validation), Some(task.Target), device, cancellation);
        if (options.Json is not null)
            File.WriteAllText(options.Json.FullName, Json(result, outcomes));
    }

    private Candidate Candidate(AdaptMethod method, AdaptTask task, AdapterCandidates runs)
    {
        double weight = options.Weight ?? method.Weight;
        if (method.Make is { } make)
            return runs.Create(method.Name, settings => make(new(task, settings.Weight, settings.Generator, settings.Device)), weight, options.LearningRate, options.Seed);
        var source = runs.SourceOnly(options.LearningRate, options.Seed);
        return source with
        {
            Method = method.Name,
            Weight = weight,
            IsBaseline = false,
            Train = (candidate, progress, cancellation) =>
            {
                var model = source.Train(candidate, progress, cancellation);
                int epochs = Math.Max(1, (int)(options.Steps * SourceShare) * options.BatchSize / task.Target.Count);
                new Shot(model.Features, model.Head).Fit(task.Target, new()
                {
                    Epochs = epochs,
                    PseudoLabelWeight = weight,
                    Optimizer = parameters => new Adam(parameters, options.LearningRate / 10),
                    Loader = new() { BatchSize = options.BatchSize, Shuffle = true, Seed = options.Seed },
                }, device, progress is null ? null : new Later(progress, options.Steps), cancellation);
                return model;
            },
        };
    }

    private void Print(SelectionResult result, AdaptedOutcome[] outcomes)
    {
        var table = new Table().AddColumns("method", "weight", result.RankedBy, "held-out source", "target", "seconds");
        foreach (var column in table.Columns.Skip(1))
            column.RightAligned();
        foreach (var outcome in outcomes)
        {
            var candidate = outcome.Candidate;
            table.AddRow(Markup.Escape(candidate.Candidate.Method), candidate.Candidate.IsBaseline ? "" : $"{candidate.Candidate.Weight:G3}", $"{candidate.Scores[result.RankedBy]:G4}",
                $"{outcome.SourceAccuracy:P1}", outcome.Target is { } matrix ? $"{matrix.Accuracy:P1}" : "", $"{candidate.Elapsed.TotalSeconds:F1}");
        }
        AnsiConsole.Write(table);
    }

    private string Json(SelectionResult result, AdaptedOutcome[] outcomes) => JsonSerializer.Serialize(new
    {
        method = result.Best.Candidate.Method,
        selected_by = result.RankedBy,
        accuracy = outcomes[0].Target?.Accuracy,
        source_accuracy = outcomes[0].SourceAccuracy,
        negative_transfer = result.Best.NegativeTransfer?.IsAlarm ?? false,
        seconds = clock.Elapsed.TotalSeconds,
        candidates = outcomes.Select(outcome => new
        {
            method = outcome.Candidate.Candidate.Method,
            weight = outcome.Candidate.Candidate.Weight,
            accuracy = outcome.Target?.Accuracy,
            source_accuracy = outcome.SourceAccuracy,
            seconds = outcome.Candidate.Elapsed.TotalSeconds,
            scores = outcome.Candidate.Scores.ToDictionary(score => score.Key, score => double.IsFinite(score.Value) ? score.Value : (double?)null),
        }),
    });

    private static Validator? Find(string? name)
    {
        if (name is null)
            return null;
        string wanted = Plain(name);
        return Validator.All.FirstOrDefault(validator => Plain(validator.Name) == wanted)
            ?? throw new ArgumentException($"There is no validator '{name}'. There are: {string.Join(", ", Validator.All.Select(validator => validator.Name))}.");

        static string Plain(string text) => text.Replace(' ', '-').ToLowerInvariant();
    }

    /// <summary>A part of large data, evenly spaced: what is scored and shown.</summary>
    private static IDataset Some(IDataset rows) =>
        rows.Count <= MostScored ? rows : new Subset(rows, [.. Enumerable.Range(0, MostScored).Select(i => (int)((long)i * rows.Count / MostScored))]);

    /// <summary>Hears of a training that follows another of so many steps.</summary>
    private sealed class Later(IProgress<TrainingProgress> listener, int steps) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => listener.Report(value with { Step = value.Step + steps });
    }

    /// <summary>Writes a line a candidate, and before it one every half a minute.</summary>
    private sealed class Reporter : IProgress<SelectionProgress>
    {
        private static readonly TimeSpan Pause = TimeSpan.FromSeconds(30);

        private readonly Stopwatch silence = Stopwatch.StartNew();

        public void Report(SelectionProgress value)
        {
            string place = $"  {value.Number} of {value.Count}: {value.Candidate.Method}";
            if (value.Result is { } result)
                AnsiConsole.MarkupLineInterpolated($"{place}, {result.Elapsed.TotalSeconds:F1} s");
            else if (value.Training is { } training && silence.Elapsed > Pause)
                AnsiConsole.MarkupLineInterpolated($"{place}, step {training.Step}, loss {training.Loss:F3}");
            else
                return;
            silence.Restart();
        }
    }
}

/// <summary>How right a candidate is: on held-out rows of the source, and on the target where its classes are known.</summary>
internal sealed record AdaptedOutcome(CandidateResult Candidate, double SourceAccuracy, int[] Predicted, ConfusionMatrix? Target)
{
    public static AdaptedOutcome Of(CandidateResult candidate, AdaptTask task, IDataset validation, int batchSize, Device device, CancellationToken cancellation)
    {
        var model = candidate.Model!;
        var network = new Modules.Sequential(model.Features, model.Head);
        var loading = new DataLoaderSettings { BatchSize = batchSize * 4, Prefetch = 2, Cancellation = cancellation };
        double source = Evaluation.Accuracy(network, new DataLoader(validation, loading, device), cancellation);
        var matrix = task.TargetLabels is null ? null : new ConfusionMatrix(task.Classes.Count);
        List<int> predicted = [];
        network.Eval();
        using var recording = new NoGrad();
        foreach (var batch in new DataLoader(task.Target, loading, device))
        {
            using var scope = new TensorScope();
            using (batch)
            {
                var logits = network.Forward(batch.Input);
                predicted.AddRange(logits.ArgMax(1).ToArray<int>());
                matrix?.Update(logits, batch.Target);
            }
        }
        return new(candidate, source, [.. predicted], matrix);
    }
}
