using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Two classes of points whose target domain is shifted: a task that adaptation must gain on.</summary>
public class AdapterTests
{
    [Theory, InlineData("mk-mmd"), InlineData("coral"), InlineData("dann")]
    public void A_method_trains_repeats_its_bits_and_never_reads_target_labels(string name)
    {
        var (first, loss) = Train(name);
        var (second, _) = Train(name);
        Assert.Equal(first, second);
        Assert.True(double.IsFinite(loss));
    }

    [Fact]
    public void Mmd_brings_shifted_domains_together()
    {
        double before = Distance(new SourceOnly()), after = Distance(new DiscrepancyMethod("mk-mmd", new MaximumMeanDiscrepancy()));
        Assert.True(after < before / 4, $"MMD {after} with adaptation, {before} without");
    }

    [Fact]
    public void A_cancelled_training_stops()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();
        var (adapter, pairs) = Make(new SourceOnly());
        Assert.ThrowsAny<OperationCanceledException>(() => adapter.Fit(pairs, new() { Steps = 5 }, cancellation: source.Token));
    }

    private static double Distance(AdaptationMethod method)
    {
        var (adapter, pairs) = Make(method);
        adapter.Fit(pairs, new() { Steps = 150 });
        using var recording = new NoGrad();
        return new MaximumMeanDiscrepancy().Forward(adapter.Features.Forward(Points(64, 5, 0).Input), adapter.Features.Forward(Points(64, 6, 1).Input)).Item();
    }

    private static (float[] Weights, double Loss) Train(string name)
    {
        AdaptationMethod method = name switch
        {
            "mk-mmd" => new DiscrepancyMethod(name, new MaximumMeanDiscrepancy(), 1, WeightSchedule.Ganin),
            "coral" => new DiscrepancyMethod(name, new DeepCoral(), 10),
            _ => new DomainAdversary(new Linear(8, 1, generator: new Generator(9))),
        };
        var (adapter, pairs) = Make(method);
        var result = adapter.Fit(pairs, new() { Steps = 32 });
        return ([.. adapter.Features.Parameters().SelectMany(p => p.ToArray<float>())], result.Epochs[^1].Loss);
    }

    private static (Adapter, DomainLoader) Make(AdaptationMethod method)
    {
        var generator = new Generator(3);
        var features = new Sequential(new Linear(2, 16, generator: generator), new Function(x => x.Tanh()), new Linear(16, 8, generator: generator));
        var adapter = new Adapter(features, new Linear(8, 2, generator: generator), method);
        // Were target labels read anywhere, class 77 would be an error.
        var (input, _) = Points(90, 2, 1);
        var target = new TensorDataset(input, Tensor.Full([90], 77, type: ElementType.Int32));
        var (x, y) = Points(128, 1, 0);
        return (adapter, new DomainLoader(new DataLoader(new TensorDataset(x, y), new() { BatchSize = 32, Shuffle = true }), new DataLoader(target, new() { BatchSize = 32, Shuffle = true, DropLast = true })));
    }

    private static (Tensor Input, Tensor Label) Points(int n, int seed, double shift)
    {
        var random = new Random(seed);
        var points = new float[2 * n];
        var labels = new int[n];
        for (int i = 0; i < n; i++)
        {
            labels[i] = i % 2;
            points[2 * i] = (float)(labels[i] * 2 - 1 + 0.3 * (random.NextDouble() - 0.5) + shift);
            points[2 * i + 1] = (float)(random.NextDouble() - 0.5 + 0.5 * shift);
        }
        return (Tensor.From(points, [n, 2]), Tensor.From(labels));
    }
}
