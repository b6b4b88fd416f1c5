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
    public void What_a_discrepancy_is_measured_on_is_chosen_and_several_sources_are_one_sample()
    {
        double[][] s = Samples.Rows(6, 2, 1, 0), other = Samples.Rows(5, 2, 2, 0.5), t = Samples.Rows(7, 2, 3, 1);
        var (features, head) = (PlainNetworks.Net(2, 4, 1), PlainNetworks.Net(4, 3, 2));
        double[][] f = PlainNetworks.Apply(features, [.. s, .. other]), g = PlainNetworks.Apply(features, t), p = PlainNetworks.Apply(head, f), q = PlainNetworks.Apply(head, g);
        foreach (bool isJoint in new[] { true, false })
        {
            var batch = new DomainBatch([new(Samples.From(s), Tensor.From([0, 1, 2, 0, 1, 2])), new(Samples.From(other), Tensor.From([2, 1, 0, 2, 1]))], Samples.From(t));
            var step = new AdaptationStep(new AdaptationRun(features, head) { IsJoint = isJoint }, batch, 0);
            foreach (IDiscrepancy discrepancy in new IDiscrepancy[] { new DeepCoral(), new MaximumMeanDiscrepancy(), new HigherOrderMomentMatching() })
            {
                double Of(double[][] x, double[][] y) => discrepancy.Forward(Samples.From(x), Samples.From(y)).Item();
                double[][] Soft(double[][] x) => [.. x.Select(row => Samples.Softmax(row))];
                double Loss(NetworkOutputs outputs) => new DiscrepancyMethod("d", discrepancy, 0.8, outputs: outputs).Loss(step)!.Item();
                Samples.AssertClose(0.8 * Of(f, g), new DiscrepancyMethod("d", discrepancy, 0.8).Loss(step)!.Item(), 1e-9);
                Samples.AssertClose(0.8 * Of(p, q), Loss(NetworkOutputs.Logits), 1e-9);
                Samples.AssertClose(0.8 * (Of(f, g) + Of(p, q)), Loss(NetworkOutputs.Features | NetworkOutputs.Logits), 1e-9);
                Samples.AssertClose(0.8 * (Of(f, g) + Of(Soft(p), Soft(q))), Loss(NetworkOutputs.Features | NetworkOutputs.Probabilities), 1e-9);
            }
        }
        Assert.Contains("Features", Assert.Throws<ArgumentOutOfRangeException>(() => new DiscrepancyMethod("d", new DeepCoral(), outputs: NetworkOutputs.None)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new DiscrepancyMethod("d", new DeepCoral(), outputs: (NetworkOutputs)8));
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
