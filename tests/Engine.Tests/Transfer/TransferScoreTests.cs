using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

/// <summary>Scores against values of make_golden.py.</summary>
public sealed class TransferScoreTests
{
    /// <summary>Waves, shifted along some features by class.</summary>
    private static Tensor Features(int n, int d)
    {
        var shift = new double[n * d];
        for (int i = 0; i < shift.Length; i++)
            shift[i] = i / d % 3 == i % d % 3 ? 0.8 : 0;
        return Waves.Of(1, n, d) + Tensor.From(shift, [n, d]);
    }

    [Theory]
    [InlineData(30, 4, -0.6240248162207849)]
    [InlineData(12, 20, -0.5899177669771258)]
    public void LogMe_Is_The_Greatest_Evidence(int n, int d, double wanted) => Waves.Near(wanted, TransferScore.LogMe(Features(n, d), Waves.Classes(n, 3)), 1e-8);

    [Theory]
    [InlineData(30, 4, 1.0921379238530857, 0.7878885818492212)]
    [InlineData(12, 20, 2, 1.185083029375718)]
    public void H_Scores_Equal_Their_Definitions(int n, int d, double plain, double regularized)
    {
        var (features, labels) = (Features(n, d), Waves.Classes(n, 3));
        // numpy's covariances in the plain score are both divided by N - 1, which cancels.
        Waves.Near(plain, TransferScore.HScore(features, labels), 1e-8);
        Waves.Near(regularized, TransferScore.RegularizedHScore(features, labels), 1e-8);
    }

    [Fact]
    public void Leep_And_Nce_Equal_Their_Definitions()
    {
        var (probabilities, labels) = ((Waves.Of(1, 10, 4) * 2).Softmax(), Waves.Classes(10, 3));
        Waves.Near(-0.937249048160288, TransferScore.Leep(probabilities, labels));
        Waves.Near(-0.659167373200866, TransferScore.Nce(probabilities.ArgMax(1), labels));
    }

    [Fact]
    public void Better_Features_Score_Higher()
    {
        var labels = Waves.Classes(30, 3);
        Tensor noise = Waves.Of(1, 30, 4), good = noise * 0.1 + labels.OneHot(4, ElementType.Float64);
        Assert.True(TransferScore.LogMe(good, labels) > TransferScore.LogMe(noise, labels));
        Assert.True(TransferScore.HScore(good, labels) > TransferScore.HScore(noise, labels));
        Assert.True(TransferScore.RegularizedHScore(good, labels) > TransferScore.RegularizedHScore(noise, labels));
        Assert.True(TransferScore.Leep((good * 9).Softmax(), labels) > TransferScore.Leep((noise * 9).Softmax(), labels));
        Assert.Equal(0, TransferScore.Nce(labels, labels));
        Assert.True(double.IsFinite(TransferScore.RegularizedHScore(Waves.Of(1, 2, 5), Tensor.From([0, 1])))); // nothing to estimate the shrinkage from
        Assert.Equal(0, TransferScore.RegularizedHScore(Tensor.Ones([4, 2]), Tensor.From([0, 1, 0, 1])));
        Assert.True(double.IsFinite(TransferScore.LogMe(labels.OneHot(3), labels))); // fits exactly
    }

    [Fact]
    public void Mistakes_Are_Named()
    {
        var features = Waves.Of(1, 4, 2);
        Assert.Throws<ShapeException>(() => TransferScore.LogMe(features, Tensor.From([0, 1])));
        Assert.Contains("-1", Assert.Throws<ShapeException>(() => TransferScore.Leep(features, Tensor.From([0, 1, -1, 0]))).Message);
        Assert.Throws<ElementTypeException>(() => TransferScore.HScore(features, features));
        Assert.Throws<ShapeException>(() => TransferScore.Nce(Tensor.From([1]), Tensor.From([1, 2])));
    }
}
