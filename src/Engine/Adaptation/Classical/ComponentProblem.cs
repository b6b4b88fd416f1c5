namespace TransferEngine.Adaptation;

/// <summary>
/// The problem that TCA, JDA and BDA share: components W that keep the variance of both domains' rows R, features or kernel rows, and bring the domains' means together,
/// max tr(Wᵀ Rᵀ H R W) under Wᵀ (Rᵀ M R + λ I) W = I, with M = E Eᵀ of <see cref="PseudoLabels.MeanDifferences"/>.
/// </summary>
internal sealed class ComponentProblem
{
    private readonly string name;
    private readonly ComponentSettings settings;
    private readonly DomainFeatures data;
    private readonly Tensor rows, variance;
    private readonly Func<Tensor, Tensor>? kernel;

    public ComponentProblem(string name, ComponentSettings settings, DomainFeatures data)
    {
        (this.name, this.settings, this.data) = (name, settings, data);
        var points = Tensor.Concat([data.Source.Detach(), data.Target.Detach()]);
        kernel = settings.Kernel?.Against(points, data.Source.Shape[0]);
        rows = (kernel is null ? points : kernel(points)).To(ElementType.Float64);
        int most = Math.Min(rows.Shape[1], points.Shape[0] - 1);
        Check.That(settings.Dimensions <= most, $"{name}: {settings.Dimensions} components are wanted of source {data.Source.Shape} and target {data.Target.Shape}; there are at most {most}. Ask for fewer Dimensions.");
        var centred = rows - rows.Mean([0], keepDim: true);
        variance = centred.Transpose().MatMul(centred);
    }

    /// <summary>The components for weights of the marginal and the conditional terms.</summary>
    public IAlignedSpace Solve(double marginal, double conditional = 0, int[]? pseudo = null)
    {
        using var scope = new TensorScope();
        var means = rows.Transpose().MatMul(PseudoLabels.MeanDifferences(data, marginal, conditional, pseudo, settings.NormalizeDiscrepancy));
        var cost = means.MatMul(means.Transpose()) + settings.Regularization * Eigenproblem.Identity(rows.Shape[1], rows.Device);
        var (values, vectors) = Eigenproblem.Generalized(name, variance, cost, settings.Dimensions);
        double[] spread = values.ToArray<double>();
        Check.That(spread[^1] > 1e-12 * spread[0], $"{name}: the rows vary in fewer than the {settings.Dimensions} components that are wanted. Ask for fewer Dimensions.");
        vectors /= settings.Scale == ComponentScale.Constraint ? values.Sqrt() : vectors.Square().Sum([0], keepDim: true).Sqrt();
        return new Space(name, kernel, new(null, scope.Keep(vectors.To(data.Source.ElementType)).KeepAlive(), UnitRows: settings.UnitRows));
    }

    private sealed class Space(string name, Func<Tensor, Tensor>? kernel, AffineMap map) : IAlignedSpace
    {
        public Tensor Source(Tensor rows)
        {
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            return scope.Keep(map.Apply(name, kernel?.Invoke(rows) ?? rows));
        }

        public Tensor Target(Tensor rows) => Source(rows);
    }
}
