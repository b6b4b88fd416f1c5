using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Elementary functions, element by element. NaN passes through all of them.</summary>
public sealed partial class Tensor
{
    /// <summary>Raises e to each element.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g e^x.</remarks>
    public Tensor Exp() => Unary("Exp", default(Exp), static (g, y) => g * y);

    /// <summary>Raises e to each element and subtracts 1, exactly near 0.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g e^x.</remarks>
    public Tensor Expm1() => Unary("Expm1", default(Expm1), static (g, y) => g * (y + 1));

    /// <summary>Takes the natural logarithm: -infinity at 0, NaN below.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g / x.</remarks>
    public Tensor Log() => Unary("Log", default(Log), static (g, x) => g / x);

    /// <summary>Takes the natural logarithm of 1 + x, exactly near 0: -infinity at -1, NaN below.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g / (1 + x).</remarks>
    public Tensor Log1p() => Unary("Log1p", default(Log1p), static (g, x) => g / (x + 1));

    /// <summary>Takes the square root: NaN below 0.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g / (2 √x), infinite at 0.</remarks>
    public Tensor Sqrt() => Unary("Sqrt", default(Sqrt), static (g, y) => g / (y * 2));

    /// <summary>Takes 1 / √x: infinite at 0, NaN below.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: -g x^(-3/2) / 2.</remarks>
    public Tensor Rsqrt() => Unary("Rsqrt", default(Rsqrt), static (g, y) => g * y * y * y * -0.5);

    /// <summary>Squares each element.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: 2 g x.</remarks>
    public Tensor Square() => Unary("Square", default(Square), static (g, x) => g * x * 2);

    /// <summary>Takes 1 / x.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: -g / x².</remarks>
    public Tensor Reciprocal() => 1.0 / this;

    /// <summary>Takes the magnitude.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g times the sign of x; 0 at 0, as PyTorch's.</remarks>
    public Tensor Abs() => Unary("Abs", default(Abs), static (g, x) => g * x.Sign());

    /// <summary>Takes the sine of angles in radians.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g cos x.</remarks>
    public Tensor Sin() => Unary("Sin", default(Sine), static (g, x) => g * x.Cos());

    /// <summary>Takes the cosine of angles in radians.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: -g sin x.</remarks>
    public Tensor Cos() => Unary("Cos", default(Cosine), static (g, x) => -(g * x.Sin()));

    /// <summary>Takes the error function, 2/√π ∫₀ˣ e^(-t²) dt.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: g 2/√π e^(-x²).</remarks>
    public Tensor Erf() => Unary("Erf", default(ErrorFunction), static (g, x) => g * (-(x * x)).Exp() * 1.1283791670955126);

    /// <summary>Raises each element to a constant power.</summary>
    /// <param name="exponent">The power p.</param>
    /// <returns>The same shape.</returns>
    /// <remarks>A negative element has integer powers only, elsewhere NaN; the power 0 is 1 everywhere, also of NaN. Gradient: g p x^(p-1); 0 everywhere for p = 0.</remarks>
    public Tensor Pow(double exponent) => Unary("Pow", new Power(exponent), (g, x) => exponent == 0 ? g * 0 : g * x.Pow(exponent - 1) * exponent);

    /// <summary>Raises each element to the power that the other tensor holds for it; shapes broadcast.</summary>
    /// <param name="exponent">The powers.</param>
    /// <returns>The broadcast shape.</returns>
    /// <remarks>Gradients: g b a^(b-1) for the base, taken as 0 where a and b are 0, as PyTorch's; g a^b log a for the power, with the logarithm taken as 0 where a is 0.</remarks>
    public Tensor Pow(Tensor exponent) => Binary("Pow", default(PowerOf), this, exponent, [this, exponent], static (g, c, sa, sb) =>
    [
        c.Needs(0) ? (g * c[1] * c[0].Pow(c[1] - 1 + c[0].Equal(0) * c[1].Equal(0))).SumTo(sa) : null,
        c.Needs(1) ? (g * c[0].Pow(c[1]) * Where(c[0].Equal(0), Zeros(sa, g.Device, g.ElementType), Where(c[0].Equal(0), c[0] + 1, c[0]).Log())).SumTo(sb) : null,
    ]);

    /// <summary>Takes the sign: -1, 0 or 1.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: 0 everywhere, so none is recorded.</remarks>
    public Tensor Sign() => Mask("Sign", default(Sign));

    /// <summary>Rounds down to an integer.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: 0 everywhere, so none is recorded.</remarks>
    public Tensor Floor() => Mask("Floor", default(Floor));

    /// <summary>Rounds up to an integer.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: 0 everywhere, so none is recorded.</remarks>
    public Tensor Ceiling() => Mask("Ceiling", default(Ceiling));

    /// <summary>Rounds to the nearest integer, halves to the even one.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: 0 everywhere, so none is recorded.</remarks>
    public Tensor Round() => Mask("Round", default(Round));
}
