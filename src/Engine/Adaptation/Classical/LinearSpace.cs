namespace TransferEngine.Adaptation;

/// <summary>Both domains moved by affine maps, (x - μ) W + b, each by its own.</summary>
internal sealed class LinearSpace : IAlignedSpace
{
    private readonly string name;
    private readonly AffineMap source, target;

    private LinearSpace(string name, AffineMap source, AffineMap target) => (this.name, this.source, this.target) = (name, source, target);

    /// <summary>Each domain by its own map.</summary>
    public static LinearSpace Of(string name, AffineMap source, AffineMap target) => new(name, source.KeepAlive(), target.KeepAlive());

    /// <summary>Both by one map: (x - μ) W.</summary>
    public static LinearSpace Same(string name, Tensor? mean, Tensor weight)
    {
        var map = new AffineMap(mean, weight).KeepAlive();
        return new(name, map, map);
    }

    public Tensor Source(Tensor rows) => source.Apply(name, rows);

    public Tensor Target(Tensor rows) => target.Apply(name, rows);
}

/// <summary>(x - μ) W + b, a part that is null left out; then, where wanted, each row at length 1.</summary>
internal sealed record AffineMap(Tensor? Mean, Tensor Weight, Tensor? Bias = null, bool UnitRows = false)
{
    public AffineMap KeepAlive()
    {
        Mean?.KeepAlive();
        Weight.KeepAlive();
        Bias?.KeepAlive();
        return this;
    }

    public Tensor Apply(string name, Tensor rows)
    {
        ArgumentNullException.ThrowIfNull(rows);
        Check.Alike(name, rows, Weight);
        Check.That(rows.Rank == 2 && rows.Shape[1] == Weight.Shape[0], $"{name}: rows {rows.Shape}; it was fitted on rows of {Weight.Shape[0]} features, [k, {Weight.Shape[0]}].");
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var y = (Mean is null ? rows : rows - Mean).MatMul(Weight);
        if (Bias is not null)
            y += Bias;
        return scope.Keep(UnitRows ? FeatureScaling.UnitRows(y) : y);
    }
}
