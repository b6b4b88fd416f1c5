namespace TransferEngine.Adaptation;

/// <summary>
/// IRM (version 1): features on which one classifier is the best in every domain: the mean over domains of R_e + λ |dR_e(w · logits) / dw|² at w = 1, the scale w being a classifier that could do better in the domain
/// if its gradient is not 0. Its gradient is one of gradients.
/// </summary>
/// <remarks>
/// Arjovsky et al., Invariant Risk Minimization (2019), equation IRMv1 and appendix D: λ is 1 for the first steps, and where it is above 1 the loss is divided by it, so that steps keep their size.
/// </remarks>
public sealed class InvariantRiskMinimization : SourceRiskMethod
{
    private readonly double weight;
    private readonly int warmUp;
    private readonly bool halves;

    /// <summary>The paper's.</summary>
    /// <param name="weight">λ, 0 or more.</param>
    /// <param name="warmUp">Steps at whose beginning λ is 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is negative.</exception>
    public InvariantRiskMinimization(double weight = 1e4, int warmUp = 500) : this(weight, warmUp, halves: false)
    {
    }

    private InvariantRiskMinimization(double weight, int warmUp, bool halves)
    {
        if (!(weight >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), weight, "InvariantRiskMinimization: the weight is 0 or more.");
        ArgumentOutOfRangeException.ThrowIfNegative(warmUp);
        (this.weight, this.warmUp, this.halves) = (weight, warmUp, halves);
    }

    /// <summary>
    /// DomainBed's: the square's unbiased estimate, the product of the gradients over the rows of even and of odd place; λ = 100, and the loss is not divided by it. (It also resets its optimiser when λ
    /// changes, which is the training's matter here.)
    /// </summary>
    /// <param name="weight">λ, 0 or more.</param>
    /// <param name="warmUp">Steps at whose beginning λ is 1.</param>
    public static InvariantRiskMinimization DomainBed(double weight = 100, int warmUp = 500) => new(weight, warmUp, halves: true);

    /// <inheritdoc/>
    public override string Name => "irm";

    /// <inheritdoc/>
    protected override Tensor Combine(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        double lambda = step.Number < warmUp ? 1 : weight;
        var penalties = Tensor.Stack([.. step.Sources.Select(source => halves
            ? Slope(Every(source.Logits, 0), Every(source.Targets, 0)) * Slope(Every(source.Logits, 1), Every(source.Targets, 1))
            : Slope(source.Logits, source.Targets).Square())]);
        var loss = Risks(step).Mean() + penalties.Mean() * lambda;
        return lambda > 1 && !halves ? loss / lambda : loss;

        Tensor Slope(Tensor logits, Tensor targets)
        {
            var scale = Tensor.Ones([], logits.Device, logits.ElementType);
            scale.RequiresGrad = true;
            return Tensor.Gradients(step.Run.Criterion(logits * scale, targets), [scale], createGraph: true)[0];
        }

        static Tensor Every(Tensor rows, int start)
        {
            Check.That(rows.Shape[0] > 1, $"InvariantRiskMinimization: DomainBed's form halves the rows of each domain; {rows.Shape} has one. Use larger batches.");
            return rows.Narrow(0, start, (rows.Shape[0] + 1 - start) / 2, 2);
        }
    }
}
