using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>How far a batch is from what the model was made for.</summary>
/// <param name="Entropy">The mean entropy of the predictions, in nats.</param>
/// <param name="Statistics">The mean of <paramref name="Layers"/>; null where the model has no batch normalisation.</param>
/// <param name="Layers">The distance of each batch normalisation's inputs from its reference, by its name, in the order of the model; the first sees little but the input.</param>
/// <param name="Score">
/// How many standard deviations of the reference batches the farther of statistics and entropy lies above their mean; null before
/// <see cref="DriftMonitor.Calibrate"/>. What 3 and more means is for the application to say.
/// </param>
public sealed record Drift(double Entropy, double? Statistics, IReadOnlyList<(string Name, double Distance)> Layers, double? Score);

/// <summary>
/// Measures drift without source data or labels: the inputs of each batch normalisation against the running statistics (μ, σ²) that the model had when this was
/// made, and the entropy of the predictions. A layer's distance is the divergence of Gaussians KL(N(μ_b, σ_b² + ε) | N(μ, σ² + ε)) =
/// ((σ_b² + ε + (μ_b - μ)²) / (σ² + ε) - 1 - ln((σ_b² + ε) / (σ² + ε))) / 2, meant over channels, in nats; ε is the module's. Nothing is changed by measuring.
/// </summary>
/// <remarks>A batch of n independent rows without drift has a distance of about 1 / n, so compare batches of about one size.</remarks>
public sealed class DriftMonitor : IDisposable
{
    private readonly (string Name, BatchNorm Module)[] layers;
    private readonly WeightCopy means, variances;
    private (double Mean, double Deviation)? statistics, entropy;

    /// <summary>Takes the model's present running statistics as reference: make it before adapting.</summary>
    /// <param name="model">Takes batches to logits [N, C].</param>
    public DriftMonitor(Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Model = model;
        layers = [.. model.NamedModules().Where(item => item.Module is BatchNorm).Select(item => (item.Name, (BatchNorm)item.Module))];
        means = new(layers.Select(layer => (layer.Name, layer.Module.RunningMean)));
        variances = new(layers.Select(layer => (layer.Name, layer.Module.RunningVar)));
    }

    /// <summary>What is watched.</summary>
    public Module Model { get; }

    /// <summary>Learns how the measures scatter where there is no drift: the reference of <see cref="Drift.Score"/>.</summary>
    /// <param name="batches">Two or more batches that the model does well on, of about the size of those to be measured. They need no labels.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    /// <exception cref="ArgumentException">There are fewer than two.</exception>
    public void Calibrate(IEnumerable<Tensor> batches, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batches);
        var seen = new List<Drift>();
        foreach (var batch in batches)
        {
            cancellation.ThrowIfCancellationRequested();
            seen.Add(Measure(batch));
        }
        if (seen.Count < 2)
            throw new ArgumentException($"DriftMonitor.Calibrate: {seen.Count} batch, wanted two or more, as their scatter is the measure.", nameof(batches));
        entropy = Scatter([.. seen.Select(drift => drift.Entropy)]);
        statistics = layers.Length == 0 ? null : Scatter([.. seen.Select(drift => drift.Statistics!.Value)]);
    }

    /// <summary>Measures a batch, with the model in evaluation mode for that time.</summary>
    /// <param name="batch">[N, ...].</param>
    /// <exception cref="ArgumentException">The batch has no row, or holds NaN or infinities.</exception>
    public Drift Measure(Tensor batch)
    {
        StreamBatch.Check(nameof(DriftMonitor), batch);
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = Model.Evaluate();
        var hooks = new List<IDisposable>();
        var distances = new Tensor?[layers.Length];
        try
        {
            for (int i = 0; i < layers.Length; i++)
            {
                int layer = i;
                hooks.Add(layers[i].Module.RegisterForwardHook((_, input, _) =>
                {
                    distances[layer] ??= Distance(layer, input);
                    return null;
                }));
            }
            var logits = StreamBatch.Logits(nameof(DriftMonitor), batch, Model.Forward(batch));
            double uncertainty = EntropyMinimization.Forward(logits).Item();
            (string, double)[] found = [.. layers.Zip(distances).Where(pair => pair.Second is not null).Select(pair => (pair.First.Name, pair.Second!.Item()))];
            double? mean = found.Length == 0 ? null : found.Average(layer => layer.Item2);
            return new(uncertainty, mean, found, Score(uncertainty, mean));
        }
        finally
        {
            foreach (var hook in hooks)
                hook.Dispose();
            putBack();
        }
    }

    /// <summary>Gives the reference back.</summary>
    public void Dispose()
    {
        means.Dispose();
        variances.Dispose();
    }

    private Tensor Distance(int layer, Tensor input)
    {
        int[] axes = [.. Enumerable.Range(0, input.Rank).Where(axis => axis != 1)];
        var (mean, variance) = (means.Tensors[layer].Copy, variances.Tensors[layer].Copy + layers[layer].Module.Epsilon);
        var ratio = (input.Var(axes, correction: 0) + layers[layer].Module.Epsilon) / variance;
        return ((ratio + (input.Mean(axes) - mean).Square() / variance - 1 - ratio.Log()) / 2).Mean();
    }

    private double? Score(double uncertainty, double? distance)
    {
        if (entropy is not { } usual)
            return null;
        double score = (uncertainty - usual.Mean) / usual.Deviation;
        return statistics is { } far && distance is { } here ? Math.Max(score, (here - far.Mean) / far.Deviation) : score;
    }

    /// <summary>Mean and standard deviation; the latter not below the rounding of the former, so that equal batches do not divide by 0.</summary>
    private static (double Mean, double Deviation) Scatter(double[] values)
    {
        double mean = values.Average();
        return (mean, Math.Max(Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Length - 1)), 1e-6 * (1e-6 + Math.Abs(mean))));
    }
}
