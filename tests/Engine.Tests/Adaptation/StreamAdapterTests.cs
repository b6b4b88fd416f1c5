using TransferEngine.Adaptation;
using TransferEngine.Modules;
using TransferEngine.Transfer;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Adapting on a stream: statistics, steps and support sets against plain doubles, gains on a shifted domain, and nothing left behind.</summary>
public class StreamAdapterTests
{
    public static TheoryData<string> Methods => ["adabn", "tent", "t3a"];

    [Theory, MemberData(nameof(Methods))]
    public void Gains_on_a_shifted_domain_and_rolls_back_to_the_same_bits(string method)
    {
        var (features, head) = Blobs.Trained(isNormalised: method != "t3a");
        var model = new Sequential(features, head);
        double noise = method == "t3a" ? 0.2 : 0.35, shift = method == "t3a" ? 1.5 : 2;
        var (x, y) = Blobs.Draw(600, 11, true, noise, shift);
        double before = Blobs.Accuracy(model, x, y);
        byte[] bits = Blobs.Bits(model);
        using (var adapter = Make(method, model, features, head))
        {
            double gained = Stream(adapter), again = Stream(adapter);
            Assert.True(gained > before + 0.04, $"{method}: {gained} adapted, {before} before");
            Assert.True(again > before + 0.04, $"{method}: {again} in the second pass, {before} before");
            adapter.RollBack();
            Assert.Equal(bits, Blobs.Bits(model));
            Assert.Equal(gained, Stream(adapter)); // from the beginning again
            adapter.RollBack();
        }
        Assert.Equal(bits, Blobs.Bits(model));
        Assert.Equal(before, Blobs.Accuracy(model, x, y));

        double Stream(IStreamAdapter adapter) => Enumerable.Range(0, 6).Average(batch => Blobs.Accuracy(adapter.Adapt(x.Narrow(0, 100 * batch, 100)), y.Narrow(0, 100 * batch, 100)));
    }

    [Theory, MemberData(nameof(Methods))]
    public void A_batch_that_can_not_be_leaves_nothing_behind(string method)
    {
        var (features, head) = Blobs.Trained();
        var model = new Sequential(features, head);
        model.Eval();
        using var adapter = Make(method, model, features, head);
        var (x, _) = Blobs.Draw(20, 3, true);
        adapter.Adapt(x);
        byte[] bits = Blobs.Bits(model);
        float[] spoilt = x.ToArray<float>();
        foreach (float value in new[] { float.NaN, float.PositiveInfinity })
        {
            spoilt[7] = value;
            Assert.Contains("NaN", Assert.Throws<ArgumentException>(() => adapter.Adapt(Tensor.From(spoilt, [20, 2]))).Message, StringComparison.Ordinal);
        }
        Assert.Throws<ShapeException>(() => adapter.Adapt(Tensor.Zeros([0, 2])));
        Assert.ThrowsAny<Exception>(() => adapter.Adapt(Tensor.Zeros([4, 3])));
        // Finite, but not within the network.
        Assert.ThrowsAny<Exception>(() => adapter.Adapt(Tensor.Full([4, 2], 3e38)));
        Assert.Equal(bits, Blobs.Bits(model));
        Assert.All(model.NamedModules(), item => Assert.False(item.Module.IsTraining));
        Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad && parameter.Grad is null));
    }

    [Fact]
    public void Statistics_of_one_batch_are_the_batchs_and_those_of_several_are_pooled()
    {
        double[][] first = Rows(7, 3, 1, 0), second = Rows(5, 3, 2, 2);
        var norm = new BatchNorm1d(3, type: ElementType.Float64);
        using var adapter = new AdaBn(norm);
        Expect([.. first], adapter.Adapt(From(first)), From(first));
        var logits = adapter.Adapt(From(second));
        Expect([.. first, .. second], logits, From(second));
        Assert.Equal(12, adapter.Rows);
        adapter.RollBack();
        Assert.Equal([0, 0, 0], norm.RunningMean.ToArray<double>());
        Assert.Equal(0, adapter.Rows);

        void Expect(double[][] rows, Tensor got, Tensor input)
        {
            for (int j = 0; j < 3; j++)
            {
                double mean = rows.Average(row => row[j]), variance = rows.Average(row => (row[j] - mean) * (row[j] - mean));
                AssertClose(mean, norm.RunningMean.ToArray<double>()[j]);
                AssertClose(variance, norm.RunningVar.ToArray<double>()[j]);
                AssertClose((input.ToArray<double>()[j] - mean) / Math.Sqrt(variance + 1e-5), got.ToArray<double>()[j]);
            }
        }
    }

    [Fact]
    public void Shipped_statistics_count_for_as_many_rows_as_said()
    {
        double[][] rows = Rows(6, 2, 1, 1);
        var norm = new BatchNorm1d(2, type: ElementType.Float64);
        using var adapter = new AdaBn(norm, shippedRows: 18);
        adapter.AdaptAll([From(rows[..2]), From(rows[2..])]);
        for (int j = 0; j < 2; j++)
        {
            double mean = rows.Average(row => row[j]), variance = rows.Average(row => (row[j] - mean) * (row[j] - mean));
            AssertClose((18 * 0 + 6 * mean) / 24, norm.RunningMean.ToArray<double>()[j]);
            AssertClose((18 * 1 + 6 * variance) / 24, norm.RunningVar.ToArray<double>()[j]);
        }
    }

    [Fact]
    public void One_step_of_tent_is_one_step_on_the_entropy_by_the_batchs_statistics()
    {
        // One normalisation, whose outputs are the logits γ x̂ + β: the entropy's slope for a logit z_c is -p_c (ln p_c + H).
        const int N = 6, C = 3;
        const double Rate = 0.5;
        double[][] rows = Rows(N, C, 3, 0.5);
        var norm = new BatchNorm1d(C, type: ElementType.Float64);
        using var tent = new Tent(norm, new() { Optimizer = parameters => new Sgd(parameters, Rate) });
        norm.RequiresGrad(false); // as an application that does not train
        var logits = tent.Adapt(From(rows)).ToArray<double>();
        double[] gamma = new double[C], beta = new double[C];
        double entropy = 0;
        double[] means = [.. Enumerable.Range(0, C).Select(j => rows.Average(row => row[j]))];
        double[] deviations = [.. Enumerable.Range(0, C).Select(j => Math.Sqrt(rows.Average(row => Math.Pow(row[j] - means[j], 2)) + 1e-5))];
        for (int i = 0; i < N; i++)
        {
            double[] normalised = [.. Enumerable.Range(0, C).Select(j => (rows[i][j] - means[j]) / deviations[j])], p = Softmax(normalised);
            double h = -p.Sum(share => share * Math.Log(share));
            entropy += h / N;
            for (int j = 0; j < C; j++)
            {
                AssertClose(normalised[j], logits[i * C + j]);
                double slope = -p[j] * (Math.Log(p[j]) + h) / N;
                gamma[j] += slope * normalised[j];
                beta[j] += slope;
            }
        }
        AssertClose(entropy, tent.Entropy);
        for (int j = 0; j < C; j++)
        {
            AssertClose(1 - Rate * gamma[j], norm.Weight!.ToArray<double>()[j]);
            AssertClose(-Rate * beta[j], norm.Bias!.ToArray<double>()[j]);
        }
        Assert.False(norm.Weight!.RequiresGrad);
    }

    [Fact]
    public void Tent_changes_normalisation_alone_and_episodes_begin_anew()
    {
        var (features, head) = Blobs.Trained();
        var model = new Sequential(features, head);
        using var shipped = new ShippedWeights(model);
        var (x, _) = Blobs.Draw(64, 3, true);
        using (var tent = new Tent(model))
        {
            tent.Adapt(x);
            Assert.Equal(["0.1.bias", "0.1.num_batches_tracked", "0.1.running_mean", "0.1.running_var", "0.1.weight",
                "0.4.bias", "0.4.num_batches_tracked", "0.4.running_mean", "0.4.running_var", "0.4.weight"], shipped.Changed().Order(StringComparer.Ordinal));
            float[] carried = tent.Adapt(x).ToArray<float>();
            tent.RollBack();
            using var episodic = new Tent(model, new() { Episodic = true, Steps = 2 });
            float[] first = episodic.Adapt(x).ToArray<float>();
            Assert.Equal(carried, first); // the second of two steps sees what the second batch saw
            Assert.Equal(first, episodic.Adapt(x).ToArray<float>());
        }
        shipped.RollBack();
        using var handle = FreezePolicy.All().Apply(model);
        using var held = new Tent(model);
        Assert.Contains("frozen", Assert.Throws<InvalidOperationException>(() => held.Adapt(x)).Message, StringComparison.Ordinal);
        Assert.Empty(shipped.Changed());
    }

    [Fact]
    public void Layer_normalisation_learns_too()
    {
        var generator = new Generator(4);
        var model = new Sequential(new Linear(2, 8, generator: generator), new LayerNorm([8]), new Linear(8, 3, generator: generator));
        using var tent = new Tent(model, new() { Optimizer = parameters => new Sgd(parameters, 0.5) });
        var (x, _) = Blobs.Draw(64, 3, true);
        tent.Adapt(x);
        double first = tent.Entropy;
        for (int i = 0; i < 10; i++)
            tent.Adapt(x);
        Assert.True(tent.Entropy < first, $"{tent.Entropy} after, {first} before");
    }

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Support_sets_equal_their_definition(bool authors, bool isSwallowed)
    {
        const int D = 3, C = 2, Kept = 3;
        double[][] weights = Rows(C, D, 1, 0), rows = Rows(14, D, 2, 0.2);
        double[] bias = [0.1, isSwallowed ? -3 : -0.2]; // by it both weight vectors are of the first class
        var head = new Linear(From(weights), Tensor.From(bias));
        var features = new Function(x => x);
        using var t3a = authors ? T3a.Authors(features, head, Kept) : new T3a(features, head, Kept);
        double[] got = [.. t3a.Adapt(From(rows[..5])).ToArray<double>(), .. t3a.Adapt(From(rows[5..])).ToArray<double>()];

        var sets = new List<(double[] Unit, double Entropy)>[C];
        for (int k = 0; k < C; k++)
            sets[k] = [];
        for (int k = 0; k < C; k++)
        {
            double[] logits = Logits(weights[k]);
            sets[authors ? Array.IndexOf(logits, logits.Max()) : k].Add((Unit(weights[k]), Entropy(logits)));
        }
        Assert.Equal(authors && isSwallowed, sets[1].Count == 0);
        for (int i = 0; i < rows.Length; i++)
        {
            double[] logits = Logits(rows[i]);
            sets[logits[1] > logits[0] ? 1 : 0].Add((Unit(rows[i]), Entropy(logits)));
            if (i is not (4 or 13))
                continue;
            for (int k = 0; k < C; k++)
                sets[k] = [.. sets[k].OrderBy(row => row.Entropy).Take(Kept)];
            for (int row = i == 4 ? 0 : 5; row <= i; row++)
            {
                for (int k = 0; k < C; k++)
                {
                    double[] centroid = [.. Enumerable.Range(0, D).Select(j => sets[k].Select(member => member.Unit[j]).DefaultIfEmpty(0).Average())];
                    AssertClose(Dot(rows[row], authors && sets[k].Count > 0 ? Unit(centroid) : centroid), got[row * C + k]);
                }
            }
        }
        Assert.Equal(sets[0].Count + sets[1].Count, t3a.SupportRows);
        t3a.RollBack();
        Assert.Equal(C, t3a.SupportRows);

        double[] Logits(double[] z) => [.. Enumerable.Range(0, C).Select(k => Dot(weights[k], z) + bias[k])];
        static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
        static double[] Unit(double[] z) => [.. z.Select(x => x / Math.Sqrt(Dot(z, z)))];
        static double Entropy(double[] logits) => -Softmax(logits).Sum(p => p * Math.Log(p));
    }

    [Fact]
    public void Streams_leave_no_memory_behind()
    {
        using var device = Device.Open("cpu");
        var (features, head) = Blobs.Trained();
        var model = new Sequential(features, head);
        model.To(device);
        var (points, _) = Blobs.Draw(32, 3, true);
        using var x = points.To(device);
        foreach (string method in new[] { "adabn", "tent", "t3a" })
        {
            using var adapter = Make(method, model, features, head);
            long live = 0;
            for (int i = 0; i < 60; i++)
            {
                adapter.Adapt(x).Dispose();
                if (i == 40)
                    live = device.LiveBytes;
            }
            Assert.Equal(live, device.LiveBytes);
        }
    }

    [Fact]
    public void Drift_equals_its_formula_and_is_seen_where_it_is()
    {
        double[][] rows = Rows(9, 2, 5, 0.7);
        var norm = new BatchNorm1d(2, type: ElementType.Float64);
        using (var plain = new DriftMonitor(norm))
        {
            var drift = plain.Measure(From(rows));
            double want = Enumerable.Range(0, 2).Average(j =>
            {
                double mean = rows.Average(row => row[j]), variance = rows.Average(row => (row[j] - mean) * (row[j] - mean)) + 1e-5;
                return ((variance + mean * mean) / (1 + 1e-5) - 1 - Math.Log(variance / (1 + 1e-5))) / 2;
            });
            AssertClose(want, drift.Statistics!.Value);
            AssertClose(want, Assert.Single(drift.Layers).Distance);
            Assert.Null(drift.Score);
        }
        var (features, head) = Blobs.Trained();
        var model = new Sequential(features, head);
        byte[] bits = Blobs.Bits(model);
        using var monitor = new DriftMonitor(model);
        monitor.Calibrate(Enumerable.Range(20, 10).Select(seed => Blobs.Draw(100, seed, false).Input));
        double near = monitor.Measure(Blobs.Draw(100, 50, false).Input).Score!.Value, far = monitor.Measure(Blobs.Draw(100, 50, true).Input).Score!.Value;
        Assert.True(near < 4 && far > 20, $"{near} without drift, {far} with it");
        Assert.Equal(bits, Blobs.Bits(model));
        Assert.Throws<ArgumentException>(() => monitor.Calibrate([Blobs.Draw(100, 1, false).Input]));
        using var bare = new DriftMonitor(new Linear(2, 3));
        Assert.Null(bare.Measure(Blobs.Draw(10, 1, false).Input).Statistics);
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        var bare = new Linear(2, 3);
        Assert.Contains("no batch normalisation", Assert.Throws<ArgumentException>(() => new AdaBn(bare)).Message, StringComparison.Ordinal);
        Assert.Contains("no normalisation", Assert.Throws<ArgumentException>(() => new Tent(bare)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new AdaBn(new BatchNorm1d(2), double.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Tent(new BatchNorm1d(2), new() { Steps = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new T3a(bare, bare, 0));
        using var t3a = new T3a(bare, bare);
        Assert.Contains("do not suit", Assert.Throws<ShapeException>(() => t3a.Adapt(Tensor.Zeros([4, 2]))).Message, StringComparison.Ordinal);
    }

    private static IStreamAdapter Make(string method, Module model, Module features, Linear head) => method switch
    {
        "adabn" => new AdaBn(model),
        "tent" => new Tent(model),
        _ => new T3a(features, head),
    };
}
