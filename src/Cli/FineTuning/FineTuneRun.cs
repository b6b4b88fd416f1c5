using System.Diagnostics;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Cli;

/// <summary>What finetune is asked for.</summary>
internal sealed record FineTuneOptions(
    string Weights, string Backbone, string Data, string? Freeze, int? Epochs, bool Cache, string? CacheFolder, int BatchSize, double? LearningRate, bool RandAugment, double? MixUp, double? CutMix,
    bool SkipCorrupt, ulong Seed, string Output, FileInfo? Json);

/// <summary>
/// Transfer learning's two modes on folders of images: the backbone as a fixed extractor of features under a new head, and the fine-tuning of everything. The
/// validation images are only ever scored on: neither the recipe nor a weight is chosen by them.
/// </summary>
internal sealed class FineTuneRun(FineTuneOptions options, Device device)
{
    private readonly Stopwatch clock = Stopwatch.StartNew();

    public void Run(CancellationToken cancellation)
    {
        string train = Part("train"), validation = Part("val");
        var classes = new ImageFolder(train).Classes;
        var model = ImageModel.Start(Models.Backbone.Find(options.Backbone), options.Weights, classes, new Generator(options.Seed), options.SkipCorrupt, device);
        var (images, folder) = model.Images(validation);
        if (!folder.Classes.SequenceEqual(classes))
            throw new ArgumentException($"{validation} has the classes {string.Join(", ", folder.Classes)}, {train} has {string.Join(", ", classes)}. Both need the same folders.");
        AnsiConsole.MarkupLineInterpolated($"{model.Backbone} on {device} {device.Name}: {classes.Count} classes, {folder.Count} images to validate on.");
        bool whole = options.Freeze == "features";
        if (options.Cache && !whole)
            throw new ArgumentException("--cache keeps the features of a frozen backbone: it goes with --freeze features only.");
        if (options.CacheFolder is not null && !options.Cache)
            throw new ArgumentException("--cache-folder says where --cache keeps features: it goes with --cache only.");
        if (options.Cache && (options.RandAugment || options.MixUp is not null || options.CutMix is not null))
            throw new ArgumentException("--cache computes the features of each image once, as it is: --rand-augment, --mixup and --cutmix change images at each pass. Leave out either.");
        int epochs = options.Epochs ?? (options.Cache ? 1 : 4);
        double firstPass = 0;
        double accuracy;
        if (options.Cache)
        {
            (accuracy, firstPass) = Probe(model, train, validation, cancellation);
            epochs = 1;
        }
        else
        {
            Train(model, train, images, epochs, cancellation);
            accuracy = Evaluation.Accuracy(model.Network, new DataLoader(images, new() { BatchSize = options.BatchSize }, device), cancellation);
        }
        model.Save(options.Output);
        double seconds = clock.Elapsed.TotalSeconds;
        string mode = whole ? "feature-extractor" : options.Freeze is null ? "fine-tuning" : $"fine-tuning, {options.Freeze} frozen";
        AnsiConsole.MarkupLineInterpolated($"[bold]{mode}: {accuracy:P1} of the validation images right[/], {seconds:F1} s, written to {options.Output}.");
        if (options.Json is not null)
            File.WriteAllText(options.Json.FullName, JsonSerializer.Serialize(new { mode, accuracy, seconds, epochs, first_pass_seconds = firstPass }));
    }

    /// <summary>One pass over the images through the frozen backbone, and the head that fits the features best.</summary>
    private (double Accuracy, double FirstPass) Probe(ImageModel model, string train, string validation, CancellationToken cancellation)
    {
        var network = model.Network;
        using var frozen = FreezePolicy.All().Apply(network);
        var extractor = new FeatureExtractor(network, model.FeatureName);
        using var seen = Cache(model, extractor, train);
        using var held = Cache(model, extractor, validation);
        seen.Compute(cancellation: cancellation);
        held.Compute(cancellation: cancellation);
        double firstPass = clock.Elapsed.TotalSeconds;
        var head = LinearProbe.Fit(seen.Features, seen.Targets, model.Classes.Count, cancellation: cancellation);
        model.Linear.LoadStateDict(head.StateDict());
        AnsiConsole.MarkupLineInterpolated($"  features of all images {(seen.Computations + held.Computations == 0 ? "read" : "computed")} in {firstPass:F1} s, the head in {clock.Elapsed.TotalSeconds - firstPass:F2} s");
        using var recording = new NoGrad();
        return (Accuracy.Of(head.Forward(held.Features), held.Targets), firstPass);
    }

    private FeatureCache Cache(ImageModel model, FeatureExtractor extractor, string path)
    {
        var (images, folder) = model.Images(path);
        var file = options.CacheFolder is null ? null : new FeatureCacheFile(Path.Combine(Directory.CreateDirectory(options.CacheFolder).FullName, $"{model.Backbone}-{Path.GetFileName(path)}.safetensors"), model.Origin(folder));
        return new(extractor, images, options.BatchSize, device, file);
    }

    private void Train(ImageModel model, string train, IDataset validation, int epochs, CancellationToken cancellation)
    {
        var network = model.Network;
        var tuner = new FineTuner(network, (output, target) => output.CrossEntropy(target)) { Metrics = { new Accuracy() } };
        var phases = options.Freeze switch
        {
            null => FineTuneRecipe.OneCycle(tuner.Groups, epochs, options.LearningRate ?? 2e-3),
            "features" => FineTuneRecipe.ProbeThenFineTune(tuner.Groups, epochs, 0, options.LearningRate ?? 1e-2),
            _ => [Fixed(tuner.Groups, epochs, FreezePolicy.Named(options.Freeze.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)))],
        };
        IBatchTransform[] mixing =
        [
            .. options.MixUp is { } alpha ? [new MixUp(model.Classes.Count, alpha)] : Array.Empty<IBatchTransform>(),
            .. options.CutMix is { } area ? [new CutMix(model.Classes.Count, area)] : Array.Empty<IBatchTransform>(),
        ];
        var batches = model.Augmented(train, options.BatchSize, options.Seed, options.RandAugment, mixing.Length == 0 ? null : new RandomChoice(mixing), device);
        tuner.Fit(phases, batches, new DataLoader(validation, new() { BatchSize = options.BatchSize }, device), new Reporter(), cancellation);
    }

    private FineTunePhase Fixed(LayerGroups groups, int epochs, FreezePolicy frozen) => new("rest", epochs, groups.Discriminative(options.LearningRate ?? 1e-3))
    {
        Frozen = frozen,
        Schedule = (optimizer, steps) => new CosineSchedule(optimizer, steps),
    };

    private string Part(string name)
    {
        string path = Path.Combine(options.Data, name);
        return Directory.Exists(path) ? path : throw new ArgumentException($"--data {options.Data} has no folder '{name}'. Wanted: train and val, each with a folder of images a class.");
    }

    /// <summary>Writes a line an epoch.</summary>
    private sealed class Reporter : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value)
        {
            if (value.IsEpochEnd)
                AnsiConsole.MarkupLineInterpolated($"  epoch {value.Epoch} of {value.Epochs}: loss {value.Loss:F3}{string.Concat(value.Metrics.Select(metric => $", validation {metric.Key} {metric.Value:F3}"))}, {value.Elapsed.TotalSeconds:F1} s");
        }
    }
}
