using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>SHOT's two losses and its labels in plain doubles, and what they gain on a shifted domain.</summary>
public class ShotTests
{
    [Theory, InlineData(0.3), InlineData(0)]
    public void Gains_on_a_shifted_domain_without_source_or_target_labels_and_with_a_frozen_head(double weight)
    {
        var (features, head) = Blobs.Trained(isNormalised: false);
        var model = new Sequential(features, head);
        var (x, y) = Blobs.Draw(401, 7, true, shift: 2); // one row more than whole batches
        double before = Blobs.Accuracy(model, x, y);
        float[] headBefore = head.Weight.ToArray<float>();
        using var shipped = new ShippedWeights(model);
        // Were target labels read anywhere, class 77 would be an error.
        var target = new TensorDataset(x, Tensor.Full([401], 77, type: ElementType.Int32));
        new Shot(features, head).Fit(target, new() { Epochs = 8, PseudoLabelWeight = weight, Loader = new() { BatchSize = 50, Shuffle = true } });
        double after = Blobs.Accuracy(model, x, y);
        Assert.True(after > before + 0.05, $"{after} adapted, {before} before");
        Assert.Equal(headBefore, head.Weight.ToArray<float>());
        Assert.True(head.Weight.RequiresGrad);
        Assert.DoesNotContain(shipped.Changed(), name => name.StartsWith("1.", StringComparison.Ordinal));
        shipped.RollBack();
        Assert.Equal(before, Blobs.Accuracy(model, x, y));
    }

    [Fact]
    public void Information_equals_its_formula_and_is_differentiable()
    {
        double[][] logits = [.. Rows(6, 4, 1, 0).Select(row => row.Select(x => 3 * x).ToArray())], p = [.. logits.Select(row => Softmax(row))];
        double[] mean = [.. Enumerable.Range(0, 4).Select(c => p.Average(row => row[c]))];
        double Entropy(double[] shares, double inside = 0) => -shares.Sum(share => share * Math.Log(share + inside));
        AssertClose(p.Average(row => Entropy(row)) - Entropy(mean), new InformationMaximization().Forward(From(logits)).Item());
        AssertClose(p.Average(row => Entropy(row, 1e-5)) - Entropy(mean, 1e-5), InformationMaximization.Authors().Forward(From(logits)).Item());
        CheckGradient((s, t) => new InformationMaximization().Forward(s) + InformationMaximization.Authors().Forward(t), m: 4);
        // Certain and various: -ln C; certain of one class, or of nothing: 0. Shares that underflow do not matter.
        AssertClose(-Math.Log(3), new InformationMaximization().Forward(From([[900, 0, 0], [0, 900, 0], [0, 0, 900]])).Item());
        AssertClose(0, new InformationMaximization().Forward(From([[900, 0, 0], [900, 0, 0]])).Item());
        AssertClose(0, new InformationMaximization().Forward(Tensor.Zeros([4, 3])).Item(), 1e-6);
    }

    [Theory, InlineData(0), InlineData(1), InlineData(2)]
    public void Centroid_labels_equal_their_definition(int rounds)
    {
        const int N = 40, C = 4;
        double[][] features = Rows(N, 3, 8, 0.1), p = [.. Rows(N, C, 9, 0).Select(row => Softmax([.. row.Select(x => 4 * x)]))];
        double[][] f = [.. features.Select(row => Unit([.. row, 1]))], shares = p;
        int[] want = [];
        for (int round = 0; round <= rounds; round++)
        {
            double[][] centroids = [.. Enumerable.Range(0, C).Select(c => Enumerable.Range(0, 4).Select(j => Enumerable.Range(0, N).Sum(i => shares[i][c] * f[i][j])).ToArray())];
            int[] classes = [.. Enumerable.Range(0, C).Where(c => centroids[c].Any(x => x != 0))];
            want = [.. f.Select(row => classes.MaxBy(c => Unit(centroids[c]).Zip(row, (a, b) => a * b).Sum()))];
            shares = [.. want.Select(label => Enumerable.Range(0, C).Select(c => c == label ? 1.0 : 0).ToArray())];
        }
        Assert.Equal(want, CentroidLabels.Compute(From(features), From(p), rounds).ToArray<int>());

        static double[] Unit(double[] z) => [.. z.Select(x => x / Math.Sqrt(z.Sum(v => v * v)))];
    }

    [Fact]
    public void A_class_that_nothing_belongs_to_is_given_to_nobody()
    {
        // All cosines are negative but that of no centroid at all, which would be 0.
        var labels = CentroidLabels.Compute(From([[-9, 0], [9, 0]]), From([[0, 1, 0], [0, 1, 0]]), rounds: 3);
        Assert.Equal([1, 1], labels.ToArray<int>());
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        var (x, y) = Blobs.Draw(4, 1, true);
        var shot = new Shot(new Linear(2, 4), new Linear(4, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => shot.Fit(new TensorDataset(x, y), new() { PseudoLabelWeight = -1 }));
        Assert.Throws<ArgumentException>(() => shot.Fit(new TensorDataset(x.Narrow(0, 0, 1), y.Narrow(0, 0, 1))));
        Assert.Throws<ShapeException>(() => CentroidLabels.Compute(Tensor.Zeros([3, 2]), Tensor.Zeros([4, 2])));
        Assert.Throws<ShapeException>(() => new InformationMaximization().Forward(Tensor.Zeros([0, 3])));
        using var source = new CancellationTokenSource();
        source.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => shot.Fit(new TensorDataset(x, y), cancellation: source.Token));
        Assert.True(shot.Head.Parameters().All(parameter => parameter.RequiresGrad));
    }
}
