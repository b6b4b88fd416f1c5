namespace TransferEngine.Adaptation;

/// <summary>Σ_u w_u exp(-‖x - y‖² / (f_u b)); for a kernel of width σ the bandwidth f b is 2σ². Gretton et al., JMLR 13 (2012).</summary>
public sealed class GaussianKernel : RadialKernel
{
    /// <param name="factors">What the base bandwidth is multiplied by; ¼, ½, 1, 2, 4 if null. One factor gives a plain Gaussian.</param>
    /// <param name="bandwidth">The base b; by the rule if null.</param>
    /// <param name="rule">Where the base is taken from if none is given.</param>
    /// <param name="weights">What the kernels weigh; equal and of sum 1 if null.</param>
    /// <inheritdoc cref="RadialKernel(IReadOnlyList{double}, double?, BandwidthRule, IReadOnlyList{double}?)"/>
    public GaussianKernel(
        IReadOnlyList<double>? factors = null, double? bandwidth = null, BandwidthRule rule = BandwidthRule.Mean, IReadOnlyList<double>? weights = null)
        : base(factors ?? [0.25, 0.5, 1, 2, 4], bandwidth, rule, weights)
    {
    }

    /// <summary>DeepDA's: the sum, not the mean, of five Gaussians exp(-‖x - y‖² / (2^i b / 4)), i = 0..4, b the mean over pairs of different rows.</summary>
    public static GaussianKernel DeepDa() => new(weights: [1, 1, 1, 1, 1]);

    /// <summary>tllib's: the sum of five Gaussians exp(-‖x - y‖² / (2 · 2^k b)), k = -3..1, b the mean over all pairs with the diagonal.</summary>
    public static GaussianKernel Tllib() => new(rule: BandwidthRule.MeanWithDiagonal, weights: [1, 1, 1, 1, 1]);

    /// <summary>pytorch-adapt's: the mean over scales s of exp(-s ‖x - y‖² / b), b the median over the source's pairs with the diagonal.</summary>
    /// <param name="scales">The scales s; 1 if null. Its get_kernel_scales gives 2^-8, 2^-7.5, ..., 2^8.</param>
    public static GaussianKernel PytorchAdapt(IReadOnlyList<double>? scales = null) => new([.. (scales ?? [1]).Select(scale => 1 / scale)], rule: BandwidthRule.SourceMedian);

    /// <summary>DomainBed's: the sum of exp(-γ ‖x - y‖²), γ = 0.001, 0.01, ..., 1000.</summary>
    public static GaussianKernel DomainBed() => new([1e3, 1e2, 1e1, 1, 1e-1, 1e-2, 1e-3], bandwidth: 1, weights: [1, 1, 1, 1, 1, 1, 1]);

    /// <summary>The weight that all kernels have; null where they differ.</summary>
    internal double? CommonWeight => Weights.All(weight => weight == Weights[0]) ? Weights[0] : null;

    /// <inheritdoc/>
    protected override Tensor Of(Tensor squaredDistances, Tensor bandwidths)
    {
        ArgumentNullException.ThrowIfNull(squaredDistances);
        return CommonWeight is { } weight ? squaredDistances.GaussianKernel(bandwidths) * weight : Mixture(bandwidths, (bandwidth, _) => squaredDistances.GaussianKernel(bandwidth));
    }
}

/// <summary>Σ_u w_u exp(-‖x - y‖ / √(f_u b)): heavier tails than Gaussians, a kink at 0, where the gradient is taken as 0.</summary>
public sealed class LaplacianKernel : RadialKernel
{
    /// <param name="factors">What the base bandwidth, a squared length, is multiplied by; 1 if null.</param>
    /// <param name="bandwidth">The base b; by the rule if null.</param>
    /// <param name="rule">Where the base is taken from if none is given.</param>
    /// <param name="weights">What the kernels weigh; equal and of sum 1 if null.</param>
    /// <inheritdoc cref="RadialKernel(IReadOnlyList{double}, double?, BandwidthRule, IReadOnlyList{double}?)"/>
    public LaplacianKernel(
        IReadOnlyList<double>? factors = null, double? bandwidth = null, BandwidthRule rule = BandwidthRule.Mean, IReadOnlyList<double>? weights = null)
        : base(factors ?? [1], bandwidth, rule, weights)
    {
    }

    /// <summary>
    /// skada's, which it names Gaussian: the sum of 33 kernels exp(-‖x - y‖ / (2^(-8 + k/2) m)), k = 0..32, m the median distance over the source's pairs
    /// with the diagonal.
    /// </summary>
    public static LaplacianKernel Skada() => new([.. Enumerable.Range(0, 33).Select(k => Math.Pow(2, k - 16))], rule: BandwidthRule.SourceMedian, weights: [.. Enumerable.Repeat(1.0, 33)]);

    /// <inheritdoc/>
    protected override Tensor Of(Tensor squaredDistances, Tensor bandwidths)
    {
        ArgumentNullException.ThrowIfNull(bandwidths);
        var distances = Root(squaredDistances);
        var rates = bandwidths.Sqrt();
        return Mixture(rates, (length, _) => (-(distances / length)).Exp());
    }
}

/// <summary>Σ_u w_u (1 + ‖x - y‖² / (2 α_u b))^(-α_u), a Gaussian mixture over all widths. Its tails are so heavy that far samples still pull.</summary>
/// <remarks>Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 3, there with b = 1 and the sum in place of the mean.</remarks>
public sealed class RationalQuadraticKernel : RadialKernel
{
    private readonly double[] exponents;

    /// <param name="exponents">The α; 0.2, 0.5, 1, 2, 5 if null.</param>
    /// <param name="bandwidth">The base b, a squared length; by the rule if null.</param>
    /// <param name="rule">Where the base is taken from if none is given.</param>
    /// <param name="weights">What the kernels weigh; equal and of sum 1 if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">An exponent or the bandwidth is not positive, or a weight is negative.</exception>
    public RationalQuadraticKernel(
        IReadOnlyList<double>? exponents = null, double? bandwidth = 1, BandwidthRule rule = BandwidthRule.Mean, IReadOnlyList<double>? weights = null)
        : base([.. (exponents ?? [0.2, 0.5, 1, 2, 5]).Select(alpha => 2 * alpha)], bandwidth, rule, weights) => this.exponents = [.. exponents ?? [0.2, 0.5, 1, 2, 5]];

    /// <inheritdoc/>
    protected override Tensor Of(Tensor squaredDistances, Tensor bandwidths) => Mixture(bandwidths, (scale, u) => (squaredDistances / scale + 1).Pow(-exponents[u]));
}

/// <summary>-‖x - y‖^β: the kernel under which the squared MMD is the energy distance 2 E‖s - t‖^β - E‖s - s'‖^β - E‖t - t'‖^β. It has no bandwidth.</summary>
/// <remarks>Székely and Rizzo 2013; Sejdinovic et al., Annals of Statistics 41 (2013), for the equivalence. The gradient at distance 0 is taken as 0.</remarks>
public sealed class EnergyKernel : RadialKernel
{
    private readonly double exponent;

    /// <param name="exponent">β, above 0 and below 2.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not between 0 and 2.</exception>
    public EnergyKernel(double exponent = 1)
        : base([1], 1, BandwidthRule.Mean, null)
    {
        if (exponent is not (> 0 and < 2))
            throw new ArgumentOutOfRangeException(nameof(exponent), exponent, "EnergyKernel: the exponent is between 0 and 2; at 2 only means are compared.");
        this.exponent = exponent;
    }

    /// <inheritdoc/>
    protected override Tensor Of(Tensor squaredDistances, Tensor bandwidths)
    {
        ArgumentNullException.ThrowIfNull(squaredDistances);
        if (exponent == 1)
            return -Root(squaredDistances);
        var isZero = squaredDistances.Equal(0);
        return -Tensor.Where(isZero, isZero * 0, (squaredDistances + isZero).Pow(exponent / 2));
    }
}
