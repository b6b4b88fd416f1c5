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

    [Theory, InlineData(BandwidthRule.Mean), InlineData(BandwidthRule.MeanWithDiagonal), InlineData(BandwidthRule.Median), InlineData(BandwidthRule.SourceMedian)]
    public void Rows_that_count_nowhere_do_not_move_the_bandwidth(BandwidthRule rule)
    {
        // Row 7 is of a class that the target lacks, row 3 of the target of no class: far away, they would change any bandwidth.
        double[][] s = Rows(8, 3, 1, 0), t = Rows(7, 3, 2, 0.4);
        var cdd = new ContrastiveDomainDiscrepancy(new GaussianKernel([0.5, 2], rule: rule));
        double want = cdd.Forward(From(s[..7]), Tensor.From(Source[..7]), From([.. t[..3], .. t[4..]]), Tensor.From([.. Target[..3], .. Target[4..]]), Classes).Item();
        (s[7], t[3]) = ([100, -50, 7], [-80, 60, 9]);
        AssertClose(want, cdd.Forward(From(s), Tensor.From(Source), From(t), Tensor.From(Target), Classes).Item());
        // What is left agrees with the formula for the bandwidth of the rows that are there.
        var all = Rows(8, 3, 1, 0)[..7].Concat([.. t[..3], .. t[4..]]).ToArray();
        double[] apart = [.. all.SelectMany((x, i) => all.Where((_, j) => j < i).Select(y => Distance(x, y)))];
        double[] ofSource = [.. all[..7].SelectMany(x => all[..7].Select(y => Distance(x, y)))];
        double bandwidth = rule switch
        {
            BandwidthRule.Mean => apart.Average(),
            BandwidthRule.MeanWithDiagonal => 2 * apart.Sum() / (all.Length * all.Length),
            BandwidthRule.Median => Median(apart),
            _ => Median(ofSource),
        };
        AssertClose(new ContrastiveDomainDiscrepancy(new GaussianKernel([0.5, 2], bandwidth)).Forward(From(s), Tensor.From(Source), From(t), Tensor.From(Target), Classes).Item(), want);
    }

    [Fact]
    public void The_authors_discrepancy_equals_its_loops()
    {
        double[][] s = Rows(8, 3, 1, 0), t = Rows(7, 3, 2, 0.4);
        double want = OfAuthors(s, Source, t, Target, Classes);
        AssertClose(want, ContrastiveDomainDiscrepancy.Authors().Forward(From(s), Tensor.From(Source), From(t), Tensor.From(Target), Classes).Item());
        // The bandwidths are constant, so differences of the loops are taken with those of the unmoved rows.
        int[] ys = [0, 1, 1, 2, 0, 2], yt = [0, 2, 1, 1];
        (s, t) = (Rows(6, 3, 1, 0), Rows(4, 3, 2, 0.4));
        Tensor x = From(s), y = From(t);
        (x.RequiresGrad, y.RequiresGrad) = (true, true);
        double[][] gradients = [.. Tensor.Gradients(ContrastiveDomainDiscrepancy.Authors().Forward(x, Tensor.From(ys), y, Tensor.From(yt), 3), [x, y]).Select(g => g.ToArray<double>())];
        double[][] sStill = Rows(6, 3, 1, 0), tStill = Rows(4, 3, 2, 0.4);
        foreach (var (rows, gradient) in new[] { (s, gradients[0]), (t, gradients[1]) })
        {
            for (int k = 0; k < gradient.Length; k++)
            {
                double saved = rows[k / 3][k % 3];
                rows[k / 3][k % 3] = saved + 1e-6;
                double up = OfAuthors(s, ys, t, yt, 3, sStill, tStill);
                rows[k / 3][k % 3] = saved - 1e-6;
                AssertClose((up - OfAuthors(s, ys, t, yt, 3, sStill, tStill)) / 2e-6, gradient[k], 1e-7);
                rows[k / 3][k % 3] = saved;
            }
        }
        Assert.Equal(0, ContrastiveDomainDiscrepancy.Authors().Forward(From(s), Tensor.From(ys), From(t), Tensor.From([-1, -1, -1, -1]), 3).Item());
        // Rows that are all the same have no bandwidth, and their gradient is 0, not no number.
        var same = Tensor.Ones([4, 3], type: ElementType.Float32);
        same.RequiresGrad = true;
        var loss = ContrastiveDomainDiscrepancy.Authors().Forward(same, Tensor.From([0, 0, 1, 1]), same * 1, Tensor.From([0, 1, 1, -1]), 2);
        Assert.All(Tensor.Gradients(loss, [same])[0].ToArray<float>(), g => Assert.Equal(0, g, 4));
    }

    /// <summary>The authors' sums pair of classes by pair of classes; bandwidths from given rows.</summary>
    private static double OfAuthors(double[][] s, int[] ys, double[][] t, int[] yt, int classes, double[][]? sOfBandwidth = null, double[][]? tOfBandwidth = null)
    {
        double[][] Of(double[][] rows, int[] labels, int c) => [.. rows.Where((_, i) => labels[i] == c)];
        double total = 0;
        for (int c = 0; c < classes; c++)
        {
            for (int d = 0; d < classes; d++)
            {
                double[][] a = Of(s, ys, c), b = Of(t, yt, d);
                if (a.Length == 0 || b.Length == 0 || !yt.Contains(c) || !ys.Contains(d))
                    continue;
                double[][] both = [.. Of(sOfBandwidth ?? s, ys, c), .. Of(tOfBandwidth ?? t, yt, d)];
                double gamma = both.Sum(x => both.Sum(y => Distance(x, y))) / (both.Length * (both.Length - 1));
                double K(double[] x, double[] y) => Enumerable.Range(-2, 5).Sum(k => Math.Exp(-Distance(x, y) / (gamma * Math.Pow(2, k))));
                double Mean(double[][] p, double[][] q) => p.Average(x => q.Average(y => K(x, y)));
                double mmd = Mean(a, a) + Mean(b, b) - 2 * Mean(a, b);
                total += c == d ? mmd / classes : -mmd / (classes * (classes - 1));
            }
        }
        return total;
    }

    [Fact]
    public void Can_of_the_authors_adds_that_of_features_and_of_probabilities()
    {
        double[][] s = Rows(8, 3, 1, 0), t = Rows(7, 3, 2, 0.4), ls = Rows(8, Classes, 3, 0), lt = Rows(7, Classes, 4, 0);
        var step = new AdaptationStep(From(s), From(ls), Tensor.From(Source), From(t), From(lt), 0.5);
        // No networks are there, so that the batches are clustered; in the three directions every row has its class.
        var centres = SphericalClusters.Fit(From(t), SphericalClusters.Centres(From(s), Tensor.From(Source), Classes));
        int[] labels = SphericalClusters.Nearest(From(t), centres).Classes.ToArray<int>();
        double[][] Soft(double[][] logits) => [.. logits.Select(row => Softmax(row))];
        double features = OfAuthors(s, Source, t, labels, Classes), probabilities = OfAuthors(Soft(ls), Source, Soft(lt), labels, Classes);
        AssertClose(0.3 * (features + probabilities), ContrastiveAdaptation.Authors(distanceThreshold: 2, classThreshold: 0).Loss(step).Item());
        double paper = new ContrastiveDomainDiscrepancy().Forward(From(s), Tensor.From(Source), From(t), Tensor.From(labels), Classes).Item();
        AssertClose(0.3 * paper, new ContrastiveAdaptation(distanceThreshold: 2, classThreshold: 0).Loss(step).Item());
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
        Assert.Throws<ArgumentOutOfRangeException>(() => new ContrastiveAdaptation(outputs: NetworkOutputs.None));
    }

    private static double[] Unit(double[] x) => [.. x.Select(value => value / Math.Sqrt(x.Sum(v => v * v)))];
}
