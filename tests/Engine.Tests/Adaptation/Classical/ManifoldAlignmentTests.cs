using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>MEDA against its normal equations, solved whole in doubles.</summary>
public class ManifoldAlignmentTests
{
    private const int N = 18, M = 15, D = 6;

    private static readonly int[] Labels = [.. Enumerable.Range(0, N).Select(i => i % 3)];
    private static readonly double[][] Source = Clouds(N, 1, 0), Target = Clouds(M, 2, 0.3);

    private const double Eta = 0.2, Rho = 0.5;

    [Theory, InlineData(0.3, 1), InlineData(0.8, 3), InlineData(0.0, 2)]
    public void Predictions_solve_the_normal_equations(double mu, int iterations)
    {
        var data = new DomainFeatures(From(Source), Tensor.From(Labels), From(Target));
        int[] want = Solved(data, mu, iterations, 4, marginal: 1);
        Assert.Equal(want, Predicted(data, mu, iterations, 4, meanOfClasses: false));
        Assert.Equal(3, want.Distinct().Count());
    }

    [Fact]
    public void The_authors_weigh_the_domains_means_as_often_as_there_are_classes()
    {
        bool differ = false;
        for (int seed = 2; seed < 10; seed++)
        {
            // Classes that lie close, so that predictions depend on the weights.
            var data = new DomainFeatures(From(Clouds(N, 1, 0, apart: 0.5)), Tensor.From(Labels), From(Clouds(M, seed, 0.6, apart: 0.5)));
            foreach (double alignment in new[] { 4.0, 40, 400 })
            {
                int[] want = Solved(data, 0.6, 3, alignment, marginal: 3);
                Assert.Equal(want, Predicted(data, 0.6, 3, alignment, meanOfClasses: true));
                differ |= !want.SequenceEqual(Solved(data, 0.6, 3, alignment, marginal: 1));
            }
        }
        Assert.True(differ);
    }

    private static int[] Predicted(DomainFeatures data, double mu, int iterations, double alignment, bool meanOfClasses)
    {
        var settings = new ManifoldAlignmentSettings
        {
            Dimensions = 2,
            Ridge = Eta,
            AlignmentWeight = alignment,
            ManifoldWeight = Rho,
            Neighbors = 4,
            Balance = mu,
            MeanOfClasses = meanOfClasses,
            Iterations = iterations,
        };
        return new ManifoldEmbeddedAlignment(settings).Fit(data).Predict(data.Target).ToArray<int>();
    }

    /// <summary>The predictions by the equations as they stand, the domains' means weighing <paramref name="marginal"/> times 1 - μ.</summary>
    private static int[] Solved(DomainFeatures data, double mu, int iterations, double alignment, double marginal)
    {
        var flow = new GeodesicFlowKernel(2).Fit(data);
        var z = Matrix<double>.Build.DenseOfRowMajor(N + M, 4, FeatureScaling.UnitRows(Tensor.Concat([flow.Source(data.Source), flow.Target(data.Target)])).ToArray<double>());
        var cosines = z * z.Transpose();
        var kernel = cosines.Map(cosine => Math.Exp(cosine - 1)); // of rows of length 1, exp(-‖x - y‖² / 2)
        var ties = Matrix<double>.Build.Dense(N + M, N + M);
        for (int i = 0; i < N + M; i++)
        {
            foreach (int j in Enumerable.Range(0, N + M).Where(j => j != i).OrderByDescending(j => cosines[i, j]).Take(4))
                ties[i, j] = ties[j, i] = Math.Max(0, cosines[i, j]);
        }
        var degrees = ties.RowSums();
        var laplacian = Matrix<double>.Build.DenseIdentity(N + M) - ties.MapIndexed((i, j, tie) => tie / Math.Sqrt(degrees[i] * degrees[j]));
        var a = Matrix<double>.Build.DenseOfDiagonalArray([.. Enumerable.Range(0, N + M).Select(i => i < N ? 1.0 : 0)]);
        var y = Matrix<double>.Build.Dense(N + M, 3, (i, c) => i < N && Labels[i] == c ? 1 : 0);
        int[] pseudo = [.. Enumerable.Range(N, M).Select(j => Labels[Enumerable.Range(0, N).MaxBy(i => cosines[j, i])])];
        for (int iteration = 0; iteration < iterations; iteration++)
        {
            var m = marginal * (1 - mu) * Means(_ => true, _ => true);
            for (int c = 0; c < 3; c++)
            {
                if (pseudo.Contains(c))
                    m += mu * Means(i => Labels[i] == c, j => pseudo[j] == c);
            }
            var f = kernel * ((a + alignment * m / m.FrobeniusNorm() + Rho * laplacian) * kernel + Eta * Matrix<double>.Build.DenseIdentity(N + M)).Solve(a * y);
            pseudo = [.. Enumerable.Range(N, M).Select(j => f.Row(j).MaximumIndex())];
        }
        return pseudo;

        Matrix<double> Means(Func<int, bool> source, Func<int, bool> target)
        {
            double ns = Enumerable.Range(0, N).Count(source), nt = Enumerable.Range(0, M).Count(target);
            double E(int i) => i < N ? (source(i) ? 1 / ns : 0) : target(i - N) ? -1 / nt : 0;
            return Matrix<double>.Build.Dense(N + M, N + M, (i, j) => E(i) * E(j));
        }
    }

    [Fact]
    public void The_balance_is_estimated_and_progress_heard()
    {
        var data = new DomainFeatures(From(Source), Tensor.From(Labels), From(Target));
        var heard = new List<ClassicalProgress>();
        int[] predicted = new ManifoldEmbeddedAlignment(new() { Dimensions = 3 }).Fit(data, new Listener(heard)).Predict(data.Target).ToArray<int>();
        Assert.InRange(predicted.Select((label, j) => label == j % 3 ? 1.0 : 0).Average(), 0.8, 1);
        Assert.True(heard.Count is > 0 and <= 10);
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => new ManifoldEmbeddedAlignment(new() { Dimensions = 3 }).Fit(data, cancellation: cancelled.Token));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ManifoldEmbeddedAlignment(new() { Ridge = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ManifoldEmbeddedAlignment(new() { Balance = 2 }));
        Assert.Throws<ShapeException>(() => new ManifoldEmbeddedAlignment(new() { Dimensions = 4 }).Fit(data));
    }

    private static double[][] Clouds(int rows, int seed, double shift, double apart = 2) =>
        [.. Rows(rows, D, seed, shift).Select((row, i) => row.Select((x, j) => x / 2 + (j == i % 3 ? apart : 0)).ToArray())];

    private sealed class Listener(List<ClassicalProgress> heard) : IProgress<ClassicalProgress>
    {
        public void Report(ClassicalProgress value) => heard.Add(value);
    }
}
