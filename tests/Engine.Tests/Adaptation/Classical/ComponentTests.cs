using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>PCA, TCA, JDA, BDA and JGSA against their objectives, written out in doubles.</summary>
public class ComponentTests
{
    private const int N = 14, M = 11, D = 5, K = 3;

    private static readonly int[] Labels = [.. Enumerable.Range(0, N).Select(i => i % 3)];
    private static readonly double[][] Source = Clouds(N, 1, 0), Target = Clouds(M, 2, 0.4);

    private static readonly DomainFeatures Data = new(From(Source), Tensor.From(Labels), From(Target));

    [Fact]
    public void Principal_components_are_orthonormal_and_of_greatest_variance()
    {
        var w = Weights(new PrincipalComponents(K).Fit(Data), centred: true);
        var x = Centred(All());
        AssertIdentity(w.Transpose() * w);
        double[] spread = [.. (x * w).EnumerateColumns().Select(column => column * column)];
        double[] singular = [.. x.Svd().S.Take(K).Select(value => value * value)];
        for (int i = 0; i < K; i++)
            AssertClose(singular[i], spread[i], 1e-10);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Transfer_components_hold_the_constraint_and_cost_least(bool normalize)
    {
        var settings = new ComponentSettings { Dimensions = K, Regularization = 0.3, NormalizeDiscrepancy = normalize };
        var w = Weights(new TransferComponents(settings).Fit(Data));
        CheckLeast(w, All(), Discrepancy(1, 0, null), 0.3, normalize);
    }

    [Fact]
    public void Transfer_components_of_a_kernel_hold_the_constraint_for_rows_old_and_new()
    {
        var kernel = new GaussianKernel([1]);
        foreach (var type in new[] { ElementType.Float64, ElementType.Float32 })
        {
            double tolerance = type == ElementType.Float64 ? 1e-9 : 1e-3;
            var data = new DomainFeatures(Data.Source.To(type), Data.Labels, Data.Target.To(type));
            var space = new TransferComponents(new() { Dimensions = K, Kernel = kernel, Regularization = 0.1 }).Fit(data);
            var z = Centred(Matrix(space.Source(data.Source)).Stack(Matrix(space.Target(data.Target))));
            AssertIdentity(z.Transpose() * z, tolerance);
            // A row alone is moved as it is among the others: the bandwidth is the fit's.
            var alone = Matrix(space.Target(data.Target.Narrow(0, 4, 1)));
            for (int j = 0; j < K; j++)
                AssertClose(Matrix(space.Target(data.Target))[4, j], alone[0, j], tolerance);
        }
    }

    [Fact]
    public void Joint_adaptation_costs_least_with_the_pseudo_labels_found_before()
    {
        var settings = new ComponentSettings { Dimensions = K, Regularization = 0.3 };
        var first = new JointDistributionAdaptation(settings, iterations: 1).Fit(Data);
        AssertSame(Weights(new TransferComponents(settings).Fit(Data)), Weights(first));
        int[] pseudo = new NearestNeighbors().Fit(first.Source(Data.Source), Data.Labels, 3).Predict(first.Target(Data.Target)).ToArray<int>();
        CheckLeast(Weights(new JointDistributionAdaptation(settings, iterations: 2, marginalWeight: 2).Fit(Data)), All(), Discrepancy(2, 1, pseudo), 0.3, true);
        CheckLeast(Weights(new BalancedDistributionAdaptation(0.7, settings, iterations: 2).Fit(Data)), All(), Discrepancy(0.3, 0.7, pseudo), 0.3, true);
        CheckLeast(Weights(new BalancedDistributionAdaptation(0.7, settings, iterations: 2, meanOfClasses: true).Fit(Data)), All(), Discrepancy(3 * 0.3, 0.7, pseudo), 0.3, true);
        AssertSame(Weights(first), Weights(new BalancedDistributionAdaptation(0, settings).Fit(Data)));
    }

    [Fact]
    public void The_balance_is_of_the_sum_or_the_mean_of_the_classes_distances()
    {
        // A classifier tells the domains apart as wholes and within one class of four, where each row is right; in the others the domains are the same rows.
        double[][] own = Clouds(N, 1, 0);
        int[] classes = [.. Enumerable.Range(0, N).Select(i => i % 4)];
        double[][] moved = [.. own.Select((row, i) => classes[i] == 2 ? row.Select(x => x + 50).ToArray() : row)];
        double Estimate(bool ofMean) => DomainBalance.Estimate(From(own), classes, From(moved), classes, 4, ofMean, default);
        // μ / (1 - μ) is the ratio of the classes' distances to that of the whole.
        double sum = Estimate(false), mean = Estimate(true);
        Assert.InRange(mean, 0.01, 0.99);
        AssertClose(sum / (1 - sum), 4 * mean / (1 - mean), 1e-9);
    }

    [Fact]
    public void Pseudo_labels_settle_and_progress_is_heard()
    {
        var settings = new ComponentSettings { Dimensions = K, Scale = ComponentScale.UnitLength, UnitRows = true };
        foreach (var method in new IFeatureAlignment[] { new JointDistributionAdaptation(settings, 30), new BalancedDistributionAdaptation(null, settings, 30), new JointGeometricalStatisticalAlignment(new() { Dimensions = K, Iterations = 30 }) })
        {
            var heard = new Heard();
            var space = method.Fit(Data, heard);
            Assert.Equal(1, heard.Steps[0].Value);
            Assert.Equal(0, heard.Steps[^1].Value);
            Assert.InRange(heard.Steps.Count, 2, 29);
            Assert.Equal([M, K], space.Target(Data.Target).Shape);
        }
        Assert.All(Matrix(new TransferComponents(settings).Fit(Data).Target(Data.Target)).EnumerateRows(), row => AssertClose(1, row.L2Norm()));
        var unit = Weights(new TransferComponents(settings with { UnitRows = false }).Fit(Data));
        Assert.All(unit.EnumerateColumns(), column => AssertClose(1, column.L2Norm()));
    }

    [Fact]
    public void Geometrical_alignment_solves_its_eigenproblem()
    {
        var settings = new GeometricalAlignmentSettings { Dimensions = K, SubspaceWeight = 0.5, VarianceWeight = 0.7, ScatterWeight = 0.2, Iterations = 1 };
        var space = new JointGeometricalStatisticalAlignment(settings).Fit(Data);
        var identity = Matrix<double>.Build.DenseIdentity(D);
        var w = Matrix(space.Source(From(Identity()))).Stack(Matrix(space.Target(From(Identity()))));
        Matrix<double> xs = Rows(Source), xt = Rows(Target), within = Matrix<double>.Build.Dense(D, D), between = within.Clone();
        var mean = xs.ColumnSums() / N;
        for (int c = 0; c < 3; c++)
        {
            var own = Rows([.. Source.Where((_, i) => Labels[i] == c)]);
            var middle = own.ColumnSums() / own.RowCount;
            within += Centred(own).Transpose() * Centred(own);
            between += own.RowCount * (middle - mean).OuterProduct(middle - mean);
        }
        var stacked = Matrix<double>.Build.Dense(N + M, 2 * D);
        stacked.SetSubMatrix(0, 0, xs);
        stacked.SetSubMatrix(N, D, xt);
        var m = Discrepancy(1, 0, null);
        var cost = stacked.Transpose() * (m / m.FrobeniusNorm()) * stacked;
        cost += Block(0.5 * identity + 0.2 * within, -0.5 * identity, 1.2 * identity);
        var gain = Block(0.2 * between, 0 * identity, 0.7 * (Centred(xt).Transpose() * Centred(xt)));
        var values = new List<double>();
        foreach (var column in w.EnumerateColumns())
        {
            AssertClose(1, column.L2Norm());
            double phi = column * (gain * column) / (column * (cost * column));
            Assert.True((gain * column - phi * (cost * column)).L2Norm() < 1e-7 * phi, "no eigenvector");
            values.Add(phi);
        }
        double[] all = [.. cost.Solve(gain).Evd().EigenValues.Select(value => value.Real).OrderDescending().Take(K)];
        for (int i = 0; i < K; i++)
            AssertClose(all[i], values[i], 1e-7);

        Matrix<double> Block(Matrix<double> a, Matrix<double> b, Matrix<double> c) => a.Append(b).Stack(b.Transpose().Append(c));
    }

    [Fact]
    public void Wrong_arguments_and_cancellation_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new PrincipalComponents(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TransferComponents(new() { Regularization = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new JointDistributionAdaptation(iterations: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new BalancedDistributionAdaptation(1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => new JointGeometricalStatisticalAlignment(new() { VarianceWeight = 0 }));
        Assert.Contains("at most 5", Assert.Throws<ShapeException>(() => new TransferComponents(new() { Dimensions = 6 }).Fit(Data)).Message);
        Assert.Throws<ShapeException>(() => new PrincipalComponents(6).Fit(Data));
        Assert.Throws<ShapeException>(() => new PrincipalComponents(2).Fit(Data).Target(Tensor.Ones([2, 3], type: ElementType.Float64)));
        Assert.Throws<ElementTypeException>(() => new PrincipalComponents(2).Fit(Data).Target(Tensor.Ones([2, D])));
        var flat = new DomainFeatures(Tensor.Ones([4, 3]), Tensor.From([0, 1, 0, 1]), Tensor.Ones([4, 3]));
        Assert.Throws<ShapeException>(() => new TransferComponents(new() { Dimensions = 2 }).Fit(flat));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        foreach (var method in new IFeatureAlignment[] { new PrincipalComponents(2), new TransferComponents(), new JointDistributionAdaptation(new() { Dimensions = 2 }), new JointGeometricalStatisticalAlignment(new() { Dimensions = 2 }) })
            Assert.Throws<OperationCanceledException>(() => method.Fit(Data, cancellation: cancelled.Token));
    }

    /// <summary>W holds Wᵀ Xᵀ H X W = I, and no other that was drawn and made to hold it costs less.</summary>
    private static void CheckLeast(Matrix<double> w, Matrix<double> x, Matrix<double> m, double lambda, bool normalize)
    {
        var spread = Centred(x).Transpose() * Centred(x);
        AssertIdentity(w.Transpose() * spread * w);
        var cost = x.Transpose() * (normalize ? m / m.FrobeniusNorm() : m) * x + lambda * Matrix<double>.Build.DenseIdentity(D);
        double least = (w.Transpose() * cost * w).Trace();
        for (int seed = 0; seed < 200; seed++)
        {
            var other = w + Rows(Samples.Rows(D, K, seed, 0)) * (seed % 2 == 0 ? 1 : 1e-3);
            var root = (other.Transpose() * spread * other).Cholesky().Factor;
            other *= root.Inverse().Transpose();
            AssertIdentity(other.Transpose() * spread * other, 1e-8);
            Assert.True((other.Transpose() * cost * other).Trace() >= least * (1 - 1e-12));
        }
    }

    private static Matrix<double> Discrepancy(double marginal, double conditional, int[]? pseudo)
    {
        var m = Matrix<double>.Build.Dense(N + M, N + M);
        void Add(double weight, Func<int, bool> source, Func<int, bool> target)
        {
            double ns = Enumerable.Range(0, N).Count(source), nt = Enumerable.Range(0, M).Count(target);
            double E(int i) => i < N ? (source(i) ? 1 / ns : 0) : target(i - N) ? -1 / nt : 0;
            if (ns > 0 && nt > 0)
                m += Matrix<double>.Build.Dense(N + M, N + M, (i, j) => weight * E(i) * E(j));
        }
        Add(marginal, _ => true, _ => true);
        for (int c = 0; pseudo is not null && c < 3; c++)
            Add(conditional, i => Labels[i] == c, j => pseudo[j] == c);
        return m;
    }

    /// <summary>A cloud a class, moved.</summary>
    private static double[][] Clouds(int rows, int seed, double shift) =>
        [.. Samples.Rows(rows, D, seed, shift).Select((row, i) => row.Select((x, j) => x * (1 + j) / 3 + (j == i % 3 ? 1.5 : 0)).ToArray())];

    private static double[][] Identity() => [.. Enumerable.Range(0, D).Select(i => Enumerable.Range(0, D).Select(j => i == j ? 1.0 : 0).ToArray())];

    /// <summary>W of a linear map: what it makes of the unit vectors, of 0 taken off where it centres.</summary>
    private static Matrix<double> Weights(IAlignedSpace space, bool centred = false)
    {
        var w = Matrix(space.Source(From(Identity())));
        if (centred)
            w -= Matrix<double>.Build.DenseOfRows(Enumerable.Repeat(Matrix(space.Source(Tensor.Zeros([1, D], type: ElementType.Float64))).Row(0).ToArray(), D));
        return w;
    }

    private static Matrix<double> All() => Rows([.. Source, .. Target]);

    private static Matrix<double> Rows(double[][] rows) => Matrix<double>.Build.DenseOfRowArrays(rows);

    private static Matrix<double> Matrix(Tensor x) => Matrix<double>.Build.DenseOfRowMajor(x.Shape[0], x.Shape[1], x.To(ElementType.Float64).ToArray<double>());

    private static Matrix<double> Centred(Matrix<double> x) => x - Matrix<double>.Build.DenseOfRows(Enumerable.Repeat((x.ColumnSums() / x.RowCount).ToArray(), x.RowCount));

    private static void AssertIdentity(Matrix<double> x, double tolerance = 1e-9) => AssertSame(Matrix<double>.Build.DenseIdentity(x.RowCount), x, tolerance);

    private static void AssertSame(Matrix<double> want, Matrix<double> got, double tolerance = 1e-9)
    {
        foreach (var (i, j, value) in want.EnumerateIndexed())
            AssertClose(value, got[i, j], tolerance);
    }

    private sealed class Heard : IProgress<ClassicalProgress>
    {
        public List<ClassicalProgress> Steps { get; } = [];

        public void Report(ClassicalProgress value) => Steps.Add(value);
    }
}
