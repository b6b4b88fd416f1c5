using System.Diagnostics;
using System.Globalization;
using System.Text;
using Spectre.Console;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Benchmarks;

/// <summary>What a training step costs when the first stages of a network are frozen: time and peak memory, against how many.</summary>
internal sealed class FreezingDepth(Device device, int batch, int rounds)
{
    private const int Classes = 2, Size = 224;

    private static readonly string[] Networks = ["resnet18", "squeezenet1_0"];

    /// <summary>A depth of freezing; the last, without frozen stages to run, trains the head on features that were computed before.</summary>
    private sealed record Cost(string Frozen, int Stages, double Milliseconds, double Megabytes, double ForwardLaunches, double BackwardLaunches);

    /// <summary>Measures, and writes the page and, beside it, the chart.</summary>
    /// <param name="page">The page.</param>
    /// <param name="photos">A folder of images a class, for the epochs of a head with and without a cache; none are measured if null.</param>
    /// <param name="cancellation">Looked at before each depth.</param>
    public void Run(string page, string? photos, CancellationToken cancellation)
    {
        var results = Networks.Select(name => (Name: name, Costs: Measure(name, cancellation))).ToArray();
        string chart = Path.ChangeExtension(page, ".png");
        Chart.Save(chart, [.. results.SelectMany(result => new[]
        {
            Chart.Lines($"{result.Name}: a step", "frozen stages", "ms", Places(result.Costs), Line("step", result.Costs, cost => cost.Milliseconds)),
            Chart.Lines($"{result.Name}: peak memory", "frozen stages", "MB", Places(result.Costs), Line("peak", result.Costs, cost => cost.Megabytes)),
        })]);
        File.WriteAllText(page, Page(results, Path.GetFileName(chart), photos is not null) + (photos is null ? "" : Epochs(photos)));
        AnsiConsole.MarkupLineInterpolated($"written to {page} and {chart}");

        static double[] Places(Cost[] costs) => [.. costs.SkipLast(1).Select(cost => (double)cost.Stages)];

        static Series Line(string name, Cost[] costs, Func<Cost, double> value) => new(name, Places(costs), [.. costs.SkipLast(1).Select(value)]);
    }

    /// <summary>All depths by turns in each round, so that a drift of the machine's speed hits them alike; the median over the rounds.</summary>
    private Cost[] Measure(string name, CancellationToken cancellation)
    {
        var network = Backbone.Create(name, Classes, new Generator(1), device);
        var groups = LayerGroups.Of(network);
        var images = Tensor.Normal([batch, 3, Size, Size], generator: new Generator(2), device: device).KeepAlive();
        var labels = Tensor.RandomIntegers([batch], 0, Classes, new Generator(3), device).KeepAlive();
        var times = Enumerable.Range(0, groups.Count + 1).Select(_ => new List<double>()).ToArray();
        var costs = new Cost[groups.Count + 1];
        for (int round = -1; round < rounds; round++)
        {
            for (int depth = 0; depth <= groups.Count; depth++)
            {
                cancellation.ThrowIfCancellationRequested();
                bool cached = depth == groups.Count;
                // The gradients and momenta of the depth before go back to the pool, and don't count here.
                network.ZeroGrad();
                GC.Collect();
                GC.WaitForPendingFinalizers();
                network.Train();
                var optimizer = new Sgd(groups.ParameterGroups(), 1e-3, momentum: 0.9);
                using var frozen = depth == 0 ? null : groups.FreezeFirst(cached ? depth - 1 : depth).Apply(network, optimizer);
                using var scope = new TensorScope();
                var input = cached ? Features(network, images) : images;
                Func<Tensor, Tensor> forward = cached ? network.Head.Forward : network.Forward;
                Step(forward, input, labels, optimizer); // momentum is allocated, and caches are warm
                device.ResetPeakBytes();
                long start = Stopwatch.GetTimestamp();
                var (ahead, back) = Step(forward, input, labels, optimizer);
                double milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                if (round >= 0)
                    times[depth].Add(milliseconds);
                costs[depth] = new(cached ? "all but the head, features kept" : depth == 0 ? "nothing" : $"to {groups[depth - 1].Modules[0]}", depth, 0, device.PeakBytes / 1e6, ahead, back);
            }
            AnsiConsole.MarkupLineInterpolated($"{name}: round {round + 1} of {rounds}");
        }
        return [.. costs.Zip(times, (cost, its) => cost with { Milliseconds = its.Order().ElementAt(its.Count / 2) })];
    }

    /// <summary>An epoch of a linear head over images, through the frozen network and from its features that a cache keeps.</summary>
    private string Epochs(string photos)
    {
        var network = Backbone.Create("squeezenet1_0", Classes, new Generator(1), device);
        var linear = new Linear(network.FeatureCount, Classes, generator: new Generator(2), device: device);
        network.ReplaceHead(new Sequential(("pool", new AdaptiveAvgPool2d(1)), ("flatten", new Flatten()), ("linear", linear)));
        network.Train();
        using var frozen = FreezePolicy.Named("features").Apply(network);
        var images = new TransformedDataset(new ImageFolder(photos, new() { OriginalSize = true }), new Compose(new Resize(256), new CenterCrop(Size), Normalize.ImageNet));
        using var cache = new FeatureCache(new FeatureExtractor(network, $"{network.HeadName}.flatten"), images, batch, device);
        double computed = Seconds(() => cache.Compute()), through = Seconds(() => Epoch(images, network)), kept = Seconds(() => Epoch(new TensorDataset(cache.Features, cache.Targets), linear));
        return string.Create(CultureInfo.InvariantCulture, $"""

            ## An epoch of the head

            Over {images.Count} photographs of `{Path.GetFileName(Path.GetDirectoryName(photos))}`, batches of {batch}, SqueezeNet 1.0 frozen under a linear head: {through:F2} s through the frozen network, decoding of the files
            included; {kept:F3} s from features that a `FeatureCache` keeps, {through / kept:F0} times as fast. Computing them took {computed:F2} s once.

            """);

        void Epoch(IDataset data, Module model)
        {
            var optimizer = new Sgd(linear.Parameters(), 1e-3, momentum: 0.9);
            foreach (var read in new DataLoader(data, new() { BatchSize = batch, Shuffle = true, Prefetch = data is TensorDataset ? 0 : 2 }, device))
            {
                using (read)
                    Step(model.Forward, read.Input, read.Target, optimizer);
            }
        }

        static double Seconds(Action action)
        {
            var clock = Stopwatch.StartNew();
            action();
            return clock.Elapsed.TotalSeconds;
        }
    }

    private static Tensor Features(Classifier network, Tensor images)
    {
        using var recording = new NoGrad();
        return network.Features(images);
    }

    /// <summary>One step; how many kernels its forward and backward passes launch.</summary>
    private (long Forward, long Backward) Step(Func<Tensor, Tensor> forward, Tensor input, Tensor labels, Optimizer optimizer)
    {
        using var scope = new TensorScope();
        long before = device.Launches;
        var loss = forward(input).CrossEntropy(labels);
        long between = device.Launches;
        loss.Backward();
        long after = device.Launches;
        optimizer.Step();
        optimizer.ZeroGrad();
        device.Synchronize();
        return (between - before, after - between);
    }

    private string Page(IEnumerable<(string Name, Cost[] Costs)> results, string chart, bool withPhotos)
    {
        var text = new StringBuilder($"""
            # What freezing saves

            A frozen part of a network runs as inference: normalisation is folded into convolutions, nothing is recorded or saved, and the backward pass ends at the lowest
            module that learns. The tables give a training step (forward, backward, SGD with momentum) of {batch} images of {Size} x {Size}, weights random, with the first
            stages frozen by `LayerGroups.Of(model).FreezeFirst(n)`: the median of {rounds} steps, all depths by turns; the peak of live device memory in the step, weights,
            gradients, momenta and the batch included; and the kernels that both passes launch. In the last line the frozen part does not run at all: the head learns from
            features that were computed once, as a `FeatureCache` keeps them.

            Measured {Machine.Describe(device)}, by

            ```sh
            dotnet run -c Release --project benchmarks -- freezing --rounds {rounds}{(withPhotos ? " --photos DIR" : "")} --out docs/freezing.md
            ```

            ![step time and peak memory against frozen stages]({chart})

            """);
        foreach (var (name, costs) in results)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n## {name}\n\n| frozen | stages | step ms | of the whole | peak MB | of the whole | launches forward | backward |\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
            foreach (var cost in costs)
            {
                string stages = cost == costs[^1] ? "" : cost.Stages.ToString(CultureInfo.InvariantCulture);
                text.Append(CultureInfo.InvariantCulture, $"| {cost.Frozen} | {stages} | {cost.Milliseconds:F1} | {100 * cost.Milliseconds / costs[0].Milliseconds:F1} % | {cost.Megabytes:F1} | {100 * cost.Megabytes / costs[0].Megabytes:F1} % | {cost.ForwardLaunches} | {cost.BackwardLaunches} |\n");
            }
        }
        return text.ToString();
    }
}
