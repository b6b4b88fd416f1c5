namespace TransferEngine.Modules;

/// <summary>
/// Fills parameters with first values, in place and outside any graph. The fans of a weight [outputs, inputs, window...] are inputs and
/// outputs times the window's places, as in PyTorch.
/// </summary>
public static class Initialization
{
    /// <summary>The gain before a ReLU, √2, or before a leaky one, √(2 / (1 + slope²)) (He et al., ICCV 2015).</summary>
    /// <param name="slope">Of the negative side.</param>
    public static double ReluGain(double slope = 0) => Math.Sqrt(2 / (1 + slope * slope));

    /// <summary>The products of the sizes that go in and out of one unit.</summary>
    /// <param name="weight">[outputs, inputs] or [outputs, inputs, window...].</param>
    /// <exception cref="ShapeException">There are fewer than two axes.</exception>
    public static (int In, int Out) Fans(Shape weight)
    {
        Check.That(weight.Rank >= 2, $"Initialization: {weight} has {weight.Rank} axes; fans need [outputs, inputs, ...]. Use Uniform, Normal or Constant.");
        int window = weight.Elements == 0 ? 0 : weight.Elements / (weight[0] * weight[1]);
        return (weight[1] * window, weight[0] * window);
    }

    /// <summary>Sets every element to one value.</summary>
    /// <param name="tensor">What is filled.</param>
    /// <param name="value">The value.</param>
    /// <returns>The tensor.</returns>
    public static Tensor Constant(Tensor tensor, double value) => Fill(tensor, like => Tensor.Full(like.Shape, value, like.Device, like.ElementType));

    /// <summary>Draws from the interval [low, high).</summary>
    /// <param name="tensor">What is filled.</param>
    /// <param name="low">The lower bound.</param>
    /// <param name="high">The upper bound.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <returns>The tensor.</returns>
    public static Tensor Uniform(Tensor tensor, double low, double high, Generator? generator = null) =>
        Fill(tensor, like => Tensor.Uniform(like.Shape, low, high, generator, like.Device, like.ElementType));

    /// <summary>Draws normal numbers.</summary>
    /// <param name="tensor">What is filled.</param>
    /// <param name="mean">The mean.</param>
    /// <param name="deviation">The standard deviation.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <returns>The tensor.</returns>
    public static Tensor Normal(Tensor tensor, double mean = 0, double deviation = 1, Generator? generator = null) =>
        Fill(tensor, like => Tensor.Normal(like.Shape, mean, deviation, generator, like.Device, like.ElementType));

    /// <summary>Uniform within gain √(6 / (fan in + fan out)) (Glorot and Bengio, AISTATS 2010).</summary>
    /// <param name="weight">[outputs, inputs, window...].</param>
    /// <param name="gain">Of the function that follows.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <returns>The weight.</returns>
    public static Tensor XavierUniform(Tensor weight, double gain = 1, Generator? generator = null) => Within(weight, Math.Sqrt(3) * XavierDeviation(weight, gain), generator);

    /// <summary>Normal with standard deviation gain √(2 / (fan in + fan out)) (Glorot and Bengio, AISTATS 2010).</summary>
    /// <inheritdoc cref="XavierUniform"/>
    public static Tensor XavierNormal(Tensor weight, double gain = 1, Generator? generator = null) => Normal(weight, 0, XavierDeviation(weight, gain), generator);

    /// <summary>Uniform within gain √(3 / fan) (He et al., ICCV 2015).</summary>
    /// <param name="weight">[outputs, inputs, window...].</param>
    /// <param name="gain">Of the function that follows; that of <see cref="ReluGain"/> if null. PyTorch's default of Linear and Conv2d is that of the slope √5.</param>
    /// <param name="fanOut">Whether to keep the variance of gradients rather than that of outputs.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <returns>The weight.</returns>
    public static Tensor KaimingUniform(Tensor weight, double? gain = null, bool fanOut = false, Generator? generator = null) =>
        Within(weight, Math.Sqrt(3) * KaimingDeviation(weight, gain, fanOut), generator);

    /// <summary>Normal with standard deviation gain / √fan (He et al., ICCV 2015).</summary>
    /// <inheritdoc cref="KaimingUniform"/>
    public static Tensor KaimingNormal(Tensor weight, double? gain = null, bool fanOut = false, Generator? generator = null) =>
        Normal(weight, 0, KaimingDeviation(weight, gain, fanOut), generator);

    private static double XavierDeviation(Tensor weight, double gain)
    {
        var (fanIn, fanOut) = FansOf(weight);
        return gain * Math.Sqrt(2.0 / (fanIn + fanOut));
    }

    private static double KaimingDeviation(Tensor weight, double? gain, bool fanOut)
    {
        var fans = FansOf(weight);
        return (gain ?? ReluGain()) / Math.Sqrt(fanOut ? fans.Out : fans.In);
    }

    private static (int In, int Out) FansOf(Tensor weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        return Fans(weight.Shape);
    }

    private static Tensor Within(Tensor tensor, double bound, Generator? generator) => Uniform(tensor, -bound, bound, generator);

    private static Tensor Fill(Tensor tensor, Func<Tensor, Tensor> draw)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        using var values = draw(tensor);
        tensor.Assign(values);
        return tensor;
    }
}
