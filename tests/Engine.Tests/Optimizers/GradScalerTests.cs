using TransferEngine.Tests;
using Xunit;

namespace TransferEngine.Engine.Tests.Optimizers;

public sealed class GradScalerTests
{
    private static (Tensor Weight, Sgd Optimizer) Setup(float value = 1)
    {
        var weight = Tensor.From([value, value]);
        weight.RequiresGrad = true;
        return (weight, new Sgd([weight], 0.5));
    }

    private static bool Iterate(GradScaler scaler, Tensor weight, Optimizer optimizer, float slope)
    {
        scaler.Scale((weight * Tensor.From([slope, 1])).Sum()).Backward();
        bool taken = scaler.Step(optimizer);
        scaler.Update();
        optimizer.ZeroGrad();
        return taken;
    }

    [Fact]
    public void It_Starts_As_PyTorchs()
    {
        var scaler = new GradScaler();
        Assert.Equal(65536, scaler.CurrentScale);
        Assert.Equal(65536 * 3.0, scaler.Scale(Tensor.Scalar(3f)).Item());
        var (weight, optimizer) = Setup();
        for (int i = 0; i < 1999; i++)
            Assert.True(Iterate(scaler, weight, optimizer, 0));
        Assert.Equal(65536, scaler.CurrentScale);
        Iterate(scaler, weight, optimizer, 0);
        Assert.Equal(131072, scaler.CurrentScale);
        Iterate(scaler, weight, optimizer, float.NaN);
        Assert.Equal(65536, scaler.CurrentScale);
    }

    [Theory, InlineData(float.PositiveInfinity), InlineData(float.NegativeInfinity), InlineData(float.NaN)]
    public void A_Step_With_An_Infinite_Gradient_Is_Left_Out_And_The_Scale_Falls(float wrong)
    {
        var scaler = new GradScaler(1024, 4, 0.25, 2);
        var (weight, optimizer) = Setup();
        Assert.True(Iterate(scaler, weight, optimizer, 1));
        Assert.Equal([0.5f, 0.5f], weight.ToArray<float>());
        Assert.False(Iterate(scaler, weight, optimizer, wrong));
        Assert.Equal([0.5f, 0.5f], weight.ToArray<float>());
        Assert.Equal((256, 1), (scaler.CurrentScale, scaler.SkippedSteps));
        Assert.True(Iterate(scaler, weight, optimizer, 1)); // the count of good steps begins anew
        Assert.Equal(256, scaler.CurrentScale);
        Assert.True(Iterate(scaler, weight, optimizer, 1));
        Assert.Equal(1024, scaler.CurrentScale);
        Assert.Equal([-0.5f, -0.5f], weight.ToArray<float>());
        // A gradient that only the scale takes past float32.
        Assert.False(Iterate(scaler, weight, optimizer, 1e37f));
        Assert.Equal(256, scaler.CurrentScale);
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Every_Element_Is_Divided_And_Looked_At(string machine)
    {
        var device = EngineDevices.Get(machine);
        foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
        {
            foreach (int size in machine == "direct" ? [1, 7, 16, 33, 70_000] : new[] { 1, 19 })
            {
                double[] values = [.. Enumerable.Range(0, size).Select(i => i - 3.0)];
                foreach (double wrong in new[] { double.NaN, double.PositiveInfinity, double.NegativeInfinity })
                {
                    foreach (int place in new[] { 0, size / 2, size - 1 })
                    {
                        double[] spoilt = [.. values];
                        spoilt[place] = wrong;
                        Assert.False(Unscaled(spoilt).IsFinite);
                    }
                }
                var (isFinite, got) = Unscaled(values);
                Assert.True(isFinite);
                Assert.Equal(values.Select(value => value / 8), got);

                (bool IsFinite, double[] Values) Unscaled(double[] gradient)
                {
                    using var scope = new TensorScope();
                    var weight = Tensor.Zeros([size], device, type);
                    weight.RequiresGrad = true;
                    weight.Grad = Tensor.FromDoubles(gradient, [size], device, type);
                    bool finite = new GradScaler(8).Unscale(new Sgd([weight], 1));
                    return (finite, weight.Grad.To(ElementType.Float64).ToArray<double>());
                }
            }
        }
    }

    [Fact]
    public void A_Gradient_That_Two_Parameters_Share_Or_That_Is_A_View_Is_Divided_Once()
    {
        var (a, b) = (Tensor.Zeros([3]), Tensor.Zeros([3]));
        (a.RequiresGrad, b.RequiresGrad) = (true, true);
        var scaler = new GradScaler(4);
        var optimizer = new Sgd([a, b], 1);
        scaler.Scale(((a + b) * Tensor.From([1f, 2, 3])).Sum()).Backward();
        scaler.Step(optimizer);
        scaler.Update();
        Assert.Equal([-1f, -2, -3], a.ToArray<float>());
        Assert.Equal([-1f, -2, -3], b.ToArray<float>());
        optimizer.ZeroGrad();
        scaler.Scale(a.Sum()).Backward(); // one number, repeated by strides of 0
        scaler.Step(optimizer);
        Assert.Equal([-2f, -3, -4], a.ToArray<float>());
    }

    [Fact]
    public void Several_Optimisers_Share_A_Scale_And_Only_The_Spoilt_One_Waits()
    {
        var scaler = new GradScaler(16);
        var ((a, first), (b, second)) = (Setup(), Setup());
        scaler.Scale((a + b * float.PositiveInfinity).Sum()).Backward();
        Assert.True(scaler.Unscale(first));
        Assert.True(scaler.Step(first));
        Assert.False(scaler.Step(second));
        scaler.Update();
        Assert.Equal(8, scaler.CurrentScale);
        Assert.Equal([0.5f, 0.5f], a.ToArray<float>());
        Assert.Equal([1f, 1f], b.ToArray<float>());
    }

    [Fact]
    public void Calls_Out_Of_Order_And_Wrong_Numbers_Are_Refused()
    {
        var scaler = new GradScaler();
        var (weight, optimizer) = Setup();
        Assert.Throws<InvalidOperationException>(scaler.Update);
        scaler.Scale(weight.Sum()).Backward();
        scaler.Unscale(optimizer);
        Assert.Throws<InvalidOperationException>(() => scaler.Unscale(optimizer));
        scaler.Step(optimizer);
        Assert.Throws<InvalidOperationException>(() => scaler.Step(optimizer));
        Assert.Equal([0.5f, 0.5f], weight.ToArray<float>());
        foreach (var make in new Action[] { () => _ = new GradScaler(0), () => _ = new GradScaler(double.NaN), () => _ = new GradScaler(growthFactor: 1), () => _ = new GradScaler(backoffFactor: 1), () => _ = new GradScaler(growthInterval: 0) })
            Assert.Throws<ArgumentOutOfRangeException>(make);
        var state = new GradScaler(4).StateDict().ToDictionary();
        Assert.Throws<ArgumentException>(() => scaler.LoadStateDict(new Dictionary<string, double>()));
        Assert.ThrowsAny<ArgumentException>(() => scaler.LoadStateDict(new Dictionary<string, double>(state) { ["scale"] = -1 }));
        Assert.ThrowsAny<ArgumentException>(() => scaler.LoadStateDict(new Dictionary<string, double>(state) { ["growth_tracker"] = double.NaN }));
        Assert.Equal(65536, scaler.CurrentScale);
        scaler.LoadStateDict(state);
        Assert.Equal(8, scaler.Scale(Tensor.Scalar(2f)).Item());
    }

    [Fact]
    public void The_Scale_Stays_A_Number_Of_Float32()
    {
        var scaler = new GradScaler(1e38, growthFactor: 10, growthInterval: 1);
        var (weight, optimizer) = Setup();
        Iterate(scaler, weight, optimizer, 0);
        Assert.Equal(1e38, scaler.CurrentScale);
    }
}
