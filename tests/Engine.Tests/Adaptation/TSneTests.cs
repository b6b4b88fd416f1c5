using TransferEngine.Adaptation;
using Xunit;

namespace TransferEngine.Tests.Adaptation;

public class TSneTests
{
    private const double Perplexity = 4, LearningRate = 2;

    [Theory]
    [InlineData(3)]
    [InlineData(25)]
    public void Equals_The_Definition_In_Doubles(int iterations)
    {
        double[][] x = Curve();
        double[] start = new TSne { Perplexity = Perplexity, Iterations = 0 }.Embed(Rows(x)).ToArray<double>();
        double[] laidOut = new TSne { Perplexity = Perplexity, Iterations = iterations, LearningRate = LearningRate }.Embed(Rows(x)).ToArray<double>();
        double[] wanted = Descend(x, start, iterations);
        double scale = wanted.Max(Math.Abs);
        Assert.All(laidOut.Zip(wanted), pair => Assert.InRange(pair.First - pair.Second, -1e-3 * scale, 1e-3 * scale));
    }

    [Fact]
    public void Ends_Where_The_Divergence_Without_Exaggeration_Is_Least()
    {
        double[][] x = Curve();
        double[] y = new TSne { Perplexity = Perplexity, Iterations = 3000, LearningRate = LearningRate }.Embed(Rows(x)).ToArray<double>();
        double[,] p = Neighbourhoods(x);
        Assert.True(Gradient(p, y, 1).Max(Math.Abs) < 1e-4 * Gradient(p, y, 12).Max(Math.Abs));
    }

    [Fact]
    public void Keeps_Clusters_Of_Many_Dimensions_Apart()
    {
        const int Each = 40;
        var draw = new Generator(3);
        var centres = Tensor.Normal([3, 12], deviation: 4, generator: draw);
        var rows = Tensor.Concat([.. Enumerable.Range(0, 3).Select(c => Tensor.Normal([Each, 12], generator: draw) + centres.Narrow(0, c, 1))]);
        var tsne = new TSne { Perplexity = 10, Iterations = 400 };
        var y = tsne.Embed(rows);
        Assert.Equal([3 * Each, 2], y.Shape.ToArray());
        var distances = y.PairwiseSquaredDistances(y) + Tensor.Eye(3 * Each) * 1e9;
        int[] nearest = (-distances).ArgMax(1).ToArray<int>();
        Assert.All(nearest.Select((other, row) => (row / Each, other / Each)), pair => Assert.Equal(pair.Item1, pair.Item2));
        Assert.Equal(y.ToArray<float>(), tsne.Embed(rows).ToArray<float>());
    }

    [Fact]
    public void Refuses_What_It_Cannot_Lay_Out()
    {
        var few = Tensor.Zeros([20, 3]);
        Assert.Contains("perplexity of 30 for 20 rows", Assert.Throws<ShapeException>(() => new TSne().Embed(few)).Message);
        Assert.Contains("2 dimensions are wanted", Assert.Throws<ShapeException>(() => new TSne { Perplexity = 2 }.Embed(Tensor.Zeros([20, 1]))).Message);
        Assert.Throws<ShapeException>(() => new TSne { Perplexity = 2 }.Embed(Tensor.Zeros([2, 3])));
        using var ended = new CancellationTokenSource();
        ended.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => new TSne { Perplexity = 2 }.Embed(few, cancellation: ended.Token));
    }

    private static Tensor Rows(double[][] x) => Tensor.From([.. x.SelectMany(row => row)], [x.Length, x[0].Length]);

    private static double Squared(double[] a, double[] b) => a.Zip(b, (u, v) => (u - v) * (u - v)).Sum();

    private static double[][] Curve() => [.. Enumerable.Range(0, 20).Select(i => Enumerable.Range(0, 3).Select(j => Math.Sin(1.7 * i + 2.3 * j) + (i % 2) * 3).ToArray())];

    /// <summary>The paper's algorithm, number by number.</summary>
    private static double[] Descend(double[][] x, double[] start, int iterations)
    {
        int n = x.Length;
        double[,] p = Neighbourhoods(x);
        double[] y = [.. start], velocity = new double[2 * n], gains = [.. Enumerable.Repeat(1.0, 2 * n)];
        for (int step = 0; step < iterations; step++)
        {
            double[] gradient = Gradient(p, y, 12);
            for (int e = 0; e < 2 * n; e++)
            {
                gains[e] = Math.Max(0.01, gradient[e] * velocity[e] > 0 ? gains[e] * 0.8 : gains[e] + 0.2);
                velocity[e] = 0.5 * velocity[e] - LearningRate * gains[e] * gradient[e];
                y[e] += velocity[e];
            }
            for (int k = 0; k < 2; k++)
            {
                double mean = Enumerable.Range(0, n).Average(i => y[2 * i + k]);
                for (int i = 0; i < n; i++)
                    y[2 * i + k] -= mean;
            }
        }
        return y;
    }

    private static double[,] Neighbourhoods(double[][] x)
    {
        int n = x.Length;
        var conditional = new double[n, n];
        for (int i = 0; i < n; i++)
        {
            double low = 1e-6, high = 1e6;
            for (int halving = 0; halving < 200; halving++)
            {
                double precision = Math.Sqrt(low * high);
                double[] weights = [.. x.Select((row, j) => j == i ? 0 : Math.Exp(-precision * Squared(row, x[i])))];
                double sum = weights.Sum();
                double entropy = -weights.Where(w => w > 0).Sum(w => w / sum * Math.Log(w / sum));
                (low, high) = entropy > Math.Log(Perplexity) ? (precision, high) : (low, precision);
                for (int j = 0; j < n; j++)
                    conditional[i, j] = weights[j] / sum;
            }
        }
        var p = new double[n, n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
                p[i, j] = (conditional[i, j] + conditional[j, i]) / (2 * n);
        }
        return p;
    }

    private static double[] Gradient(double[,] p, double[] y, double exaggeration)
    {
        int n = y.Length / 2;
        var t = new double[n, n];
        double total = 0;
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
                total += t[i, j] = i == j ? 0 : 1 / (1 + Math.Pow(y[2 * i] - y[2 * j], 2) + Math.Pow(y[2 * i + 1] - y[2 * j + 1], 2));
        }
        var gradient = new double[2 * n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                for (int k = 0; k < 2; k++)
                    gradient[2 * i + k] += 4 * (exaggeration * p[i, j] - t[i, j] / total) * t[i, j] * (y[2 * i + k] - y[2 * j + k]);
            }
        }
        return gradient;
    }
}
