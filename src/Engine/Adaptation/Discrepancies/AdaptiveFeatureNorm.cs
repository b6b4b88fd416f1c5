namespace TransferEngine.Adaptation;

/// <summary>
/// AFN: features of a large norm transfer better. Hard (HAFN): (mean ‖s‖ - R)² + (mean ‖t‖ - R)² draws both domains' mean norm to one radius R.
/// Stepwise (SAFN), the default: the mean over all rows of both domains of (‖x‖ - (‖x‖' + Δ))², where ‖x‖' is the same norm held constant, lets each
/// row's norm grow by about Δ a step; its value is Δ² always, its gradient -2Δ x / ‖x‖ over the number of rows.
/// </summary>
/// <remarks>
/// Xu et al., Larger Norm More Transferable: An Adaptive Feature Norm Approach for Unsupervised Domain Adaptation, ICCV 2019, equations 3 and 5; weight 0.05, R = 25,
/// Δ = 1. The paper also scales features by √(1 - p) after dropout of rate p, which is the network's matter. A row of zeros gets no gradient. Batches may be of two sizes. The authors' code adds the domains' means, as
/// <see cref="Tllib"/> does, and each domain goes through the networks by itself: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class AdaptiveFeatureNorm : WeightedMethod, IDiscrepancy
{
    private enum Form
    {
        Stepwise,
        SumOfDomains,
        Hard,
    }

    private readonly Form form;
    private readonly double amount;

    /// <summary>The stepwise form.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="step">Δ, what norms grow by.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is not positive.</exception>
    public AdaptiveFeatureNorm(double weight = 0.05, Func<double, double>? schedule = null, double step = 1)
        : this("safn", weight, schedule, Form.Stepwise, step)
    {
    }

    private AdaptiveFeatureNorm(string name, double weight, Func<double, double>? schedule, Form form, double amount)
        : base(name, weight, schedule)
    {
        if (!(amount > 0))
            throw new ArgumentOutOfRangeException(nameof(amount), amount, "AdaptiveFeatureNorm: the step or radius is positive.");
        (this.form, this.amount) = (form, amount);
    }

    /// <summary>The hard form.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="radius">R, what mean norms are drawn to.</param>
    /// <exception cref="ArgumentOutOfRangeException">The radius is not positive.</exception>
    public static AdaptiveFeatureNorm Hard(double weight = 0.05, Func<double, double>? schedule = null, double radius = 25) => new("hafn", weight, schedule, Form.Hard, radius);

    /// <summary>tllib's stepwise form, and the authors' code's: each domain's mean by itself, and their sum, so twice the paper's for batches of one size.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="step">Δ, what norms grow by.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is not positive.</exception>
    public static AdaptiveFeatureNorm Tllib(double weight = 0.05, Func<double, double>? schedule = null, double step = 1) => new("safn", weight, schedule, Form.SumOfDomains, step);

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(AdaptiveFeatureNorm), source, target);
        return form == Form.Stepwise ? Stepwise(Tensor.Concat([source, target]))
            : form == Form.SumOfDomains ? Stepwise(source) + Stepwise(target)
            : (Norms(source).Mean() - amount).Square() + (Norms(target).Mean() - amount).Square();
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.SourceFeatures, step.TargetFeatures);
    }

    private static Tensor Norms(Tensor x) => x.Norm(2, [1]);

    private Tensor Stepwise(Tensor x)
    {
        var norms = Norms(x);
        return (norms - (norms.Detach() + amount)).Square().Mean();
    }
}
