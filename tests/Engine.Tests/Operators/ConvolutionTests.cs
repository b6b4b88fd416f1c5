namespace TransferEngine.Engine.Tests;

public class ConvolutionTests
{
    private static Tensor X => Tensor.Ones([2, 4, 9, 9]);

    public static TheoryData<string, Func<Tensor>> Misfits => new()
    {
        { "the input [4, 9, 9] has 3 axes, wanted 4: [N, C, H, W]", () => Tensor.Ones([4, 9, 9]).Conv2d(Tensor.Ones([3, 4, 3, 3])) },
        { "the weight [3, 4, 3] has 3 axes", () => X.Conv2d(Tensor.Ones([3, 4, 3])) },
        { "has 4 channels, the weight [3, 5, 3, 3] with 1 group(s) takes 5", () => X.Conv2d(Tensor.Ones([3, 5, 3, 3])) },
        { "a multiple of 2", () => X.Conv2d(Tensor.Ones([3, 2, 3, 3]), groups: 2) },
        { "the bias [4] does not fit the weight [3, 4, 3, 3], wanted [3]", () => X.Conv2d(Tensor.Ones([3, 4, 3, 3]), Tensor.Ones([4])) },
        { "5 taps 3 apart do not fit the 9 pixels", () => X.Conv2d(Tensor.Ones([3, 4, 5, 5]), dilation: 3) },
        { "has no taps", () => X.Conv2d(Tensor.Ones([3, 4, 0, 3])) },
        { "has 4 channels, the weight [3, 4, 3, 3] takes 3", () => X.ConvTranspose2d(Tensor.Ones([3, 4, 3, 3])) },
        { "Use less padding", () => X.ConvTranspose2d(Tensor.Ones([4, 4, 3, 3]), padding: 9) },
        { "do not fit [2, 4, 9, 9]", () => X.MaxPool2d(10) },
        { "the input [2] has 1 axes", () => Tensor.Ones([2]).AvgPool2d(1) },
        { "have no pixels", () => Tensor.Ones([2, 3, 0, 4]).AdaptiveAvgPool2d(1) },
    };

    public static TheoryData<Func<Tensor>> WrongNumbers => new()
    {
        () => X.Conv2d(Tensor.Ones([3, 4, 3, 3]), stride: 0), () => X.Conv2d(Tensor.Ones([3, 4, 3, 3]), padding: -1), () => X.Conv2d(Tensor.Ones([3, 4, 3, 3]), dilation: (1, 0)),
        () => X.Conv2d(Tensor.Ones([3, 4, 3, 3]), groups: 0), () => X.ConvTranspose2d(Tensor.Ones([4, 2, 3, 3]), stride: 2, outputPadding: 2), () => X.MaxPool2d(2, padding: 2),
        () => X.MaxPool2d(0), () => X.AvgPool2d(2, divisorOverride: 0), () => X.AdaptiveMaxPool2d(-1),
    };

    [Theory, MemberData(nameof(Misfits))]
    public void Shapes_that_do_not_fit_are_named(string part, Func<Tensor> call) =>
        Assert.Contains(part, Assert.Throws<ShapeException>(() => call()).Message, StringComparison.Ordinal);

    [Theory, MemberData(nameof(WrongNumbers))]
    public void Steps_and_sizes_out_of_range_are_refused(Func<Tensor> call) => Assert.Throws<ArgumentOutOfRangeException>(() => call());

    [Fact]
    public void Other_types_and_mixed_types_are_refused()
    {
        Assert.Throws<ElementTypeException>(() => X.Conv2d(Tensor.Ones([3, 4, 3, 3], type: ElementType.Float64)));
        Assert.Throws<ElementTypeException>(() => Tensor.Ones([1, 1, 4, 4], type: ElementType.Int32).MaxPool2d(2));
    }

    /// <summary>Each gradient is one launch or a few; what needs none launches nothing.</summary>
    [Fact]
    public void Nothing_is_computed_for_what_needs_no_gradient()
    {
        // A device of its own: other tests launch on the shared one.
        using var device = Device.Open(DeviceKind.Cpu);
        long both = Launches(true, true), weight = Launches(false, true), input = Launches(true, false);
        Assert.True(weight < both, $"{weight} launches for the weight alone, {both} for both");
        Assert.True(input < both, $"{input} launches for the input alone, {both} for both");
        Assert.Equal(0, Launches(false, false));

        long Launches(bool input, bool weight)
        {
            Tensor x = Tensor.Ones([2, 4, 9, 9], device), w = Tensor.Ones([8, 4, 3, 3], device);
            (x.RequiresGrad, w.RequiresGrad) = (input, weight);
            var y = x.Conv2d(w, padding: 1);
            if (!y.RequiresGrad)
                return 0;
            var g = Tensor.Ones(y.Shape, device);
            long before = device.Compute.Launches;
            y.Backward(g);
            Assert.Equal(input, x.Grad is not null);
            Assert.Equal(weight, w.Grad is not null);
            return device.Compute.Launches - before;
        }
    }

    [Fact]
    public void A_frozen_convolution_keeps_neither_its_input_nor_its_output()
    {
        using var x = Tensor.Ones([2, 4, 9, 9]);
        using var y = x.Conv2d(Tensor.Ones([8, 4, 3, 3]), padding: 1);
        Assert.False(y.RequiresGrad);
        Assert.Null(y.Edge);
    }
}
