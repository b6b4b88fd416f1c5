using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class MetricTests
{
    private static readonly float[] Logits =
    [
        2, 1, 0,
        0, 3, 1,
        1, 1, 0, // equal: the first counts
        0, float.NaN, 9, // NaN counts as greatest
    ];

    [Fact]
    public void Accuracy_Accumulates_Over_Batches()
    {
        var accuracy = new Accuracy();
        Assert.True(double.IsNaN(accuracy.Value));
        accuracy.Update(Tensor.From(Logits, [4, 3]), Tensor.From([0, 1, 1, 1]));
        accuracy.Update(Tensor.From(Logits[..3], [1, 3]), Tensor.From([2]));
        Assert.Equal(3 / 5.0, accuracy.Value);
        accuracy.Reset();
        Assert.Equal(0, accuracy.Rows);
    }

    [Fact]
    public void Confusion_Counts_By_Label_And_Prediction()
    {
        var matrix = ConfusionMatrix.Of(Tensor.From(Logits, [4, 3]), Tensor.From([0, 1, 1, 1]));
        Assert.Equal(new long[,] { { 1, 0, 0 }, { 1, 2, 0 }, { 0, 0, 0 } }, matrix.ToArray());
        Assert.Equal(0.75, matrix.Accuracy);
        Assert.Equal([1, 2 / 3.0, double.NaN], matrix.Recalls());
        Assert.Equal(5 / 6.0, matrix.BalancedAccuracy, 12);
        Assert.Equal(0.5, matrix.Precision(0));
    }

    [Fact]
    public void A_Wrong_Label_Changes_Nothing()
    {
        var matrix = new ConfusionMatrix(3);
        Assert.Throws<ShapeException>(() => matrix.Update(Tensor.From(Logits, [4, 3]), Tensor.From([0, 1, 1, 3])));
        Assert.Equal(0, matrix.Rows);
        Assert.Throws<ShapeException>(() => matrix.Update(Tensor.From(Logits, [3, 4]), Tensor.From([0, 1, 1])));
        Assert.Throws<ElementTypeException>(() => matrix.Update(Tensor.From(Logits, [4, 3]), Tensor.From([0f, 1, 1, 1])));
    }

    [Fact]
    public void Mean_Loss_Weighs_By_Rows()
    {
        var loss = new MeanLoss((output, target) => (output - target).Sum() / output.Shape[0]);
        loss.Update(Tensor.From([1f, 2, 3]), Tensor.From([0f, 0, 0]));
        loss.Update(Tensor.From([10f]), Tensor.From([0f]));
        Assert.Equal(4, loss.Value, 6);
        loss.Add(double.NaN, 0);
        Assert.Equal(4, loss.Value, 6);
        Assert.Throws<InvalidOperationException>(() => new MeanLoss().Update(Tensor.From([1f]), Tensor.From([1f])));
    }

    [Fact]
    public void Empty_Batches_Count_Nothing()
    {
        var accuracy = new Accuracy();
        accuracy.Update(Tensor.Zeros([0, 3]), Tensor.Zeros([0], type: ElementType.Int32));
        Assert.True(double.IsNaN(accuracy.Value));
    }
}
