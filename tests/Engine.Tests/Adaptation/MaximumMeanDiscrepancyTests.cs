using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>The MMD family: kernels, estimators, and what each library computes, against formulas in plain doubles.</summary>
public class MaximumMeanDiscrepancyTests
{
    /// <summary>Each kernel with its formula, told two rows.</summary>
    private static readonly Dictionary<string, (SampleKernel Kernel, Func<double[], double[], double> Formula)> Kernels = new()
    {
        ["gaussian"] = (new GaussianKernel([0.5, 3], bandwidth: 1.3), (x, y) => (Math.Exp(-Distance(x, y) / 0.65) + Math.Exp(-Distance(x, y) / 3.9)) / 2),
        ["weighted gaussians"] = (new GaussianKernel([1, 2, 3], bandwidth: 1, weights: [0.2, 0, 0.7]), (x, y) => 0.2 * Math.Exp(-Distance(x, y)) + 0.7 * Math.Exp(-Distance(x, y) / 3)),
        ["laplacian"] = (new LaplacianKernel([1, 4], bandwidth: 2.25), (x, y) => (Math.Exp(-Math.Sqrt(Distance(x, y)) / 1.5) + Math.Exp(-Math.Sqrt(Distance(x, y)) / 3)) / 2),
        ["rational quadratic"] = (new RationalQuadraticKernel([0.5, 2], bandwidth: 0.8), (x, y) => (Math.Pow(1 + Distance(x, y) / 0.8, -0.5) + Math.Pow(1 + Distance(x, y) / 3.2, -2)) / 2),
        ["energy"] = (new EnergyKernel(), (x, y) => -Math.Sqrt(Distance(x, y))),
        ["energy 1.5"] = (new EnergyKernel(1.5), (x, y) => -Math.Pow(Distance(x, y), 0.75)),
        ["polynomial"] = (new PolynomialKernel(), (x, y) => Math.Pow(x.Zip(y, (a, b) => a * b).Sum() / x.Length + 1, 3)),
        ["moments"] = (new PolynomialKernel(2, scale: 0.5, offset: 0), (x, y) => Math.Pow(x.Zip(y, (a, b) => a * b).Sum() / 2, 2)),
    };

    public static TheoryData<string> KernelNames => [.. Kernels.Keys];

    [Theory, MemberData(nameof(KernelNames))]
    public void Each_kernel_and_estimator_equals_its_formula(string name)
    {
        var (kernel, formula) = Kernels[name];
        double[][] s = Rows(7, 3, 1, 0), t = Rows(5, 3, 2, 0.4), all = [.. s, .. t];
        Assert.Equal(7 + 5, all.Length);
        AssertClose(Mmd(7, 5, (i, j) => formula(all[i], all[j]), unbiased: false), Value(new(kernel), s, t));
        AssertClose(Mmd(7, 5, (i, j) => formula(all[i], all[j]), unbiased: true), Value(new(kernel, MmdEstimator.Unbiased), s, t));
        var t7 = Rows(7, 3, 3, 0.4);
        double H(int i, int j) => formula(s[i], s[j]) + formula(t7[i], t7[j]) - formula(s[i], t7[j]) - formula(s[j], t7[i]);
        AssertClose(Enumerable.Range(0, 3).Average(i => H(2 * i, 2 * i + 1)), Value(new(kernel, MmdEstimator.Linear), s, t7));
        AssertClose(Enumerable.Range(0, 7).Average(i => H(i, (i + 1) % 7)), Value(new(kernel, MmdEstimator.Cyclic), s, t7));
    }

    [Theory, MemberData(nameof(KernelNames))]
    public void Gradients_equal_central_differences(string name)
    {
        CheckGradient((s, t) => new MaximumMeanDiscrepancy(Kernels[name].Kernel).Forward(s, t), m: 4);
        CheckGradient((s, t) => new MaximumMeanDiscrepancy(Kernels[name].Kernel, MmdEstimator.Unbiased).Forward(s, t), m: 4);
        CheckGradient((s, t) => new MaximumMeanDiscrepancy(Kernels[name].Kernel, MmdEstimator.Cyclic).Forward(s, t));
    }

    [Theory, MemberData(nameof(KernelNames))]
    public void The_same_sample_in_another_order_is_at_distance_zero_and_order_never_matters(string name)
    {
        double[][] s = Rows(9, 4, 1, 0), t = Rows(6, 4, 2, 0.4), turned = [.. s.Reverse()];
        var mmd = new MaximumMeanDiscrepancy(Kernels[name].Kernel);
        Assert.True(Math.Abs(Value(mmd, s, turned)) < 1e-14);
        AssertClose(Value(mmd, s, t), Value(mmd, turned, t), 1e-13);
        AssertClose(Value(mmd, s, t), Value(mmd, t, s), 1e-13);
        Assert.True(Value(mmd, s, t) > 1e-3);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Tllibs_variant_equals_what_tllib_computes(bool linear)
    {
        const int B = 6;
        double[][] s = Rows(B, 4, 1, 0), t = Rows(B, 4, 2, 0.4), all = [.. s, .. t];
        double mean = all.Average(x => all.Average(y => Distance(x, y)));
        double K(int i, int j) => new[] { -3, -2, -1, 0, 1 }.Sum(k => Math.Exp(-Distance(all[i], all[j]) / (2 * Math.Pow(2, k) * mean)));
        double want = 2.0 / (B - 1);
        for (int i = 0; i < B; i++)
        {
            int next = (i + 1) % B;
            if (linear)
                want += (K(i, next) + K(B + i, B + next) - K(i, B + next) - K(next, B + i)) / B;
            for (int j = 0; !linear && j < B; j++)
                want += (i == j ? 0 : (K(i, j) + K(B + i, B + j)) / (B * (B - 1))) - 2 * K(i, B + j) / (B * B);
        }
        AssertClose(want, Value(MaximumMeanDiscrepancy.Tllib(linear), s, t));
    }

    [Fact]
    public void Deep_das_variant_equals_what_it_computes()
    {
        double[][] s = Rows(6, 4, 1, 0), t = Rows(8, 4, 2, 0.4), all = [.. s, .. t];
        double bandwidth = all.Sum(x => all.Sum(y => Distance(x, y))) / (14 * 14 - 14) / 4;
        double K(int i, int j) => Enumerable.Range(0, 5).Sum(k => Math.Exp(-Distance(all[i], all[j]) / (bandwidth * Math.Pow(2, k))));
        AssertClose(Mmd(6, 8, K, unbiased: false), Value(MaximumMeanDiscrepancy.DeepDa(), s, t));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Pytorch_adapts_variant_equals_what_it_computes(bool linear)
    {
        double[][] s = Rows(7, 4, 1, 0), t = Rows(7, 4, 2, 0.4), all = [.. s, .. t];
        double median = Median(s.SelectMany(x => s.Select(y => Distance(x, y))));
        double[] scales = [0.5, 1, 8];
        double K(int i, int j) => scales.Average(scale => Math.Exp(-scale * Distance(all[i], all[j]) / median));
        double want = linear
            ? Enumerable.Range(0, 3).Average(i => K(2 * i, 2 * i + 1) + K(7 + 2 * i, 8 + 2 * i) - K(2 * i, 8 + 2 * i) - K(2 * i + 1, 7 + 2 * i))
            : Mmd(7, 7, K, unbiased: true);
        AssertClose(want, Value(MaximumMeanDiscrepancy.PytorchAdapt(linear, scales), s, t));
    }

    [Fact]
    public void Skadas_and_domain_beds_variants_equal_what_they_compute()
    {
        double[][] s = Rows(6, 4, 1, 0), t = Rows(8, 4, 2, 0.4), all = [.. s, .. t];
        double median = Median(s.SelectMany(x => s.Select(y => Math.Sqrt(Distance(x, y))))) + 1e-7;
        double Skada(int i, int j) => Enumerable.Range(0, 33).Sum(k => Math.Exp(-Math.Sqrt(Distance(all[i], all[j])) / (Math.Pow(2, -8 + k / 2.0) * median)));
        AssertClose(Mmd(6, 8, Skada, unbiased: false), Value(MaximumMeanDiscrepancy.Skada(), s, t), 1e-6);
        double DomainBed(int i, int j) => new[] { 1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3 }.Sum(gamma => Math.Exp(-gamma * Math.Max(Distance(all[i], all[j]), 1e-30)));
        AssertClose(Mmd(6, 8, DomainBed, unbiased: false), Value(MaximumMeanDiscrepancy.DomainBed(), s, t));
    }

    [Fact]
    public void Joint_mmd_equals_the_product_of_its_kernels()
    {
        double[][] s = Rows(6, 4, 1, 0), t = Rows(8, 4, 2, 0.4), p = [.. Rows(6, 3, 3, 0).Select(x => Softmax(x))], q = [.. Rows(8, 3, 4, 1).Select(x => Softmax(x))];
        double[][] features = [.. s, .. t], predictions = [.. p, .. q];
        double Gaussian(double[][] all, int i, int j) =>
            Math.Exp(-Distance(all[i], all[j]) / Median(Enumerable.Range(0, all.Length).SelectMany(a => Enumerable.Range(0, a).Select(b => Distance(all[a], all[b])))));
        double K(int i, int j) => Gaussian(features, i, j) * Gaussian(predictions, i, j);
        AssertClose(Mmd(6, 8, K, unbiased: false), new JointMaximumMeanDiscrepancy().Forward(From(s), From(p), From(t), From(q)).Item());
        AssertClose(Mmd(6, 8, K, unbiased: true), new JointMaximumMeanDiscrepancy(estimator: MmdEstimator.Unbiased).Forward(From(s), From(p), From(t), From(q)).Item());
    }

    [Fact]
    public void Joint_mmd_of_predictions_that_are_certain_of_one_class_has_a_small_gradient()
    {
        // Three quarters of the rows are certain of class 0, so that the median distance is but rounding: without a least bandwidth the gradient is its reciprocal.
        Tensor Logits(int seed) => From([.. Rows(8, 2, seed, 0).Select((row, i) => i % 4 == 3 ? new[] { row[0], row[1] } : new[] { 9 + row[0], row[1] })]).To(ElementType.Float32);
        Tensor s = From(Rows(8, 3, 1, 0)).To(ElementType.Float32), t = From(Rows(8, 3, 2, 0.4)).To(ElementType.Float32), p = Logits(3).Softmax().Detach(), q = Logits(4).Softmax().Detach();
        Assert.True(Steepest(new(), p, q) < 1);
        Assert.True(Steepest(new(predictions: new GaussianKernel([1], rule: BandwidthRule.Median)), p, q) > 10);

        double Steepest(JointMaximumMeanDiscrepancy jmmd, Tensor x, Tensor y)
        {
            (x.RequiresGrad, y.RequiresGrad) = (true, true);
            return Tensor.Gradients(jmmd.Forward(s, x, t, y), [x, y]).Max(g => g.ToArray<float>().Max(Math.Abs));
        }
    }

    [Fact]
    public void A_least_bandwidth_bounds_the_rules()
    {
        double[][] s = Rows(6, 4, 1, 0), t = Rows(8, 4, 2, 0.4);
        foreach (var rule in Enum.GetValues<BandwidthRule>())
        {
            double Of(GaussianKernel kernel) => Value(new MaximumMeanDiscrepancy(kernel), s, t);
            AssertClose(Of(new([0.5, 2], bandwidth: 50)), Of(new([0.5, 2], rule: rule) { LeastBandwidth = 50 }));
            AssertClose(Of(new([0.5, 2], rule: rule)), Of(new([0.5, 2], rule: rule) { LeastBandwidth = 1e-3 }));
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => new GaussianKernel { LeastBandwidth = -1 });
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Tllibs_joint_mmd_equals_what_tllib_computes(bool linear)
    {
        const int B = 6;
        double[][] s = Rows(B, 4, 1, 0), t = Rows(B, 4, 2, 0.4), p = [.. Rows(B, 3, 3, 0).Select(x => Softmax(x))], q = [.. Rows(B, 3, 4, 1).Select(x => Softmax(x))];
        double[][] features = [.. s, .. t], predictions = [.. p, .. q];
        double mean = features.Average(x => features.Average(y => Distance(x, y)));
        double K(int i, int j) => new[] { -3, -2, -1, 0, 1 }.Sum(k => Math.Exp(-Distance(features[i], features[j]) / (2 * Math.Pow(2, k) * mean)))
            * Math.Exp(-Distance(predictions[i], predictions[j]) / (2 * 0.92 * 0.92));
        double want = linear
            ? Enumerable.Range(0, B).Average(i => K(i, (i + 1) % B) + K(B + i, B + (i + 1) % B) - K(i, B + (i + 1) % B) - K((i + 1) % B, B + i))
            : Mmd(B, B, K, unbiased: true);
        AssertClose(want + 2.0 / (B - 1), JointMaximumMeanDiscrepancy.Tllib(linear).Forward(From(s), From(p), From(t), From(q)).Item());
    }

    [Fact]
    public void Joint_mmd_is_differentiable_through_features_and_predictions()
    {
        var kernel = new GaussianKernel([0.5, 2], bandwidth: 1);
        var jmmd = new JointMaximumMeanDiscrepancy(features: kernel, predictions: kernel);
        CheckGradient((s, t) => jmmd.Forward(s, s.Softmax(), t, t.Softmax()), m: 4);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Local_mmd_equals_its_formula(bool deepDa)
    {
        const int N = 7, M = 5, C = 5;
        double[][] s = Rows(N, 4, 1, 0), t = Rows(M, 4, 2, 0.4), all = [.. s, .. t], p = [.. Rows(M, C, 3, 0).Select(x => Softmax([.. x.Select(v => 6 * v)]))];
        int[] y = [0, 1, 1, 3, 0, 3, 3]; // neither 2 nor 4
        double mean = all.Sum(a => all.Sum(b => Distance(a, b))) / (12 * 11);
        double K(int i, int j) => new[] { 0.25, 0.5, 1, 2, 4 }.Sum(f => Math.Exp(-Distance(all[i], all[j]) / (f * mean))) / (deepDa ? 1 : 5);
        int[] guesses = [.. p.Select(row => Array.IndexOf(row, row.Max()))];
        int[] classes = [.. Enumerable.Range(0, C).Where(c => y.Contains(c) && (!deepDa || guesses.Contains(c)))];
        Assert.True(!deepDa || classes.Length is > 0 and < 3); // some class of the source is no guess of the target
        double sum = 0;
        foreach (int c in classes)
        {
            double W(int i) => i < N ? (y[i] == c ? 1.0 / y.Count(label => label == c) : 0) : -p[i - N][c] / p.Sum(row => row[c]);
            for (int i = 0; i < N + M; i++)
            {
                for (int j = 0; j < N + M; j++)
                    sum += W(i) * W(j) * K(i, j);
            }
        }
        var lmmd = deepDa ? LocalMaximumMeanDiscrepancy.DeepDa() : new LocalMaximumMeanDiscrepancy();
        AssertClose(sum / (deepDa ? classes.Length : C), lmmd.Forward(From(s), Tensor.From(y), From(t), From(p)).Item());
    }

    [Fact]
    public void Local_mmd_is_differentiable_and_zero_where_no_class_is_common()
    {
        var labels = Tensor.From([0, 1, 1, 0, 2, 2]);
        var probabilities = From([.. Rows(4, 3, 5, 0).Select(x => Softmax(x))]);
        var lmmd = new LocalMaximumMeanDiscrepancy(kernel: new GaussianKernel([1, 2], bandwidth: 1));
        CheckGradient((s, t) => lmmd.Forward(s, labels, t, probabilities.To(t.ElementType)), m: 4);
        var other = From([[0, 0, 0, 1], [0, 0, 0, 1]]);
        Assert.Equal(0, LocalMaximumMeanDiscrepancy.DeepDa().Forward(From(Rows(6, 3, 1, 0)), labels, From(Rows(2, 3, 2, 0)), other).Item());
    }

    [Fact]
    public void Wrong_kernels_and_batches_are_named()
    {
        Assert.Contains("2 weights for 1", Assert.Throws<ArgumentException>(() => new GaussianKernel([1], weights: [1, 2])).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new GaussianKernel([1], weights: [-1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new EnergyKernel(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PolynomialKernel(0));
        Assert.Contains("one size", Assert.Throws<ShapeException>(() => MaximumMeanDiscrepancy.Tllib(false).Forward(Tensor.Zeros([4, 3]), Tensor.Zeros([6, 3]))).Message);
        Assert.Contains("wanted [4]", Assert.Throws<ShapeException>(() => new LocalMaximumMeanDiscrepancy().Forward(Tensor.Zeros([4, 3]), Tensor.From([1, 0]), Tensor.Zeros([6, 3]), Tensor.Zeros([6, 2]))).Message);
    }

    private static double Value(MaximumMeanDiscrepancy mmd, double[][] s, double[][] t) => mmd.Forward(From(s), From(t)).Item();
}
