namespace TransferEngine.Adaptation;

/// <summary>
/// Makes predictions certain one by one and various as a whole: the mean entropy of the rows' predictions less the entropy of the mean prediction,
/// mean_i H(p_i) - H(mean_i p_i), in nats, of the softmax of the target's logits. It is minus the mutual information of inputs and predictions, so 0 at
/// the most and -ln C at the least. The loss of SHOT-IM; here with the source at hand.
/// </summary>
/// <remarks>
/// Liang et al., Do we really need to access the source data?, ICML 2020, equations 3 and 4 (after Krause et al. 2010 and Hu et al. 2017). The authors' code
/// has 1e-5 inside its logarithms: <see cref="Authors"/>.
/// </remarks>
public sealed class InformationMaximization : WeightedMethod
{
    private readonly double inside;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public InformationMaximization(double weight = 1, Func<double, double>? schedule = null) : this(weight, schedule, 0)
    {
    }

    private InformationMaximization(double weight, Func<double, double>? schedule, double inside) : base("information maximization", weight, schedule) => this.inside = inside;

    /// <summary>What the authors' code computes: entropies -Σ p log(p + 1e-5).</summary>
    /// <inheritdoc cref="InformationMaximization(double, Func{double, double})"/>
    public static InformationMaximization Authors(double weight = 1, Func<double, double>? schedule = null) => new(weight, schedule, 1e-5);

    /// <summary>Measures.</summary>
    /// <param name="logits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix, or has no row.</exception>
    public Tensor Forward(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(InformationMaximization), logits);
        int rows = logits.Shape[0];
        if (inside > 0)
        {
            var p = logits.Softmax();
            var whole = p.Mean([0]);
            return (whole * (whole + inside).Log()).Sum() - (p * (p + inside).Log()).Sum() / rows;
        }
        var each = logits.LogSoftmax();
        // The logarithm of the mean, without that of a share that underflows.
        var mean = each.LogSumExp([0]) - Math.Log(rows);
        return (mean.Exp() * mean).Sum() - (each.Exp() * each).Sum() / rows;
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.TargetLogits);
    }
}
