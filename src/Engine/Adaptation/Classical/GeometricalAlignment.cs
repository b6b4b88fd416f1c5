namespace TransferEngine.Adaptation;

/// <summary>How a <see cref="JointGeometricalStatisticalAlignment"/> is fitted.</summary>
public sealed record GeometricalAlignmentSettings
{
    /// <summary>k, the components of each domain.</summary>
    public int Dimensions { get; init; } = 30;

    /// <summary>λ, what the difference of the domains' projections costs.</summary>
    public double SubspaceWeight { get; init; } = 1;

    /// <summary>μ, what the target's variance gains.</summary>
    public double VarianceWeight { get; init; } = 1;

    /// <summary>β, what the scatter between the source's classes gains, and within them costs.</summary>
    public double ScatterWeight { get; init; } = 0.1;

    /// <summary>The most eigenproblems that are solved.</summary>
    public int Iterations { get; init; } = 10;

    /// <summary>Whether projected rows are brought to length 1.</summary>
    public bool UnitRows { get; init; }
}

/// <summary>
/// JGSA, joint geometrical and statistical alignment: a projection of each domain, A of the source and B of the target, that differ little, bring the domains' and the classes' means together, keep the
/// target's variance and the source's classes apart: max tr(Wᵀ diag(β S_b, μ S_t) W) / tr(Wᵀ [M_s + λI + β S_w, M_st - λI; M_ts - λI, M_t + (λ + μ) I] W) with W = [A; B].
/// </summary>
/// <remarks>
/// Zhang, Li and Ogunbona, Joint Geometrical and Statistical Alignment for Visual Domain Adaptation, CVPR 2017, equation 12. M is that of <see cref="JointDistributionAdaptation"/>, divided by its Frobenius
/// norm, with the target's pseudo-labels by the nearest neighbour; a term of 1e-9 keeps the denominator positive, and columns of W have length 1, as in the authors' code. Progress hears the share of the pseudo-labels that changed.
/// </remarks>
public sealed class JointGeometricalStatisticalAlignment : IFeatureAlignment
{
    private readonly GeometricalAlignmentSettings settings;
    private readonly IFeatureClassifier classifier;

    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="classifier">Predicts the pseudo-labels; the nearest neighbour if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public JointGeometricalStatisticalAlignment(GeometricalAlignmentSettings? settings = null, IFeatureClassifier? classifier = null)
    {
        (this.settings, this.classifier) = (settings ?? new(), classifier ?? new NearestNeighbors());
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Dimensions, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Iterations, 1);
        double[] weights = [this.settings.SubspaceWeight, this.settings.VarianceWeight, this.settings.ScatterWeight];
        if (!weights.All(weight => weight >= 0 && double.IsFinite(weight)) || !(this.settings.VarianceWeight > 0))
            throw new ArgumentOutOfRangeException(nameof(settings), string.Join(", ", weights), "JointGeometricalStatisticalAlignment: weights are 0 or more, the variance's above 0.");
    }

    /// <inheritdoc/>
    public string Name => "JGSA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are fewer features than dimensions.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        const string Name = nameof(JointGeometricalStatisticalAlignment);
        ArgumentNullException.ThrowIfNull(data);
        int d = data.Source.Shape[1], n = data.Source.Shape[0], m = data.Target.Shape[0];
        Check.That(settings.Dimensions <= d, $"{Name}: {settings.Dimensions} dimensions are wanted of {d} features. Take at most {d}.");
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        Tensor source = data.Source.Detach().To(ElementType.Float64), target = data.Target.Detach().To(ElementType.Float64), identity = Eigenproblem.Identity(d, source.Device);
        var (within, between) = Scatter(source, data.Labels, data.Classes);
        var centred = target - target.Mean([0], keepDim: true);
        var gain = Blocks(between * settings.ScatterWeight, identity * 0, centred.Transpose().MatMul(centred) * settings.VarianceWeight);
        double lambda = settings.SubspaceWeight;
        var cost = Blocks(within * settings.ScatterWeight + identity * (lambda + 1e-9), identity * -lambda, identity * (lambda + settings.VarianceWeight + 1e-9));
        return PseudoLabels.Iterate(data, settings.Iterations, classifier, (_, pseudo) =>
        {
            using var inner = new TensorScope();
            var e = PseudoLabels.MeanDifferences(data, 1, 1, pseudo, normalize: true);
            var means = Tensor.Concat([source.Transpose().MatMul(e.Narrow(0, 0, n)), target.Transpose().MatMul(e.Narrow(0, n, m))]);
            var vectors = Eigenproblem.Generalized(Name, gain, cost + means.MatMul(means.Transpose()), settings.Dimensions).Vectors;
            vectors = (vectors / vectors.Square().Sum([0], keepDim: true).Sqrt()).To(data.Source.ElementType);
            Tensor Half(int start) => inner.Keep(vectors.Narrow(0, start, d).Clone());
            return LinearSpace.Of(Name, new(null, Half(0), UnitRows: settings.UnitRows), new(null, Half(d), UnitRows: settings.UnitRows));
        }, progress, cancellation);
    }

    /// <summary>The scatter of rows about the means of their classes, and that of these means, each as often as its class has rows, about the mean.</summary>
    internal static (Tensor Within, Tensor Between) Scatter(Tensor rows, Tensor labels, int classes)
    {
        var members = labels.OneHot(classes, rows.ElementType);
        var counts = members.Sum([0]).Unsqueeze(1);
        var means = members.Transpose().MatMul(rows) / (counts + counts.Equal(0));
        Tensor inside = rows - members.MatMul(means), outside = means - rows.Mean([0], keepDim: true);
        return (inside.Transpose().MatMul(inside), outside.Transpose().MatMul(outside * counts));
    }

    private static Tensor Blocks(Tensor first, Tensor corner, Tensor second) => Tensor.Concat([Tensor.Concat([first, corner], 1), Tensor.Concat([corner.Transpose(), second], 1)]);
}
