namespace TransferEngine.Tests;

public class MatMulTests
{
    [Theory]
    [InlineData(new[] { 4, 3 }, new[] { 4, 5 }, "inner sizes differ (3, 4). Transpose the left operand?")]
    [InlineData(new[] { 4, 3 }, new[] { 5, 3 }, "inner sizes differ (3, 5). Transpose the right operand?")]
    [InlineData(new[] { 4, 3 }, new[] { 5, 7 }, "inner sizes differ (3, 5). The columns of the left operand meet the rows of the right one.")]
    [InlineData(new[] { 2, 4, 3 }, new[] { 5, 3, 2 }, "[2] and [5] do not broadcast")]
    [InlineData(new int[0], new[] { 3, 2 }, "a scalar is no matrix")]
    public void Wrong_shapes_are_named_with_a_cure(int[] a, int[] b, string message)
    {
        var error = Assert.Throws<ShapeException>(() => Tensor.Zeros(a).MatMul(Tensor.Zeros(b)));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("MatMul", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new[] { 5, 3 }, new[] { 4, 2 }, new[] { 4 }, "has 3 features, the weight [4, 2] takes 2")]
    [InlineData(new[] { 5, 3 }, new[] { 3 }, new[] { 4 }, "the weight [3] has 1 axes")]
    [InlineData(new[] { 5, 3 }, new[] { 4, 3 }, new[] { 5 }, "the bias [5] does not fit the weight [4, 3]")]
    public void Linear_names_what_does_not_fit(int[] x, int[] weight, int[] bias, string message)
    {
        var error = Assert.Throws<ShapeException>(() => Tensor.Zeros(x).Linear(Tensor.Zeros(weight), Tensor.Zeros(bias)));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Dot_and_Outer_take_vectors()
    {
        Assert.Throws<ShapeException>(() => Tensor.Zeros([3]).Dot(Tensor.Zeros([4])));
        Assert.Throws<ShapeException>(() => Tensor.Zeros([3, 1]).Outer(Tensor.Zeros([4])));
    }

    [Fact]
    public void Types_must_agree()
    {
        Assert.Throws<ElementTypeException>(() => Tensor.Zeros([2, 2]).MatMul(Tensor.Zeros([2, 2], null, ElementType.Float64)));
    }

    [Fact]
    public void Backward_launches_one_product_for_each_input_that_needs_a_gradient()
    {
        // A device of its own: other tests count launches on the shared one.
        var device = Device.Open(DeviceKind.Cpu);
        var compute = device.Compute;
        var x = Tensor.Ones([5, 3], device);
        var weight = Tensor.Ones([4, 3], device);
        var g = Tensor.Ones([5, 4], device);
        weight.RequiresGrad = true;
        var y = x.Linear(weight);
        long before = compute.Launches;
        y.Backward(g);
        Assert.Equal(1, compute.Launches - before);
        Assert.Null(x.Grad);
    }
}
