using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Activation functions, element by element. NaN passes through all of them.</summary>
public sealed partial class Tensor
{
    /// <summary>Cuts negative elements to zero: max(x, 0).</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g where x &gt; 0; 0 at x = 0, as PyTorch's.</remarks>
    public Tensor Relu() => Activated("Relu", default(Relu), static (g, y) => g * y.Greater(0));

    /// <summary>Scales negative elements.</summary>
    /// <param name="slope">What negative elements are multiplied by.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g where x &gt; 0, elsewhere g times the slope; the slope at 0.</remarks>
    public Tensor LeakyRelu(double slope = 0.01) => Activated("LeakyRelu", new LeakyRelu(slope), (g, x) => g * (x.Greater(0) * (1 - slope) + slope));

    /// <summary>Bends negative elements to alpha (e^x - 1).</summary>
    /// <param name="alpha">Minus the limit at -infinity.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Clevert et al., ICLR 2016. Gradient: g where x &gt; 0, elsewhere g alpha e^x.</remarks>
    public Tensor Elu(double alpha = 1) => Activated("Elu", new Elu(alpha), (g, x) => g * Where(x.Greater(0), x * 0 + 1, x.Clamp(double.NegativeInfinity, 0).Exp() * alpha));

    /// <summary>Takes 1 / (1 + e^-x).</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g y (1 - y).</remarks>
    public Tensor Sigmoid() => Unary("Sigmoid", default(Sigmoid), static (g, y) => g * y * (1 - y));

    /// <summary>Takes the logarithm of the sigmoid, without overflow.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g / (1 + e^x).</remarks>
    public Tensor LogSigmoid() => Unary("LogSigmoid", default(LogSigmoid), static (g, x) => g * (-x).Sigmoid());

    /// <summary>Takes the hyperbolic tangent.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g (1 - y²).</remarks>
    public Tensor Tanh() => Activated("Tanh", default(Tanh), static (g, y) => g * (1 - y * y));

    /// <summary>Multiplies each element by its sigmoid (also called swish).</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Elfwing et al. 2018. Gradient: g s (1 + x (1 - s)), s the sigmoid.</remarks>
    public Tensor Silu() => Activated("Silu", default(Silu), static (g, x) => g * (x.Sigmoid() + x * x.Sigmoid() * (1 - x.Sigmoid())));

    /// <summary>Multiplies each element by the standard normal distribution at it: x Φ(x).</summary>
    /// <param name="approximate">Takes ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) instead, PyTorch's approximate="tanh".</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Hendrycks and Gimpel 2016. Gradient: g (Φ(x) + x φ(x)).</remarks>
    public Tensor Gelu(bool approximate = false) => approximate
        ? Activated("Gelu", default(GeluTanh), static (g, x) => g * GeluTanhDerivative(x))
        : Activated("Gelu", default(Gelu), static (g, x) => g * (((x * Math.Sqrt(0.5)).Erf() + 1) * 0.5 + x * (x * x * -0.5).Exp() * 0.39894228040143268));

    /// <summary>Takes log(1 + e^(beta x)) / beta, and x itself where beta x is past the threshold.</summary>
    /// <param name="beta">How sharp the bend is.</param>
    /// <param name="threshold">Where the function is taken for linear.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g times the sigmoid of beta x.</remarks>
    public Tensor Softplus(double beta = 1, double threshold = 20) => Unary("Softplus", new Softplus(beta, threshold), (g, x) => g * Where((x * beta).Greater(threshold), x * 0 + 1, (x * beta).Sigmoid()));

    /// <summary>Cuts elements to a range.</summary>
    /// <param name="low">The lower bound; may be -infinity.</param>
    /// <param name="high">The upper bound; may be infinity.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g inside the range and at its bounds, 0 outside.</remarks>
    public Tensor Clamp(double low, double high) => Unary("Clamp", new Clamp(low, high), (g, x) => g * x.GreaterOrEqual(low) * x.LessOrEqual(high));

    /// <summary>Cuts elements to a range, as an activation.</summary>
    /// <param name="low">The lower bound.</param>
    /// <param name="high">The upper bound.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g inside the range, 0 at its bounds and outside.</remarks>
    public Tensor HardTanh(double low = -1, double high = 1) => Activated("HardTanh", new HardTanh(low, high), (g, x) => g * x.Greater(low) * x.Less(high));

    /// <summary>Cuts elements to the range from 0 to 6.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g inside the range, 0 at its bounds and outside.</remarks>
    public Tensor Relu6() => HardTanh(0, 6);

    /// <summary>Takes min(max(x + 3, 0), 6) / 6.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g / 6 between -3 and 3, elsewhere 0.</remarks>
    public Tensor HardSigmoid() => Activated("HardSigmoid", default(HardSigmoid), static (g, x) => g * x.Greater(-3) * x.Less(3) / 6);

    /// <summary>Multiplies each element by its hard sigmoid.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Howard et al., ICCV 2019. Gradient: g (2x + 3) / 6 between -3 and 3, 0 below, g above.</remarks>
    public Tensor HardSwish() => Activated("HardSwish", default(HardSwish), static (g, x) => g * Where(x.Greater(3), x * 0 + 1, x.GreaterOrEqual(-3) * (x / 3 + 0.5)));

    private static Tensor GeluTanhDerivative(Tensor x)
    {
        const double Scale = 0.79788456080286536, Cubic = 0.044715;
        var t = (x * (x * x * Cubic + 1) * Scale).Tanh();
        return (t + 1 + x * (1 - t * t) * (x * x * (3 * Cubic) + 1) * Scale) * 0.5;
    }
}
