using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>The weights of kernels against an exhaustive search over which of them are 0, and what they are for.</summary>
public class LearnedKernelMmdTests
{
    private static readonly double[] Factors = [0.05, 0.3, 1, 4];

    [Theory, InlineData(12, 12, 1), InlineData(13, 20, 2), InlineData(40, 40, 3)]
    public void Weights_equal_those_of_an_exhaustive_search(int n, int m, int seed)
    {
        double[][] s = Rows(n, 3, seed, 0), t = Rows(m, 3, seed + 10, 0.8);
        int pairs = Math.Min(n, m) / 2;
        double H(int i, double b)
        {
            double K(double[] x, double[] y) => Math.Exp(-Distance(x, y) / b);
            return K(s[2 * i], s[2 * i + 1]) + K(t[2 * i], t[2 * i + 1]) - K(s[2 * i], t[2 * i + 1]) - K(s[2 * i + 1], t[2 * i]);
        }
        double[] eta = [.. Factors.Select(b => Enumerable.Range(0, pairs).Average(i => H(i, 1.5 * b)))];
        double[,] q = new double[4, 4];
        for (int u = 0; u < 4; u++)
        {
            for (int v = 0; v < 4; v++)
            {
                q[u, v] = (u == v ? 1e-3 : 0) + Enumerable.Range(0, pairs / 2).Average(i =>
                    (H(2 * i, 1.5 * Factors[u]) - H(2 * i + 1, 1.5 * Factors[u])) * (H(2 * i, 1.5 * Factors[v]) - H(2 * i + 1, 1.5 * Factors[v])));
            }
        }
        Assert.Contains(eta, value => value > 0);
        double[] want = Search(q, eta);
        var learned = new LearnedKernelMmd(Factors, bandwidth: 1.5, estimator: MmdEstimator.Unbiased);
        var got = learned.Weights(From(s), From(t));
        for (int u = 0; u < 4; u++)
            AssertClose(want[u], got[u], 1e-9);
        // The loss and its gradient are those of the mixture with these weights.
        var mixture = new MaximumMeanDiscrepancy(new GaussianKernel(Factors, bandwidth: 1.5, weights: got), MmdEstimator.Unbiased);
        Tensor x = From(s), y = From(t);
        (x.RequiresGrad, y.RequiresGrad) = (true, true);
        Tensor one = learned.Forward(x, y), other = mixture.Forward(x, y);
        AssertClose(other.Item(), one.Item());
        Assert.All(Tensor.Gradients(one, [x, y]).Zip(Tensor.Gradients(other, [x, y])), pair =>
            Assert.All(pair.First.ToArray<double>().Zip(pair.Second.ToArray<double>()), g => AssertClose(g.Second, g.First)));
    }

    [Fact]
    public void Programs_with_active_bounds_equal_those_of_an_exhaustive_search()
    {
        var random = new Random(3);
        for (int round = 0; round < 40; round++)
        {
            const int N = 5;
            var a = Matrix<double>.Build.Dense(N, N, (_, _) => random.NextDouble() * 2 - 1);
            var q = a * a.Transpose() + 0.05 * Matrix<double>.Build.DenseIdentity(N);
            double[] c = [.. Enumerable.Range(0, N).Select(_ => random.NextDouble() * 2 - 0.8)];
            if (c.Max() <= 0)
                continue;
            double[] x = NonnegativeQuadratic.Minimize(q, Vector<double>.Build.DenseOfArray(c)), want = Search(q.ToArray(), c);
            for (int i = 0; i < N; i++)
                AssertClose(want[i], x[i] / x.Sum(), 1e-9);
        }
    }

    [Fact]
    public void Without_a_positive_estimate_one_kernel_is_taken()
    {
        // h of three kernels: all means negative, their ratios to the deviation -1, -0.1 and -0.5.
        var h = Matrix<double>.Build.DenseOfArray(new[,] { { -2.0, -1.1, -1.5 }, { -1.0, 0.9, 0.5 }, { -2.0, -1.1, -1.5 }, { -1.0, 0.9, 0.5 } });
        Assert.Equal([0, 1, 0], LearnedKernelMmd.Optimal(h, 1e-6));
    }

    [Fact]
    public void The_mixture_tells_domains_apart_at_the_scale_at_which_they_differ()
    {
        // Points on a coarse grid, in one domain tightly around its places, in the other loosely: the widest kernel sees nothing of it.
        double[][] Domain(double spread, int seed)
        {
            var random = new Random(seed);
            return [.. Enumerable.Range(0, 400).Select(_ => new[] { random.Next(4) * 10 + spread * (random.NextDouble() - 0.5), random.Next(4) * 10 + spread * (random.NextDouble() - 0.5) })];
        }
        var weights = new LearnedKernelMmd([0.1, 10_000], bandwidth: 1).Weights(From(Domain(0.2, 1)), From(Domain(2, 2)));
        Assert.True(weights[0] > 0.99, $"the narrow kernel weighs {weights[0]}");
        AssertClose(1, weights.Sum());
    }

    [Fact]
    public void By_default_it_is_the_papers()
    {
        double[][] s = Rows(12, 3, 1, 0), t = Rows(12, 3, 2, 0.4);
        var weights = new LearnedKernelMmd().Weights(From(s), From(t));
        Assert.Equal(33, weights.Count);
        double[][] all = [.. s, .. t];
        double median = Median(Enumerable.Range(0, 24).SelectMany(i => Enumerable.Range(0, i).Select(j => Distance(all[i], all[j]))));
        var kernel = new GaussianKernel([.. Enumerable.Range(0, 33).Select(k => median * Math.Pow(2, -8 + k / 2.0))], bandwidth: 1, weights: weights);
        AssertClose(new MaximumMeanDiscrepancy(kernel, MmdEstimator.Linear).Forward(From(s), From(t)).Item(), new LearnedKernelMmd().Forward(From(s), From(t)).Item());
        Assert.Throws<ShapeException>(() => new LearnedKernelMmd().Forward(From(s), From(Rows(9, 3, 2, 0))));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LearnedKernelMmd(ridge: 0));
    }

    /// <summary>The weights of sum 1 that maximise (cᵀx)² / xᵀQx over x ≥ 0: over each set of free ones x is along Q⁻¹c.</summary>
    private static double[] Search(double[,] q, double[] c)
    {
        int n = c.Length;
        double best = 0;
        double[] found = new double[n];
        for (int set = 1; set < 1 << n; set++)
        {
            int[] free = [.. Enumerable.Range(0, n).Where(i => (set >> i & 1) != 0)];
            var x = Matrix<double>.Build.Dense(free.Length, free.Length, (i, j) => q[free[i], free[j]]).Solve(Vector<double>.Build.Dense(free.Length, i => c[free[i]]));
            double value = free.Select((f, i) => c[f] * x[i]).Sum();
            if (x.Minimum() < 0 || value <= best)
                continue;
            best = value;
            found = new double[n];
            for (int i = 0; i < free.Length; i++)
                found[free[i]] = x[i] / x.Sum();
        }
        return found;
    }
}
