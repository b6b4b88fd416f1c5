using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Losses of moments, norms, spectra and predictions, against formulas in plain doubles.</summary>
public class FeatureStatisticTests
{
    [Fact]
    public void Central_moments_equal_their_formula()
    {
        double[][] s = Rows(7, 3, 1, 0), t = Rows(5, 3, 2, 0.3);
        double[] Moment(double[][] x, int k) => [.. Enumerable.Range(0, 3).Select(j => x.Average(row => Math.Pow(row[j] - (k == 1 ? 0 : x.Average(r => r[j])), k)))];
        double want = Enumerable.Range(1, 5).Sum(k => Math.Sqrt(Distance(Moment(s, k), Moment(t, k))) / Math.Pow(2, k));
        var cmd = new CentralMomentDiscrepancy(low: -1);
        AssertClose(want, cmd.Forward(From(s), From(t)).Item());
        CheckGradient(cmd.Forward, m: 4);
        Assert.True(cmd.Forward(From(s), From([.. s.Reverse()])).Item() < 1e-14);
    }

    [Theory, InlineData(1, false), InlineData(2, false), InlineData(3, false), InlineData(2, true), InlineData(3, true), InlineData(4, true)]
    public void Higher_order_moments_equal_the_distance_of_the_tensors(int order, bool ofAuthors)
    {
        const int D = 3;
        double[][] s = Rows(7, D, 1, 0), t = Rows(5, D, 2, 0.3);
        static double[][] Centred(double[][] x) => [.. x.Select(row => row.Select((value, j) => value - x.Average(r => r[j])).ToArray())];
        var homm = ofAuthors ? HigherOrderMomentMatching.Authors(order) : new HigherOrderMomentMatching(order);
        double got = homm.Forward(From(s), From(t)).Item();
        if (ofAuthors)
            (s, t) = (Centred(s), Centred(t));
        double want = 0;
        for (int place = 0; place < Math.Pow(D, order); place++)
        {
            double Moment(double[] row) => Enumerable.Range(0, order).Aggregate(1.0, (product, k) => product * row[place / (int)Math.Pow(D, k) % D]);
            want += Math.Pow(s.Average(Moment) - t.Average(Moment), 2);
        }
        AssertClose(want / Math.Pow(D, order), got);
        CheckGradient(homm.Forward, m: 4);
    }

    [Fact]
    public void Tllibs_and_domain_beds_coral_see_means_and_are_four_times_the_papers()
    {
        double[][] s = Rows(7, 3, 1, 0), t = Rows(5, 3, 2, 0.3);
        double means = Enumerable.Range(0, 3).Average(j => Math.Pow(s.Average(row => row[j]) - t.Average(row => row[j]), 2));
        double want = means + 4 * new DeepCoral().Forward(From(s), From(t)).Item();
        AssertClose(want, DeepCoral.Tllib().Forward(From(s), From(t)).Item());
        AssertClose(want, DeepCoral.DomainBed().Forward(From(s), From(t)).Item());
        CheckGradient(DeepCoral.Tllib().Forward, m: 4);
    }

    [Fact]
    public void Log_euclidean_coral_equals_its_formula_in_two_dimensions()
    {
        double[][] s = Rows(7, 2, 1, 0), t = Rows(5, 2, 2, 0.3);
        double[,] a = Logarithm(s), b = Logarithm(t);
        double want = a.Cast<double>().Zip(b.Cast<double>(), (x, y) => (x - y) * (x - y)).Sum() / 16;
        AssertClose(want, new LogEuclideanCoral(0.01).Forward(From(s), From(t)).Item());

        // Of a matrix [[p, q], [q, r]] with eigenvalues h ± w: log = m I + k (C - h I), by interpolation of the logarithm at both.
        static double[,] Logarithm(double[][] x)
        {
            double Covariance(int i, int j) => x.Sum(row => (row[i] - x.Average(r => r[i])) * (row[j] - x.Average(r => r[j]))) / (x.Length - 1) + (i == j ? 0.01 : 0);
            double p = Covariance(0, 0), q = Covariance(0, 1), r = Covariance(1, 1), h = (p + r) / 2, w = Math.Sqrt((p - r) * (p - r) / 4 + q * q);
            double k = (Math.Log(h + w) - Math.Log(h - w)) / (2 * w), m = (Math.Log(h + w) + Math.Log(h - w)) / 2;
            return new[,] { { m + k * (p - h), k * q }, { k * q, m + k * (r - h) } };
        }
    }

    [Fact]
    public void Log_euclidean_coral_is_differentiable_blind_to_means_and_to_a_common_rotation()
    {
        CheckGradient(new LogEuclideanCoral(0.1).Forward, m: 4);
        double[][] s = Rows(7, 2, 1, 0), t = Rows(5, 2, 2, 0.3);
        var coral = new LogEuclideanCoral();
        double[][] Turn(double[][] x, double shift) => [.. x.Select(row => new[] { 0.6 * row[0] - 0.8 * row[1] + shift, 0.8 * row[0] + 0.6 * row[1] })];
        AssertClose(coral.Forward(From(s), From(t)).Item(), coral.Forward(From(Turn(s, 5)), From(Turn(t, -2))).Item());
        // Equal variances, no correlation: eigenvalues that coincide, where the divided difference is a derivative.
        double[][] axes = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
        CheckGradient((x, y) => coral.Forward(x + (From(axes) - From(Rows(6, 3, 1, 0))).To(x.ElementType), y), m: 5);
    }

    [Theory, InlineData(2.5), InlineData(1)]
    public void Class_confusion_equals_its_formula(double temperature)
    {
        const int M = 6, C = 4;
        double[][] logits = [.. Rows(M, C, 1, 0).Select(row => row.Select(x => 3 * x).ToArray())], p = [.. logits.Select(row => Softmax(row, temperature))];
        double[] certainty = [.. p.Select(row => 1 + Math.Exp(row.Sum(x => x * Math.Log(x))))];
        double want = 0;
        for (int c = 0; c < C; c++)
        {
            double Confusion(int other) => Enumerable.Range(0, M).Sum(i => p[i][c] * certainty[i] * M / certainty.Sum() * p[i][other]);
            want += Enumerable.Range(0, C).Where(other => other != c).Sum(Confusion) / Enumerable.Range(0, C).Sum(Confusion) / C;
        }
        var mcc = new MinimumClassConfusion(temperature: temperature);
        AssertClose(want, mcc.Forward(From(logits)).Item());
        // skada's entropy has 1e-7 in its logarithm, tllib's 1e-5: less than 1e-5 of a difference.
        Assert.True(mcc.Forward(From([[50, 0, 0], [0, 50, 0], [0, 0, 50]])).Item() < 1e-6);
    }

    [Fact]
    public void Class_confusion_is_differentiable_with_its_weights_constant()
    {
        // Rows of one entropy have one weight, whatever it is, so the differences see no weights: here all rows permute the same numbers.
        var x = From([[1, 0.2, -0.5], [0.2, -0.5, 1], [-0.5, 1, 0.2]]);
        x.RequiresGrad = true;
        var mcc = new MinimumClassConfusion();
        var gradient = Tensor.Gradients(mcc.Forward(x), [x])[0].ToArray<double>();
        var p = x.Detach() / 2.5;
        p.RequiresGrad = true;
        var shares = p.Softmax();
        var confusion = shares.Transpose().MatMul(shares);
        var plain = 1 - ((confusion * Tensor.Eye(3, type: ElementType.Float64)).Sum([1]) / confusion.Sum([1])).Mean();
        var want = Tensor.Gradients(plain, [p])[0].ToArray<double>();
        for (int i = 0; i < 9; i++)
            AssertClose(want[i] / 2.5, gradient[i]);
    }

    [Theory, InlineData(2, 3), InlineData(5, 2)]
    public void Nuclear_norm_equals_its_formula(int rows, int classes)
    {
        double[][] logits = Rows(rows, classes, 1, 0), p = [.. logits.Select(row => Softmax(row))];
        // Two singular values: their sum is the root of (trace of the Gram matrix + 2 root of its determinant).
        double[][] vectors = rows == 2 ? p : [.. Enumerable.Range(0, 2).Select(c => p.Select(row => row[c]).ToArray())];
        double Dot(int i, int j) => vectors[i].Zip(vectors[j], (a, b) => a * b).Sum();
        double want = Math.Sqrt(Dot(0, 0) + Dot(1, 1) + 2 * Math.Sqrt(Dot(0, 0) * Dot(1, 1) - Dot(0, 1) * Dot(0, 1)));
        AssertClose(-want / rows, new BatchNuclearNorm().Forward(From(logits)).Item());
        AssertClose(-want / 2, BatchNuclearNorm.DeepDa().Forward(From(logits)).Item());
    }

    [Fact]
    public void Losses_of_predictions_are_differentiable()
    {
        CheckGradient((s, t) => new BatchNuclearNorm().Forward(t) + new BatchNuclearNorm().Forward(s), m: 2);
        CheckGradient((s, t) => EntropyMinimization.Forward(s) + 2 * EntropyMinimization.Forward(t), m: 4);
    }

    [Fact]
    public void Entropy_equals_its_formula()
    {
        var logits = Rows(4, 3, 1, 0);
        AssertClose(-logits.Average(row => Softmax(row).Sum(p => p * Math.Log(p))), EntropyMinimization.Forward(From(logits)).Item());
        AssertClose(Math.Log(5), EntropyMinimization.Forward(Tensor.Zeros([3, 5], type: ElementType.Float64)).Item());
    }

    [Fact]
    public void Feature_norms_equal_their_formulas()
    {
        double[][] s = Rows(6, 3, 1, 0), t = Rows(4, 3, 2, 0.4);
        double Mean(double[][] x) => x.Average(row => Math.Sqrt(row.Sum(v => v * v)));
        AssertClose(Math.Pow(Mean(s) - 25, 2) + Math.Pow(Mean(t) - 25, 2), AdaptiveFeatureNorm.Hard().Forward(From(s), From(t)).Item());
        CheckGradient(AdaptiveFeatureNorm.Hard(radius: 2).Forward, m: 4);
        AssertClose(0.25, new AdaptiveFeatureNorm(step: 0.5).Forward(From(s), From(t)).Item());
        AssertClose(2, AdaptiveFeatureNorm.Tllib().Forward(From(s), From(t)).Item());
        foreach (var (afn, sourceRows, targetRows) in new[] { (new AdaptiveFeatureNorm(step: 0.5), 20.0, 20.0), (AdaptiveFeatureNorm.Tllib(step: 0.5), 12, 8) })
        {
            Tensor x = From(s), y = From(t);
            (x.RequiresGrad, y.RequiresGrad) = (true, true);
            var gradients = Tensor.Gradients(afn.Forward(x, y), [x, y]);
            for (int i = 0; i < 18; i++)
                AssertClose(-s[i / 3][i % 3] / Math.Sqrt(s[i / 3].Sum(v => v * v)) * 2 / sourceRows, gradients[0].ToArray<double>()[i]);
            for (int i = 0; i < 12; i++)
                AssertClose(-t[i / 3][i % 3] / Math.Sqrt(t[i / 3].Sum(v => v * v)) * 2 / targetRows, gradients[1].ToArray<double>()[i]);
        }
    }

    [Fact]
    public void Spectral_penalty_is_the_largest_squares_of_singular_values()
    {
        // The columns are orthogonal, so their lengths are the singular values.
        double[][] s = [[3, 0], [0, 1], [0, 2]], t = [[1, 1], [-1, 1], [1, 1], [-1, 1], [0, 0]];
        AssertClose(9 + 4, new BatchSpectralPenalization().Forward(From(s), From(t)).Item());
        AssertClose(9 + 5 + 4 + 4, new BatchSpectralPenalization(count: 2).Forward(From(s), From(t)).Item());
        CheckGradient(new BatchSpectralPenalization().Forward, m: 2);
        CheckGradient(new BatchSpectralPenalization(count: 2).Forward, m: 4);
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Contains("wanted 2", Assert.Throws<ShapeException>(() => new MinimumClassConfusion().Forward(Tensor.Zeros([3]))).Message);
        Assert.Contains("no row", Assert.Throws<ShapeException>(() => new BatchNuclearNorm().Forward(Tensor.Zeros([0, 3]))).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new MinimumClassConfusion(temperature: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CentralMomentDiscrepancy(low: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new LogEuclideanCoral(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => AdaptiveFeatureNorm.Hard(radius: -1));
    }
}
