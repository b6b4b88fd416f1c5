using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation.Classical;

/// <summary>GFK against its integral, subspace alignment, and CORAL's covariances.</summary>
public class SubspaceTests
{
    private const int D = 6;

    [Theory, InlineData(0.4, 1.1), InlineData(0.0, 1.5), InlineData(1e-6, 0.7), InlineData(Math.PI / 2, 0.3)]
    public void The_flow_kernel_is_the_integral_along_the_geodesic(double first, double second)
    {
        // Principal angles by construction: the source's plane is e0, e1; the target's leans towards e2 and e3. Then everything is turned.
        double[][] turn = Orthogonal(D);
        double[][] Flow(double t) => [Turned(Direction(0, 2, t * first), turn), Turned(Direction(1, 3, t * second), turn)];
        var data = new DomainFeatures(From(Spread(Flow(0), 1)), Tensor.From(new int[20]), From(Spread(Flow(1), 2)));
        var space = new GeodesicFlowKernel(2).Fit(data);
        double[][] rows = Rows(7, D, 3, 0.2);
        double[] mapped = space.Source(From(rows)).ToArray<double>();
        for (int i = 0; i < 7; i++)
        {
            for (int j = 0; j < 7; j++)
            {
                // Simpson's rule.
                const int Steps = 400;
                double want = Enumerable.Range(0, Steps + 1).Sum(step => (step is 0 or Steps ? 1 : step % 2 == 1 ? 4 : 2) * Flow((double)step / Steps).Sum(axis => Dot(axis, rows[i]) * Dot(axis, rows[j]))) / (3 * Steps);
                AssertClose(want, Enumerable.Range(0, 4).Sum(k => mapped[i * 4 + k] * mapped[j * 4 + k]), 1e-8);
            }
        }
        Assert.Equal(mapped, space.Target(From(rows)).ToArray<double>());
    }

    [Fact]
    public void Of_equal_domains_the_flow_stays_and_alignment_is_the_projection()
    {
        double[][] rows = Rows(30, D, 1, 0), moved = [.. rows.Select(row => row.Select(x => x + 3).ToArray())];
        var data = new DomainFeatures(From(rows), Tensor.From(new int[30]), From(moved));
        var alignment = new SubspaceAlignment(3).Fit(data);
        AssertSame(alignment.Target(From(moved)), alignment.Source(From(rows)));
        var flow = new GeodesicFlowKernel(3).Fit(data);
        // x G y is then the inner product of the projections.
        double[] projected = new PrincipalComponents(3).Fit(new(From(rows), Tensor.From(new int[30]), From(rows))).Source(From(rows)).ToArray<double>();
        double[] mapped = (flow.Source(From(rows)) - flow.Source(From([[.. Enumerable.Range(0, D).Select(j => rows.Average(row => row[j]))]]))).ToArray<double>();
        for (int i = 0; i < 30; i++)
            AssertClose(Enumerable.Range(0, 3).Sum(k => projected[i * 3 + k] * projected[k]), Enumerable.Range(0, 6).Sum(k => mapped[i * 6 + k] * mapped[k]), 1e-9);
    }

    [Fact]
    public void Alignment_turns_the_source_directions_onto_the_target_s()
    {
        // The domains differ by a turn alone: aligned, the source's rows lie along the target's axes, shortened by the cosine of each angle.
        double[][] turn = Orthogonal(D);
        double[][] source = [.. Rows(40, D, 4, 0).Select(row => row.Select((x, j) => x * (D - j)).ToArray())], target = [.. source.Select(row => Turned(row, turn))];
        var data = new DomainFeatures(From(source), Tensor.From(new int[40]), From(target));
        var space = new SubspaceAlignment(D).Fit(data);
        // With all directions nothing is lost: P_S P_Sᵀ P_T = P_T, so both domains are seen in the target's axes.
        double[] means = [.. Enumerable.Range(0, D).Select(j => source.Average(row => row[j]))];
        double[][] centred = [.. source.Select(row => row.Zip(means, (x, mean) => x - mean).ToArray())];
        double[] aligned = space.Source(From(source)).ToArray<double>();
        for (int i = 0; i < 40; i++)
            AssertClose(Dot(centred[i], centred[i]), Enumerable.Range(0, D).Sum(k => aligned[i * D + k] * aligned[i * D + k]), 1e-9);
        Assert.All(space.Target(From(target)).Mean([0]).ToArray<double>(), mean => AssertClose(0, mean));
    }

    [Fact]
    public void Aligned_correlations_are_the_target_s()
    {
        double[][] source = Rows(50, D, 1, 0.3), target = [.. Rows(40, D, 2, -0.5).Select(row => row.Select((x, j) => x * (j + 1) + row[0]).ToArray())];
        var data = new DomainFeatures(From(source), Tensor.From(new int[50]), From(target));
        foreach (double ridge in new[] { 1e-10, 1 })
        {
            var space = new CorrelationAlignment(ridge).Fit(data);
            double[,] got = Covariance(space.Source(From(source))), want = Covariance(From(target));
            for (int i = 0; i < D; i++)
            {
                AssertClose(target.Average(row => row[i]), space.Source(From(source)).Mean([0]).ToArray<double>()[i], 1e-10);
                for (int j = 0; j < D && ridge < 1; j++)
                    AssertClose(want[i, j], got[i, j], 1e-7);
            }
            AssertSame(From(target), space.Target(From(target)));
        }
        // With λ, it is (C_S + λI)^-½ (C_T + λI)^½: with itself, nothing.
        AssertSame(From(source), new CorrelationAlignment(1).Fit(new(From(source), Tensor.From(new int[50]), From(source))).Source(From(source)));
    }

    [Fact]
    public void Scaling_gives_frequencies_unit_lengths_and_scores()
    {
        var x = Tensor.From([1.0, 3, 0, 0, 2, 2], [3, 2]);
        Assert.Equal([0.25, 0.75, 0, 0, 0.5, 0.5], FeatureScaling.RowFrequencies(x).ToArray<double>());
        Assert.Equal([1 / Math.Sqrt(10), 3 / Math.Sqrt(10), 0, 0, 1 / Math.Sqrt(2), 1 / Math.Sqrt(2)], FeatureScaling.UnitRows(x).ToArray<double>(), (a, b) => Math.Abs(a - b) < 1e-12);
        double[] scores = FeatureScaling.Standardize(Tensor.From([1.0, 7, 2, 7, 3, 7], [3, 2])).ToArray<double>();
        Assert.Equal([-1, 0, 0, 0, 1, 0], scores, (a, b) => Math.Abs(a - b) < 1e-12);
        Assert.Throws<ShapeException>(() => FeatureScaling.Standardize(Tensor.Ones([1, 2])));
        Assert.Throws<ElementTypeException>(() => FeatureScaling.UnitRows(Tensor.From([1, 2], [1, 2])));
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        var data = new DomainFeatures(From(Rows(9, D, 1, 0)), Tensor.From(new int[9]), From(Rows(8, D, 2, 0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GeodesicFlowKernel(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SubspaceAlignment(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CorrelationAlignment(0));
        Assert.Contains("at most 3", Assert.Throws<ShapeException>(() => new GeodesicFlowKernel(4).Fit(data)).Message);
        Assert.Throws<ShapeException>(() => new SubspaceAlignment(7).Fit(data));
        Assert.Throws<ShapeException>(() => new CorrelationAlignment().Fit(new(From(Rows(1, D, 1, 0)), Tensor.From([0]), From(Rows(8, D, 2, 0)))));
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double[] Direction(int from, int towards, double angle)
    {
        var axis = new double[D];
        (axis[from], axis[towards]) = (Math.Cos(angle), Math.Sin(angle));
        return axis;
    }

    private static double[] Turned(double[] x, double[][] turn) => [.. turn.Select(row => Dot(row, x))];

    /// <summary>Twenty rows in the plane of two directions, spread about 0, more along the first.</summary>
    private static double[][] Spread(double[][] axes, int seed)
    {
        double[][] half = [.. Rows(10, 2, seed, 0).Select(at => axes[0].Zip(axes[1], (a, b) => 3 * at[0] * a + at[1] * b).ToArray())];
        return [.. half, .. half.Select(row => row.Select(x => -x).ToArray())];
    }

    /// <summary>Rows of random numbers, made orthonormal by Gram and Schmidt.</summary>
    private static double[][] Orthogonal(int d)
    {
        double[][] rows = Rows(d, d, 9, 0);
        for (int i = 0; i < d; i++)
        {
            for (int k = 0; k < i; k++)
            {
                double along = Dot(rows[i], rows[k]);
                rows[i] = [.. rows[i].Zip(rows[k], (x, y) => x - along * y)];
            }
            double length = Math.Sqrt(Dot(rows[i], rows[i]));
            rows[i] = [.. rows[i].Select(x => x / length)];
        }
        return rows;
    }

    private static double[,] Covariance(Tensor x)
    {
        double[] values = x.ToArray<double>();
        int n = x.Shape[0], d = x.Shape[1];
        double[] means = [.. Enumerable.Range(0, d).Select(j => Enumerable.Range(0, n).Average(i => values[i * d + j]))];
        var result = new double[d, d];
        for (int a = 0; a < d; a++)
        {
            for (int b = 0; b < d; b++)
                result[a, b] = Enumerable.Range(0, n).Sum(i => (values[i * d + a] - means[a]) * (values[i * d + b] - means[b])) / (n - 1);
        }
        return result;
    }

    private static void AssertSame(Tensor want, Tensor got)
    {
        foreach (var (a, b) in want.ToArray<double>().Zip(got.ToArray<double>()))
            AssertClose(a, b, 1e-9);
    }
}
