using TransferEngine.Training;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class LinearProbeTests
{
    /// <summary>Three clouds of points; the axes have very different scales, and one is constant.</summary>
    private static (Tensor Features, Tensor Labels) Clouds(int rows = 90)
    {
        var draw = new Random(5);
        var x = new float[rows * 4];
        var y = new int[rows];
        for (int i = 0; i < rows; i++)
        {
            y[i] = i % 3;
            x[i * 4] = (y[i] == 0 ? 3 : 0) + draw.NextSingle();
            x[i * 4 + 1] = ((y[i] == 1 ? 3 : 0) + draw.NextSingle()) * 1000;
            x[i * 4 + 2] = draw.NextSingle() * 0.01f;
            x[i * 4 + 3] = 7;
        }
        return (Tensor.From(x, [rows, 4]), Tensor.From(y));
    }

    [Fact]
    public void Separates_What_Is_Separable_The_Same_Way_Each_Time()
    {
        var (x, y) = Clouds();
        var steps = new List<double>();
        var head = LinearProbe.Fit(x, y, 3, progress: new Steps(steps));
        Assert.Equal(1, Accuracy.Of(head.Forward(x), y));
        Assert.Equal(steps.OrderDescending(), steps);
        var again = LinearProbe.Fit(x, y, 3);
        Assert.Equal(head.Weight.ToArray<float>(), again.Weight.ToArray<float>());
        Assert.Equal(head.Bias!.ToArray<float>(), again.Bias!.ToArray<float>());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Ends_Where_The_Gradient_Is_Zero(bool standardize)
    {
        var (features, y) = Clouds();
        var x = Tensor.From(Array.ConvertAll(features.ToArray<float>(), value => (double)value), features.Shape) * Tensor.From([1.0, 1e-3, 1, 1]);
        const double decay = 0.05;
        var head = LinearProbe.Fit(x, y, 3, new() { WeightDecay = decay, Tolerance = 1e-9, MaxIterations = 1000, Standardize = standardize });
        var gradients = Tensor.Gradients(head.Forward(x).CrossEntropy(y), [head.Weight, head.Bias!]);
        Assert.All(gradients[1].ToArray<double>(), g => Assert.InRange(Math.Abs(g), 0, 1e-7));
        if (!standardize)
            Assert.All((gradients[0] + head.Weight * decay).ToArray<double>(), g => Assert.InRange(Math.Abs(g), 0, 1e-7));
    }

    [Fact]
    public void Mistakes_Are_Named()
    {
        var (x, y) = Clouds();
        Assert.Contains("label 2", Assert.Throws<ShapeException>(() => LinearProbe.Fit(x, y, 2)).Message);
        Assert.Throws<ShapeException>(() => LinearProbe.Fit(x, Tensor.From([1]), 2));
        Assert.Throws<OperationCanceledException>(() => LinearProbe.Fit(x, y, 3, cancellation: new(true)));
    }

    private sealed class Steps(List<double> seen) : IProgress<LinearProbeProgress>
    {
        public void Report(LinearProbeProgress value) => seen.Add(value.Loss);
    }
}
