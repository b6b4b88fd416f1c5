namespace TransferEngine.Adaptation;

/// <summary>
/// (γ x·y + c)^p: under it the squared MMD compares moments up to order p, all of them for c above 0, and those of order p alone for c = 0.
/// </summary>
/// <remarks>The defaults, γ = 1/d, c = 1 and p = 3, are those of the kernel inception distance: Bińkowski et al., ICLR 2018, section 4.</remarks>
public sealed class PolynomialKernel : SampleKernel
{
    private readonly int degree;
    private readonly double? scale;
    private readonly double offset;

    /// <param name="degree">p, 1 or more.</param>
    /// <param name="scale">γ; 1/d if null.</param>
    /// <param name="offset">c, 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public PolynomialKernel(int degree = 3, double? scale = null, double offset = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(degree, 1);
        if (!(offset >= 0))
            throw new ArgumentOutOfRangeException(nameof(offset), offset, "PolynomialKernel: the offset is 0 or more.");
        if (scale is { } given && !(given > 0))
            throw new ArgumentOutOfRangeException(nameof(scale), given, "PolynomialKernel: the scale is positive.");
        (this.degree, this.scale, this.offset) = (degree, scale, offset);
    }

    /// <inheritdoc/>
    public override Tensor Matrix(Tensor points, int sourceRows)
    {
        ArgumentNullException.ThrowIfNull(points);
        return Of(points.MatMulInFull(points.Transpose()), points.Shape[1]);
    }

    /// <inheritdoc/>
    public override Tensor Paired(Tensor left, Tensor right, Tensor points, int sourceRows)
    {
        ArgumentNullException.ThrowIfNull(left);
        return Of((left * right).Sum([1]), left.Shape[1]);
    }

    internal override Func<Tensor, Tensor> Against(Tensor points, int sourceRows)
    {
        points.KeepAlive();
        return rows => Of(rows.MatMulInFull(points.Transpose()), rows.Shape[1]);
    }

    /// <summary>Powers by products, which are exact for negative bases too.</summary>
    private Tensor Of(Tensor products, int dimensions)
    {
        var x = products * (scale ?? 1.0 / Math.Max(1, dimensions)) + offset;
        var y = x;
        for (int i = 1; i < degree; i++)
            y *= x;
        return y;
    }
}
