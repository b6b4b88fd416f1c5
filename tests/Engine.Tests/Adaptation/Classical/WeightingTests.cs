using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>Weights of the source's rows: KMM's programme and KLIEP's likelihood against their formulas, and transport.</summary>
public class WeightingTests
{
    private static readonly double[][] Source = Rows(24, 2, 1, 0), Target = Rows(18, 2, 2, 0.5);

    [Theory, InlineData(1000, null), InlineData(1.8, null), InlineData(1000, 0.0), InlineData(3, 0.05)]
    public void Mean_matching_holds_its_constraints_and_nothing_feasible_costs_less(double bound, double? slack)
    {
        double b = 1.3;
        double[] beta = new KernelMeanMatching(new GaussianKernel([1], bandwidth: b), bound, slack, iterations: 20000, tolerance: 1e-9).Weights(From(Source), From(Target));
        int n = beta.Length;
        double band = n * (slack ?? (Math.Sqrt(n) - 1) / Math.Sqrt(n));
        double Kernel(double[] x, double[] y) => Math.Exp(-Distance(x, y) / b);
        double[] kappa = [.. Source.Select(x => (double)n / Target.Length * Target.Sum(y => Kernel(x, y)))];
        double Cost(double[] w) => Enumerable.Range(0, n).Sum(i => w[i] * (Enumerable.Range(0, n).Sum(j => w[j] * Kernel(Source[i], Source[j])) / 2 - kappa[i]));
        Assert.All(beta, weight => Assert.InRange(weight, 0, bound));
        Assert.InRange(beta.Sum(), n - band - 1e-9, n + band + 1e-9);
        double least = Cost(beta);
        // Along the way to any other feasible weights the cost rises from the first step on.
        var random = new Random(5);
        for (int trial = 0; trial < 300; trial++)
        {
            double[] other = [.. beta.Select(_ => Math.Pow(random.NextDouble(), 3))];
            double wanted = n + band * (random.NextDouble() * 2 - 1), sum = other.Sum();
            other = [.. other.Select(weight => weight * wanted / sum)];
            if (other.Any(weight => weight > bound))
                continue;
            foreach (double step in new[] { 1, 0.1, 1e-3 })
                Assert.True(Cost([.. beta.Zip(other, (x, y) => x + step * (y - x))]) >= least - 1e-8 * Math.Abs(least));
        }
    }

    [Fact]
    public void Of_one_sample_the_weights_are_one()
    {
        Assert.All(new KernelMeanMatching(slack: 0).Weights(From(Source), From(Source)), weight => AssertClose(1, weight, 1e-6));
        var ratio = new LogisticImportance();
        Assert.All(ratio.Weights(From(Source), From(Source)), weight => AssertClose(1, weight, 1e-4));
        Assert.Equal(new DensityRatio().Weights(From(Source), From(Target), From(Source)), ratio.Weights(From(Source), From(Target)));
    }

    [Fact]
    public void Importance_estimation_is_of_mean_one_and_greatest_likelihood()
    {
        var kliep = new KullbackLeiblerImportance([0.5], centres: 6, iterations: 20000, tolerance: 1e-14);
        double[] weights = kliep.Weights(From(Source), From(Target));
        AssertClose(1, weights.Average(), 1e-9);
        // The likelihood by the formula: centres 0, 3, 6, ..., 15 of 18, the bandwidth half the median squared distance to them.
        double[][] centres = [.. Enumerable.Range(0, 6).Select(l => Target[3 * l])];
        double b = 0.5 * Median(Target.SelectMany(x => centres.Select(c => Distance(x, c))).Where(distance => distance > 1e-12));
        double K(double[] x, double[] c) => Math.Exp(-Distance(x, c) / b);
        double Likelihood(double[] alpha)
        {
            double scale = Source.Average(x => centres.Zip(alpha, (c, a) => a * K(x, c)).Sum());
            return Target.Average(x => Math.Log(centres.Zip(alpha, (c, a) => a * K(x, c)).Sum() / scale));
        }
        // α from the weights of six source rows.
        var system = MathNet.Numerics.LinearAlgebra.Matrix<double>.Build.Dense(Source.Length, 6, (i, l) => K(Source[i], centres[l]));
        double[] found = [.. system.QR().Solve(MathNet.Numerics.LinearAlgebra.Vector<double>.Build.DenseOfArray(weights))];
        Assert.All(found, a => Assert.True(a > -1e-6));
        double best = Likelihood(found);
        var random = new Random(3);
        for (int trial = 0; trial < 500; trial++)
        {
            double step = trial % 2 == 0 ? 1 : 0.01;
            Assert.True(Likelihood([.. found.Select(a => Math.Max(0, a) + step * random.NextDouble() * found.Max())]) <= best + 1e-7);
        }
        var heard = new List<double>();
        new KullbackLeiblerImportance().Weights(From(Source), From(Target), new Listener(heard));
        Assert.True(heard.Count > 1 && heard.Zip(heard.Skip(1)).All(pair => pair.Second >= pair.First - 1e-12));
    }

    [Fact]
    public void Weights_follow_the_target_and_weigh_a_classifier()
    {
        // The target is where the first coordinate is large.
        foreach (var method in new ISampleWeighting[] { new KernelMeanMatching(), new KullbackLeiblerImportance(), new LogisticImportance() })
        {
            double[][] source = Rows(120, 2, 7, 0), target = [.. Rows(100, 2, 8, 0).Select(row => new[] { 0.5 + row[0] / 2, row[1] })];
            double[] weights = method.Weights(From(source), From(target));
            double inside = weights.Where((_, i) => source[i][0] > 0.2).Average(), outside = weights.Where((_, i) => source[i][0] < -0.2).Average();
            Assert.True(inside > 3 * outside, $"{method.Name}: {inside} and {outside}");
            var pipeline = new ClassicalPipeline(new LinearSvm(), weighting: method);
            Assert.Equal($"{method.Name} + SVM", pipeline.Name);
            int[] labels = [.. source.Select(row => row[0] > 0 ? (row[1] > 0 ? 1 : 0) : row[1] > 0 ? 0 : 1)]; // the rule turns over outside the target
            int[] predicted = pipeline.Fit(new(From(source), Tensor.From(labels), From(target))).Predict(From(target)).ToArray<int>();
            Assert.InRange(predicted.Zip(target, (label, row) => label == (row[1] > 0 ? 1 : 0) ? 1.0 : 0).Average(), 0.85, 1);
        }
    }

    [Fact]
    public void Exact_transport_moves_rows_onto_those_of_the_cheapest_permutation()
    {
        double[][] source = Rows(6, 2, 3, 0), target = Rows(6, 2, 4, 1);
        var space = new TransportMapping().Fit(new(From(source), Tensor.From(new int[6]), From(target)));
        int[] best = Permutations(6).MinBy(order => source.Select((row, i) => Distance(row, target[order[i]])).Sum())!;
        double[] moved = space.Source(From(source)).ToArray<double>();
        for (int i = 0; i < 6; i++)
        {
            for (int j = 0; j < 2; j++)
                AssertClose(target[best[i]][j], moved[i * 2 + j]);
        }
        // A new row moves as the nearest of the fit does; the target's stay.
        double[] near = space.Source(From([[source[2][0] + 1e-3, source[2][1]]])).ToArray<double>();
        AssertClose(target[best[2]][0] + 1e-3, near[0]);
        Assert.Equal(From(target).ToArray<double>(), space.Target(From(target)).ToArray<double>());
    }

    [Fact]
    public void Entropic_transport_lies_between_the_exact_one_and_the_mean()
    {
        double[][] source = Rows(6, 2, 3, 0), target = Rows(6, 2, 4, 1);
        var data = new DomainFeatures(From(source), Tensor.From(new int[6]), From(target));
        double[] exact = new TransportMapping().Fit(data).Source(data.Source).ToArray<double>(), sharp = new TransportMapping(1e-3, 5000).Fit(data).Source(data.Source).ToArray<double>();
        double[] flat = new TransportMapping(1e4).Fit(data).Source(data.Source).ToArray<double>();
        for (int i = 0; i < 12; i++)
        {
            AssertClose(exact[i], sharp[i], 1e-2);
            AssertClose(target.Average(row => row[i % 2]), flat[i], 1e-3);
        }
    }

    [Fact]
    public void Wrong_arguments_and_cancellation_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new KernelMeanMatching(bound: 0.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => new KernelMeanMatching(slack: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new KullbackLeiblerImportance([0.0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new KullbackLeiblerImportance(folds: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TransportMapping(0));
        Assert.Throws<ShapeException>(() => new KullbackLeiblerImportance().Weights(From(Source), From(Rows(4, 2, 1, 0))));
        Assert.Throws<ShapeException>(() => new KernelMeanMatching().Weights(From(Source), From(Rows(4, 3, 1, 0))));
        Assert.Throws<ArgumentException>(() => new TransportMapping().Fit(new(From(Source), Tensor.From(new int[24]), Tensor.Full([3, 2], double.NaN, type: ElementType.Float64))));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        foreach (var method in new ISampleWeighting[] { new KernelMeanMatching(), new KullbackLeiblerImportance(), new LogisticImportance() })
            Assert.Throws<OperationCanceledException>(() => method.Weights(From(Source), From(Target), cancellation: cancelled.Token));
        Assert.Throws<OperationCanceledException>(() => new TransportMapping().Fit(new(From(Source), Tensor.From(new int[24]), From(Target)), cancellation: cancelled.Token));
    }

    private static IEnumerable<int[]> Permutations(int n) => n == 0
        ? [[]]
        : Permutations(n - 1).SelectMany(order => Enumerable.Range(0, n).Select(at => (int[])[.. order[..at], n - 1, .. order[at..]]));

    private sealed class Listener(List<double> heard) : IProgress<ClassicalProgress>
    {
        public void Report(ClassicalProgress value)
        {
            if (value.Iteration == 1)
                heard.Clear();
            heard.Add(value.Value);
        }
    }
}
