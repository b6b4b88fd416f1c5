using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Benchmarks;

/// <summary>
/// Few labelled images a class: a linear head on pretrained features that stay fixed, the pretrained network fine-tuned from there, and the same network from
/// random weights, all scored on the same held-out half of a domain.
/// </summary>
internal sealed class FewLabels(string data, string domain, int[] shots, int seeds, double? fineTuneRate, double? scratchRate, FileInfo? kept, Device device)
{
    private const int Batch = 20;
    private const ulong HeldOutSeed = 7;

    /// <summary>A network: its weights, the side of the images that go in and of those that these are cut from, and how it is trained.</summary>
    private sealed record Source(string Backbone, string Pretrained, string Weights, int Size, int Side, Training FineTuned, Training FromScratch);

    private readonly record struct Training(double Rate, int Steps);

    private sealed record Row(string Domain, string Network, string Method, int Shots, int Seed, double Accuracy, double Seconds);

    private static readonly Source[] Sources =
    [
        new("resnet20", "CIFAR-10", "resnet-cifar10/resnet20.safetensors", 32, 36, new(1e-3, 200), new(3e-3, 200)),
        new("squeezenet1_0", "ImageNet", "squeezenet1_0/squeezenet1_0-deepcompression.safetensors", 64, 72, new(1e-4, 100), new(3e-4, 400)),
    ];

    private static readonly string[] Methods = ["head on fixed features", "fine-tuned", "from scratch"];

    private readonly List<Row> rows = kept is { Exists: true } ? [.. File.ReadLines(kept.FullName).Select(line => JsonSerializer.Deserialize<Row>(line)!).Where(row => row.Domain == domain)] : [];

    /// <summary>Runs networks and writes the page and, beside it, the chart.</summary>
    public void Run(string[] networks, string page, CancellationToken cancellation)
    {
        var sources = Array.ConvertAll(networks, name => Array.Find(Sources, source => source.Backbone == name)
            ?? throw new ArgumentException($"--networks: '{name}' is none of {string.Join(", ", Sources.Select(source => source.Backbone))}."));
        foreach (var source in sources)
            Run(source, cancellation);
        string chart = Path.ChangeExtension(page, ".png");
        double[] places = Array.ConvertAll(shots, count => (double)count);
        Chart.Save(chart, [.. sources.Select(source => Chart.Lines($"{source.Backbone}, {source.Pretrained} weights: {domain}", "labelled images a class", "accuracy, %", places, [.. Methods.Select(method =>
        {
            var cells = Array.ConvertAll(shots, count => Cell(source.Backbone, method, count));
            return new Series(method, places, Array.ConvertAll(cells, cell => cell.Mean), Array.ConvertAll(cells, cell => cell.Spread));
        })]))]);
        File.WriteAllText(page, Page(sources, Path.GetFileName(chart)));
        AnsiConsole.MarkupLineInterpolated($"written to {page} and {chart}");
    }

    private void Run(Source source, CancellationToken cancellation)
    {
        if (Enumerable.Range(1, seeds).All(seed => shots.All(count => Methods.All(method => Has(source, method, count, seed)))))
            return;
        var wanted = Backbone.Find(source.Backbone).Preprocessing;
        var normalize = new Normalize(wanted.Mean, wanted.Deviation);
        var folder = new ImageFolder(Path.Combine(data, "office-caltech10-images", domain), new() { OriginalSize = true });
        using var images = Decoded(folder, source.Side);
        var whole = new TensorDataset(images, Tensor.From([.. folder.Labels], device: device));
        var (pool, heldOut) = Splits.Stratified(folder.Labels, 0.5, HeldOutSeed);
        int classes = folder.Classes.Count;
        var middles = new TransformedDataset(whole, new Compose(new CenterCrop(source.Size), normalize));
        var test = new Subset(middles, heldOut);

        var pretrained = Make(source, classes, new Generator(1), load: true);
        using var cache = new FeatureCache(new FeatureExtractor(pretrained, FeatureName(pretrained)), middles, 64, device);
        cache.Compute(cancellation: cancellation);
        for (int seed = 1; seed <= seeds; seed++)
        {
            foreach (int count in shots)
            {
                var (drawn, _) = Splits.PerClass([.. pool.Select(row => folder.Labels[row])], count, (ulong)seed);
                int[] labelled = Array.ConvertAll(drawn, place => pool[place]);
                using var fitted = new TensorScope();
                var head = LinearProbe.Fit(Rows(cache.Features, labelled), Rows(cache.Targets, labelled), classes, cancellation: cancellation);
                Score("head on fixed features", () =>
                {
                    using var recording = new NoGrad();
                    return Accuracy.Of(head.Forward(Rows(cache.Features, heldOut)), Rows(cache.Targets, heldOut));
                });
                Score("fine-tuned", () =>
                {
                    var network = Make(source, classes, new Generator((ulong)seed), load: true);
                    LinearOf(network).LoadStateDict(head.StateDict());
                    return Trained(network, source.FineTuned with { Rate = fineTuneRate ?? source.FineTuned.Rate });
                });
                Score("from scratch", () => Trained(Make(source, classes, new Generator((ulong)seed), load: false), source.FromScratch with { Rate = scratchRate ?? source.FromScratch.Rate }));

                double Trained(Classifier network, Training how)
                {
                    var batches = new DataLoader(new Subset(whole, labelled), new()
                    {
                        BatchSize = Batch,
                        Shuffle = true,
                        DropLast = true,
                        Seed = (ulong)seed,
                        Transform = new Compose(new RandomCrop(source.Size, source.Size), new RandomHorizontalFlip(), normalize),
                    }, device);
                    var optimizer = new AdamW(network.Parameters(), how.Rate);
                    var trainer = new Trainer(network, optimizer, (output, target) => output.CrossEntropy(target))
                    {
                        Settings = new() { Epochs = int.MaxValue, MaxSteps = how.Steps, SchedulePeriod = SchedulePeriod.Step },
                        Schedule = new CosineSchedule(optimizer, how.Steps),
                    };
                    double loss = trainer.Fit(batches, cancellation: cancellation).Epochs[^1].Loss;
                    AnsiConsole.MarkupLineInterpolated($"  last training loss {loss:F3}");
                    return Evaluation.Accuracy(network, new DataLoader(test, new() { BatchSize = 64 }, device), cancellation);
                }

                void Score(string method, Func<double> run)
                {
                    if (Has(source, method, count, seed))
                        return;
                    var clock = Stopwatch.StartNew();
                    using var scope = new TensorScope();
                    var row = new Row(domain, source.Backbone, method, count, seed, run(), clock.Elapsed.TotalSeconds);
                    rows.Add(row);
                    if (kept is not null)
                        File.AppendAllText(kept.FullName, JsonSerializer.Serialize(row) + "\n");
                    AnsiConsole.MarkupLineInterpolated($"{row.Network}, {count} a class, seed {seed}, {method}: {row.Accuracy:P1}, {row.Seconds:F1} s");
                }
            }
        }
    }

    private bool Has(Source source, string method, int count, int seed) =>
        rows.Exists(row => row.Network == source.Backbone && row.Method == method && row.Shots == count && row.Seed == seed);

    /// <summary>All images of a folder, of one size.</summary>
    private Tensor Decoded(ImageFolder folder, int side)
    {
        var sized = new TransformedDataset(folder, new Compose(new Resize(side), new CenterCrop(side)));
        using var scope = new TensorScope();
        return scope.Keep(Tensor.Concat([.. new DataLoader(sized, new() { BatchSize = 64, Prefetch = 1 }, device).Select(batch => batch.Input)]));
    }

    private Classifier Make(Source source, int classes, Generator generator, bool load)
    {
        var network = Backbone.Create(source.Backbone, generator: generator, device: device);
        if (load)
            network.Load(Path.Combine(data, source.Weights));
        var linear = new Linear(network.FeatureCount, classes, generator: generator, device: device);
        network.ReplaceHead(source.Backbone.StartsWith("squeezenet", StringComparison.Ordinal)
            ? new Sequential(("pool", new AdaptiveAvgPool2d(1)), ("flatten", new Flatten()), ("linear", linear))
            : linear);
        return network;
    }

    private static Module LinearOf(Classifier network) => network.Head is Sequential layers ? layers[^1] : network.Head;

    private static string FeatureName(Classifier network)
    {
        var before = network.Head is Sequential layers ? layers[^2] : network.FeatureLayers[^1];
        return network.NamedModules().First(item => ReferenceEquals(item.Module, before)).Name;
    }

    private Tensor Rows(Tensor all, int[] rows) => all.IndexSelect(0, Tensor.From(rows, device: device));

    private (double Mean, double Spread) Cell(string network, string method, int count)
    {
        double[] values = [.. rows.Where(row => row.Network == network && row.Method == method && row.Shots == count).Select(row => 100 * row.Accuracy)];
        double mean = values.Average();
        return (mean, values.Length < 2 ? 0 : Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Length - 1)));
    }

    private string Page(Source[] sources, string chart)
    {
        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"""
            # Transfer pays

            Ten classes of things in shops' photographs, the domain {domain} of Office-Caltech10, and {string.Join(", ", shots)} labelled images a class: pretrained weights against the same network
            from random weights. Mean and sample standard deviation over {seeds} seeds of the accuracy in percent.

            ![accuracy against labelled images a class]({chart})

            | network | weights | method | {string.Join(" | ", shots.Select(count => $"{count} a class"))} |
            |---|---|---|{string.Concat(Enumerable.Repeat("---:|", shots.Length))}

            """));
        foreach (var source in sources)
        {
            foreach (string method in Methods)
            {
                string cells = string.Join(" | ", shots.Select(count => Cell(source.Backbone, method, count)).Select(cell => string.Create(CultureInfo.InvariantCulture, $"{cell.Mean:F1} ± {cell.Spread:F1}")));
                text.Append(CultureInfo.InvariantCulture, $"| {source.Backbone} | {(method == Methods[^1] ? "random" : source.Pretrained)} | {method} | {cells} |\n");
            }
        }
        text.Append(string.Create(CultureInfo.InvariantCulture, $"""

            ## Protocol

            - Half of each class, drawn once by a fixed seed, is held out: it is scored on at the end of each run and used for nothing else. The labelled images are drawn from the other half,
              by the run's seed; those of fewer labels are among those of more.
            - Images are resized such that their shorter side is {string.Join(" and ", sources.Select(source => $"{source.Side} ({source.Backbone})"))} and a square of the middle is kept; {string.Join(" and ", sources.Select(source => source.Size))} pixels
              square go into the network: small, for time's sake, and the same for all methods. Trainings cut these at random places and mirror half of the images.
            - *Head on fixed features*: `LinearProbe` on the pooled features of the pretrained network, its defaults.
            - *Fine-tuned*: the whole network from that head on; *from scratch*: from random weights. Both with AdamW, {Batch} images a step, half a cosine:
              {string.Join("; ", sources.Select(source => $"{source.Backbone} {source.FineTuned.Steps} steps at {fineTuneRate ?? source.FineTuned.Rate} fine-tuned, {source.FromScratch.Steps} at {scratchRate ?? source.FromScratch.Rate} from scratch"))}.
              These were set in advance, after trials on another domain, webcam, with 10 a class and one seed (`--domain webcam --shots 10 --seeds 1`); nothing was chosen by results on {domain}.
            - ImageNet has classes of its own for most of these things, and CIFAR-10 for none of them: the first is transfer to the same kind of object, the second to other objects.

            Measured {Machine.Describe(device)}, by

            ```sh
            dotnet run -c Release --project benchmarks -- few-labels --data DIR
            ```

            """));
        return text.ToString();
    }
}
