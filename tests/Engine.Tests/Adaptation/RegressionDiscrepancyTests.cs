using MathNet.Numerics.LinearAlgebra;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>RSD and DARE-GRAM against their formulas by the base library's decompositions, and their gradients, which pass through decompositions, against central differences.</summary>
public class RegressionDiscrepancyTests
{
    [Theory, InlineData(3, 3, 8), InlineData(2, 4, 9), InlineData(4, 4, 8)]
    public void Subspace_distance_equals_its_formula(int n, int m, int d)
    {
        double[][] s = Rows(n, d, 1, 0), t = Rows(m, d, 2, 0.4);
        var us = Matrix<double>.Build.DenseOfRowArrays(s).Transpose().Svd().U.SubMatrix(0, d, 0, n);
        var ut = Matrix<double>.Build.DenseOfRowArrays(t).Transpose().Svd().U.SubMatrix(0, d, 0, m);
        var angles = us.TransposeThisAndMultiply(ut).Svd();
        int k = Math.Min(n, m);
        double want = angles.S.Take(k).Sum(cosine => Math.Sqrt(1 - cosine * cosine));
        double bases = (angles.U.SubMatrix(0, k, 0, k).PointwiseAbs() - angles.VT.Transpose().SubMatrix(0, k, 0, k).PointwiseAbs()).FrobeniusNorm();
        AssertClose(want, new RepresentationSubspaceDistance(0).Forward(From(s), From(t)).Item());
        AssertClose(want + 0.5 * bases, new RepresentationSubspaceDistance(0.5).Forward(From(s), From(t)).Item());
    }

    [Theory, InlineData(0.0), InlineData(0.7)]
    public void Subspace_gradients_equal_central_differences(double weight) =>
        // Rows in more dimensions than both batches have, by a fixed nonlinear map.
        CheckGradient((s, t) => new RepresentationSubspaceDistance(weight).Forward(Lift(s.Narrow(0, 0, 3)), Lift(t)), m: 4, tolerance: 2e-6);

    [Fact]
    public void Subspaces_are_blind_to_scale_and_to_a_change_of_basis_and_see_right_angles()
    {
        double[][] s = Rows(3, 8, 1, 0), t = Rows(3, 8, 2, 0.4);
        var rsd = new RepresentationSubspaceDistance(0);
        double value = rsd.Forward(From(s), From(t)).Item();
        AssertClose(value, rsd.Forward(From(s) * 7, From(t) * 0.1).Item());
        AssertClose(value, rsd.Forward(From(Rows(3, 3, 5, 0)).MatMul(From(s)), From(t)).Item(), 1e-9);
        // The same plane, two planes at right angles, and planes that share an axis.
        AssertClose(0, rsd.Forward(From([[1, 0, 0, 0], [0, 1, 0, 0]]), From([[1, 1, 0, 0], [1, -1, 0, 0]])).Item());
        AssertClose(2, rsd.Forward(From([[1, 0, 0, 0], [0, 2, 0, 0]]), From([[0, 0, 1, 0], [0, 0, 0, 3]])).Item());
        AssertClose(1, rsd.Forward(From([[1, 0, 0, 0], [0, 1, 0, 0]]), From([[1, 0, 0, 0], [0, 0, 1, 0]])).Item());
        // A row that says nothing new, and features that are 0, have no direction.
        AssertClose(1, rsd.Forward(From([[1, 0, 0, 0], [0, 1, 0, 0], [2, 3, 0, 0]]), From([[1, 0, 0, 0], [0, 0, 1, 0]])).Item());
        Assert.Equal(0, rsd.Forward(Tensor.Zeros([3, 4]), Tensor.Ones([2, 4])).Item());
        Assert.True(double.IsNaN(rsd.Forward(Tensor.Full([3, 4], double.NaN), Tensor.Ones([2, 4])).Item()));
    }

    [Theory, InlineData(6, 6, 3, 0.9), InlineData(4, 4, 9, 0.9), InlineData(5, 5, 9, 0.99), InlineData(12, 12, 4, 0.5)]
    public void Inverse_gram_alignment_equals_its_formula(int n, int m, int d, double threshold)
    {
        double[][] s = Rows(n, d, 1, 0), t = Rows(m, d, 2, 0.4);
        var a = Decompose(s);
        var b = Decompose(t);
        int k = Math.Max(Kept(a.S), Kept(b.S));
        Matrix<double> ai = Inverse(a), bi = Inverse(b);
        double angle = Enumerable.Range(0, d + 1).Average(i => Math.Abs(1 - ai.Column(i) * bi.Column(i) / (ai.Column(i).L2Norm() * bi.Column(i).L2Norm())));
        double scale = Math.Sqrt(Enumerable.Range(0, k).Sum(i => Math.Pow(a.S[i] - b.S[i], 2))) / k;
        AssertClose(0.3 * angle + 0.2 * scale, new DareGram(0.3, 0.2, threshold).Forward(From(s), From(t)).Item(), 1e-8);

        MathNet.Numerics.LinearAlgebra.Factorization.Svd<double> Decompose(double[][] rows)
        {
            var z = Matrix<double>.Build.DenseOfRowArrays(rows.Select(row => (double[])[1, .. row]));
            return z.TransposeThisAndMultiply(z).Svd();
        }

        int Kept(Vector<double> values)
        {
            double Share(int count) => values.Take(count).Sum() / values.Sum();
            double limit = Math.Max(threshold, Share(2));
            return Math.Max(1, Enumerable.Range(1, Math.Min(values.Count, n)).Count(count => Share(count) <= limit) - 1);
        }

        Matrix<double> Inverse(MathNet.Numerics.LinearAlgebra.Factorization.Svd<double> svd) =>
            svd.VT.Transpose().SubMatrix(0, d + 1, 0, k) * Matrix<double>.Build.DenseOfDiagonalArray([.. svd.S.Take(k).Select(x => 1 / x)]) * svd.U.Transpose().SubMatrix(0, k, 0, d + 1);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Inverse_gram_gradients_equal_central_differences(bool wide) =>
        CheckGradient((s, t) => new DareGram(1, 0.1, 0.95).Forward(wide ? Lift(s) : s, wide ? Lift(t) : t), m: 6, tolerance: 5e-6);

    [Fact]
    public void Inverse_grams_of_one_sample_agree_in_any_order()
    {
        var s = Rows(6, 4, 1, 0);
        Assert.True(new DareGram().Forward(From(s), From([.. s.Reverse()])).Item() < 1e-12);
        Assert.True(double.IsNaN(new DareGram().Forward(Tensor.Full([3, 2], double.NaN), Tensor.Ones([3, 2])).Item()));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DareGram(threshold: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RepresentationSubspaceDistance(-1));
    }

    /// <summary>What is wanted depends on two directions. The target has them turned out of those that the source fills.</summary>
    [Fact]
    public void Subspace_distance_gains_on_a_turned_domain()
    {
        double source = Error(new SourceOnly()), adapted = Error(new DiscrepancyMethod("rsd", new RepresentationSubspaceDistance(), 0.03));
        Assert.True(adapted < 0.8 * source, $"mean squared error {adapted} adapted, {source} by the source alone");

        static double Error(AdaptationMethod method) => Regressed(method, start => [new Linear(6, 24, generator: start)], Draw(0), Draw(0.9), Draw(0.9, seed: 3));

        static (Tensor Input, Tensor Wanted) Draw(double turn, int seed = 1) => Made(seed, (z, normal) =>
            [z[0] * Math.Cos(turn), z[1] * Math.Cos(turn), z[0] * Math.Sin(turn), z[1] * Math.Sin(turn), 0, 0]);
    }

    /// <summary>The target varies along four directions that say nothing, of which the source has next to none.</summary>
    [Fact]
    public void Inverse_gram_alignment_gains_on_a_domain_with_directions_that_the_source_lacks()
    {
        double source = Error(new SourceOnly()), adapted = Error(new DiscrepancyMethod("dare-gram", new DareGram(), 1));
        Assert.True(adapted < 0.8 * source, $"mean squared error {adapted} adapted, {source} by the source alone");

        static double Error(AdaptationMethod method) => Regressed(
            method, start => [new Linear(6, 24, generator: start), Activation.Relu(), new Linear(24, 24, generator: start)], Draw(0.02), Draw(3, seed: 2), Draw(3, seed: 3));

        static (Tensor Input, Tensor Wanted) Draw(double nuisance, int seed = 1) => Made(seed, (z, normal) => [z[0], z[1], .. Enumerable.Range(0, 4).Select(_ => nuisance * normal())]);
    }

    /// <summary>The mean squared error on fresh rows of the target of networks trained by a method, from three beginnings.</summary>
    private static double Regressed(
        AdaptationMethod method, Func<Generator, Module[]> features, (Tensor Input, Tensor Wanted) source, (Tensor Input, Tensor Wanted) target, (Tensor Input, Tensor Wanted) fresh)
    {
        return new ulong[] { 3, 4, 5 }.Average(seed =>
        {
            Generator start = new(seed);
            var adapter = new Adapter(new Sequential(features(start)), new Linear(24, 1, generator: start), method, (y, wanted) => y.MseLoss(wanted));
            // Were target values read anywhere, the error would be no number.
            adapter.Fit(new(Loader(source.Input, source.Wanted), Loader(target.Input, target.Wanted * double.NaN)), new() { Steps = 600 });
            using var recording = new NoGrad();
            return adapter.Logits(fresh.Input).MseLoss(fresh.Wanted).Item();
        });

        static DataLoader Loader(Tensor input, Tensor wanted) => new(new TensorDataset(input, wanted), new() { BatchSize = 10, Shuffle = true });
    }

    private static (Tensor Input, Tensor Wanted) Made(int seed, Func<double[], Func<double>, double[]> input)
    {
        var random = new Random(seed);
        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        double[][] z = [.. Enumerable.Range(0, 320).Select(_ => new[] { Normal(), Normal() })];
        return (From([.. z.Select(row => input(row, Normal))]).To(ElementType.Float32), From([.. z.Select(row => new[] { row[0] - 0.5 * row[1] })]).To(ElementType.Float32));
    }

    /// <summary>[n, 3] to [n, 9], each of full rank.</summary>
    private static Tensor Lift(Tensor x) => Tensor.Concat([x, (x * 1.5 + 0.3).Sin(), (x * 2.1 - 0.5).Cos()], 1);
}
