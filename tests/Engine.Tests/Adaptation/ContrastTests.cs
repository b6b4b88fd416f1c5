using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Losses that compare rows of one class with those of others, against loops in plain doubles.</summary>
public class ContrastTests
{
    private const int Classes = 4;
    private static readonly int[] Source = [0, 1, 1, 2, 0, 2, 1, 3], Target = [1, 0, 2, -1, 1, 2, 0];

    [Fact]
    public void Contrastive_domain_discrepancy_equals_its_formula()
    {
        double[][] s = Rows(8, 3, 1, 0), t = Rows(7, 3, 2, 0.4);
        double K(double[] x, double[] y) => Math.Exp(-Distance(x, y) / 1.3);
        double Mean(double[][] a, double[][] b) => a.Average(x => b.Average(y => K(x, y)));
        double[][] Of(double[][] rows, int[] labels, int c) => [.. rows.Where((_, i) => labels[i] == c)];
        double D(int c, int d)
        {
            double[][] a = Of(s, Source, c), b = Of(t, Target, d);
            return Mean(a, a) + Mean(b, b) - 2 * Mean(a, b);
        }
        int[] both = [0, 1, 2]; // class 3 has no row of the target
        double want = both.Average(c => D(c, c)) - both.SelectMany(c => both.Where(d => d != c).Select(d => D(c, d))).Average();
        var cdd = new ContrastiveDomainDiscrepancy(new GaussianKernel([1], bandwidth: 1.3));
        AssertClose(want, cdd.Forward(From(s), Tensor.From(Source), From(t), Tensor.From(Target), Classes).Item());
        // With one class in common there is no pair of two.
        int[] one = [3, -1, -1, -1, -1, -1, -1];
        double[][] own = Of(s, Source, 3), theirs = [t[0]];
        AssertClose(2 - 2 * Mean(own, theirs), cdd.Forward(From(s), Tensor.From(Source), From(t), Tensor.From(one), Classes).Item());
        Assert.Equal(0, cdd.Forward(From(s), Tensor.From(Source), From(t), Tensor.From([-1, -1, -1, -1, -1, -1, -1]), Classes).Item());
    }

    [Fact]
    public void Contrastive_domain_discrepancy_is_differentiable_and_falls_below_zero_where_classes_agree()
    {
        var kernel = new GaussianKernel([0.5, 2], bandwidth: 1);
        var labels = Tensor.From([0, 1, 1, 2, 0, 2]);
        CheckGradient((s, t) => new ContrastiveDomainDiscrepancy(kernel).Forward(s, labels, t, Tensor.From([0, 2, 1, 1]), 3), m: 4);
        var rows = From(Rows(6, 3, 1, 0));
        Assert.True(new ContrastiveDomainDiscrepancy(kernel).Forward(rows, labels, rows, labels, 3).Item() < -0.01);
    }

    [Fact]
    public void Skadas_discrepancy_equals_its_loops()
    {
        int[] ys = [0, 1, 1, 2, 0, 2, 1, 0], yt = [1, 0, 2, -1, 1, 1, 0, 0, 2];
        double[][] s = Rows(8, 3, 1, 0), t = Rows(9, 3, 2, 0.4);
        double median = Median(s.SelectMany(x => s.Select(y => Math.Sqrt(Distance(x, y))))) + 1e-7;
        double K(double[] x, double[] y) => Enumerable.Range(0, 33).Sum(k => Math.Exp(-Math.Sqrt(Distance(x, y)) / (median * Math.Pow(2, -8 + k / 2.0))));
        bool[] valid = [.. Enumerable.Range(0, 3).Select(c => yt.Count(y => y == c) >= 3)]; // class 2 has two rows only
        (double[] Row, int Label)[] kept = [.. t.Zip(yt).Where(pair => pair.Second >= 0 && valid[pair.Second])];
        double within = 0, between = 0;
        for (int c = 0; c < 3; c++)
        {
            for (int d = c; d < 3; d++)
            {
                if (!valid[c] || !valid[d])
                    continue;
                double n = ys.Count(y => y == c), m = kept.Count(row => row.Label == d);
                double own = s.Sum(x => s.Where((_, j) => ys[j] == c).Sum(y => K(x, y))) / (n * n);
                double theirs = kept.Sum(x => kept.Where(row => row.Label == d).Sum(y => K(x.Row, y.Row))) / (m * m);
                double across = s.Where((_, i) => ys[i] == c).Sum(x => kept.Where(row => row.Label == d).Sum(y => K(x, y.Row))) / (n * m * n * m);
                if (c == d)
                    within += own + theirs - 2 * across;
                else
                    between += own + theirs - 2 * across;
            }
        }
        AssertClose(within / 3 - between / 6, ContrastiveDomainDiscrepancy.Skada().Forward(From(s), Tensor.From(ys), From(t), Tensor.From(yt), 3).Item(), 1e-5);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Contrast_equals_its_formula_and_its_gradient_central_differences(bool within)
    {
        double[][] s = Rows(8, 3, 1, 0), t = Rows(7, 3, 2, 0.4);
        (double[] Z, int Label, bool IsSource)[] rows =
            [.. s.Zip(Source, (x, y) => (Unit(x), y, true)), .. t.Zip(Target, (x, y) => (Unit(x), y, false)).Where(row => row.y >= 0)];
        var losses = new List<double>();
        for (int i = 0; i < rows.Length; i++)
        {
            int[] others = [.. Enumerable.Range(0, rows.Length).Where(j => within ? j != i : rows[j].IsSource != rows[i].IsSource)];
            double E(int j) => Math.Exp(rows[i].Z.Zip(rows[j].Z, (a, b) => a * b).Sum() / 0.5);
            int[] positives = [.. others.Where(j => rows[j].Label == rows[i].Label)];
            if (positives.Length > 0)
                losses.Add(-positives.Average(p => Math.Log(E(p) / others.Sum(E))));
        }
        var contrast = new CrossDomainContrast(0.5, within);
        AssertClose(losses.Average(), contrast.Forward(From(s), Tensor.From(Source), From(t), Tensor.From(Target), Classes).Item(), 1e-10);
        CheckGradient((x, y) => contrast.Forward(x, Tensor.From([0, 1, 1, 2, 0, 2]), y, Tensor.From([0, 2, -1, 1]), 3), m: 4);
        Assert.Equal(0, new CrossDomainContrast().Forward(From(s), Tensor.From(Source), From(t), Tensor.From([-1, -1, -1, -1, -1, -1, -1]), Classes).Item());
    }

    [Fact]
    public void Spherical_clusters_settle_on_directions_whatever_the_lengths()
    {
        var random = new Random(1);
        // Three directions, lengths over two orders of magnitude; the given centres are off by up to 50 degrees.
        double[] angles = [0, 2, 4];
        double[][] rows = [.. Enumerable.Range(0, 60).Select(i =>
        {
            double length = Math.Pow(10, 2 * random.NextDouble()), angle = angles[i % 3] + 0.4 * (random.NextDouble() - 0.5);
            return new[] { length * Math.Cos(angle), length * Math.Sin(angle) };
        })];
        double[][] start = [.. angles.Select(angle => new[] { Math.Cos(angle + 0.9), Math.Sin(angle + 0.9) }), [0, 0]];
        var centres = SphericalClusters.Fit(From(rows), From(start));
        var (classes, distances) = SphericalClusters.Nearest(From(rows), centres);
        Assert.Equal(Enumerable.Range(0, 60).Select(i => i % 3), classes.ToArray<int>());
        for (int c = 0; c < 3; c++)
        {
            double[] sum = [.. Enumerable.Range(0, 2).Select(j => rows.Where((_, i) => i % 3 == c).Sum(row => Unit(row)[j]))];
            double[] got = centres.Select(0, c).ToArray<double>();
            AssertClose(Unit(sum)[0], got[0]);
            AssertClose(Unit(sum)[1], got[1]);
            AssertClose((1 - Unit(rows[c]).Zip(got, (a, b) => a * b).Sum()) / 2, distances.ToArray<double>()[c], 1e-9);
        }
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Tensor rows = Tensor.Zeros([3, 2]), labels = Tensor.From([0, 1, 1]);
        Assert.Contains("wanted [3]", Assert.Throws<ShapeException>(() => new ContrastiveDomainDiscrepancy().Forward(rows, labels, rows, Tensor.From([0, 1]), 2)).Message);
        Assert.Throws<ElementTypeException>(() => new CrossDomainContrast().Forward(rows, labels, rows, Tensor.Zeros([3]), 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CrossDomainContrast(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => ContrastiveDomainDiscrepancy.Skada(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ContrastiveAdaptation(distanceThreshold: 0));
    }

    private static double[] Unit(double[] x) => [.. x.Select(value => value / Math.Sqrt(x.Sum(v => v * v)))];
}
