using Xunit;

namespace TransferEngine.Tests.Tensors;

public sealed class ConversionTests
{
    [Fact]
    public void Types_Convert_And_Send_Gradients_Back()
    {
        var x = Tensor.From([1.75f, -2.5f, 0]);
        Assert.Same(x, x.To(ElementType.Float32));
        Assert.Equal([1, -2, 0], x.To(ElementType.Int32).ToArray<int>());
        Assert.Equal([1.75, -2.5, 0], x.To(ElementType.Float64).ToArray<double>());
        Assert.Equal([3f, 4], Tensor.From([3, 4]).To(ElementType.Float32).ToArray<float>());
        x.RequiresGrad = true;
        var y = x.To(ElementType.Float64);
        (y * y).Sum().Backward();
        Assert.Equal([3.5f, -5, 0], x.Grad!.ToArray<float>());
        Assert.False(x.To(ElementType.Int32).RequiresGrad);
    }

    [Fact]
    public void What_An_Integer_Does_Not_Hold_Becomes_The_Nearest() =>
        Assert.Equal([0, int.MaxValue, int.MinValue, int.MinValue], Tensor.From([double.NaN, 3e9, double.NegativeInfinity, -2147483649.0]).To(ElementType.Int32).ToArray<int>());
}
