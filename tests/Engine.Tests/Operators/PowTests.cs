namespace TransferEngine.Tests;

public class PowTests
{
    [Fact]
    public void Zero_to_the_zero_has_PyTorchs_gradient_of_0()
    {
        var a = Tensor.From([0.0, 3.0, 0.0]);
        a.RequiresGrad = true;
        var b = Tensor.From([0.0, 0.0, 2.0]);
        a.Pow(b).Sum().Backward();
        Assert.Equal([0.0, 0.0, 0.0], a.Grad!.ToArray<double>());
    }

    [Fact]
    public void The_power_0_is_1_of_every_number()
    {
        var x = Tensor.From([0.0, double.NaN, double.PositiveInfinity, -2.0]);
        x.RequiresGrad = true;
        var y = x.Pow(0);
        y.Sum().Backward();
        Assert.Equal([1.0, 1.0, 1.0, 1.0], y.ToArray<double>());
        Assert.Equal([0.0, 0.0, 0.0, 0.0], x.Grad!.ToArray<double>());
    }
}
