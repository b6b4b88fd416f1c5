using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Each discrepancy against its formula in plain doubles, its gradient against central differences, and what the mathematics promises.</summary>
public class DiscrepancyTests
{
    private static readonly double[] Factors = [0.25, 0.5, 1, 2, 4];

    public static TheoryData<int, int, int> Sizes => new() { { 5, 7, 3 }, { 2, 2, 1 }, { 33, 20, 17 }, { 4, 4, 65 } };

    [Theory, MemberData(nameof(Sizes))]
    public void Mmd_equals_its_formula(int n, int m, int d)
    {
        var (s, t) = (Rows(n, d, 1, 0), Rows(m, d, 2, 0.4));
        foreach (double? bandwidth in new double?[] { null, 1.7 })
        {
            AssertClose(Mmd(s, t, bandwidth, unbiased: false), Value(new(bandwidth: bandwidth), s, t));
            AssertClose(Mmd(s, t, bandwidth, unbiased: true), Value(new(estimator: MmdEstimator.Unbiased, bandwidth: bandwidth), s, t));
        }
    }

    [Fact]
    public void Linear_mmd_equals_its_formula()
    {
        var (s, t) = (Rows(9, 3, 1, 0), Rows(9, 3, 2, 0.4));
        double sum = 0;
        for (int i = 0; i < 4; i++)
        {
            double K(double[] a, double[] b) => Kernel(Distance(a, b), 1.3);
            sum += K(s[2 * i], s[2 * i + 1]) + K(t[2 * i], t[2 * i + 1]) - K(s[2 * i], t[2 * i + 1]) - K(s[2 * i + 1], t[2 * i]);
        }
        AssertClose(sum / 4, Value(new(estimator: MmdEstimator.Linear, bandwidth: 1.3), s, t));
    }

    [Fact]
    public void Biased_mmd_of_the_same_sample_is_zero_and_never_negative()
    {
        var s = Rows(12, 4, 1, 0);
        Assert.True(Math.Abs(Value(new(), s, s)) < 1e-14);
        for (int seed = 0; seed < 20; seed++)
            Assert.True(Value(new(), Rows(6, 3, seed, 0), Rows(5, 3, seed + 100, 0)) >= -1e-14);
    }

    [Fact]
    public void Unbiased_mmd_of_one_distribution_is_zero_on_average()
    {
        double[] values = [.. Enumerable.Range(0, 200).Select(seed => Value(new(estimator: MmdEstimator.Unbiased, bandwidth: 2), Rows(8, 2, 2 * seed, 0), Rows(8, 2, 2 * seed + 1, 0)))];
        double error = Math.Sqrt(values.Sum(v => v * v)) / values.Length;
        Assert.True(Math.Abs(values.Average()) < 4 * error, $"mean {values.Average()}, standard error {error}");
    }

    [Theory, InlineData(MmdEstimator.Biased), InlineData(MmdEstimator.Unbiased), InlineData(MmdEstimator.Linear)]
    public void Mmd_gradients_equal_central_differences(MmdEstimator estimator) =>
        CheckGradient((s, t) => new MaximumMeanDiscrepancy(estimator: estimator, bandwidth: 1.5).Forward(s, t));

    [Fact]
    public void Coral_equals_its_formula_and_its_gradient_central_differences()
    {
        var (s, t) = (Rows(6, 4, 1, 0), Rows(9, 4, 2, 0.3));
        double[,] a = Covariance(s), b = Covariance(t);
        double sum = 0;
        for (int i = 0; i < 4; i++)
        {
            for (int j = 0; j < 4; j++)
                sum += (a[i, j] - b[i, j]) * (a[i, j] - b[i, j]);
        }
        AssertClose(sum / (4 * 16), new DeepCoral().Forward(From(s), From(t)).Item());
        CheckGradient((x, y) => new DeepCoral().Forward(x, y));
    }

    [Fact]
    public void Coral_is_blind_to_shifts_of_the_mean()
    {
        var s = Rows(6, 4, 1, 0);
        var shifted = s.Select(row => row.Select((v, i) => v + 3 * i).ToArray()).ToArray();
        Assert.True(new DeepCoral().Forward(From(s), From(shifted)).Item() < 1e-24);
    }

    [Fact]
    public void Reversal_passes_values_on_and_gradients_back_negated()
    {
        var x = Tensor.From([1f, -2f]);
        x.RequiresGrad = true;
        var y = x.ReverseGradient(0.25);
        Assert.Equal([1f, -2f], y.ToArray<float>());
        (y * Tensor.From([2f, 4f])).Sum().Backward();
        Assert.Equal([-0.5f, -1f], x.Grad!.ToArray<float>());
        Assert.Equal(0, WeightSchedule.Ganin(0));
        Assert.Equal(0.9999092, WeightSchedule.Ganin(1), 6);
        Assert.Throws<ArgumentOutOfRangeException>(() => x.ReverseGradient(-1));
    }

    [Fact]
    public void Wrong_samples_are_named()
    {
        Assert.Contains("different numbers of features", Assert.Throws<ShapeException>(() => new DeepCoral().Forward(Tensor.Zeros([4, 3]), Tensor.Zeros([4, 2]))).Message);
        Assert.Contains("2 rows or more", Assert.Throws<ShapeException>(() => new DeepCoral().Forward(Tensor.Zeros([1, 3]), Tensor.Zeros([4, 3]))).Message);
        Assert.Contains("one size", Assert.Throws<ShapeException>(() => new MaximumMeanDiscrepancy(estimator: MmdEstimator.Linear).Forward(Tensor.Zeros([4, 3]), Tensor.Zeros([6, 3]))).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new MaximumMeanDiscrepancy([0]));
    }

    private static double Value(MaximumMeanDiscrepancy mmd, double[][] s, double[][] t) => mmd.Forward(From(s), From(t)).Item();

    private static double Mmd(double[][] s, double[][] t, double? bandwidth, bool unbiased)
    {
        double[][] all = [.. s, .. t];
        double total = all.Sum(a => all.Sum(b => Distance(a, b))), b0 = bandwidth ?? total / (all.Length * (all.Length - 1.0));
        return Samples.Mmd(s.Length, t.Length, (i, j) => Kernel(Distance(all[i], all[j]), b0), unbiased);
    }

    private static double Kernel(double distance, double bandwidth) => Factors.Average(factor => Math.Exp(-distance / (factor * bandwidth)));

    private static double[,] Covariance(double[][] x)
    {
        int d = x[0].Length;
        double[] mean = [.. Enumerable.Range(0, d).Select(i => x.Average(row => row[i]))];
        var c = new double[d, d];
        for (int i = 0; i < d; i++)
        {
            for (int j = 0; j < d; j++)
                c[i, j] = x.Sum(row => (row[i] - mean[i]) * (row[j] - mean[j])) / (x.Length - 1);
        }
        return c;
    }
}
