using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// BSP: keeps the few directions of largest singular value, along which domains transfer well, from overshadowing the others, which tell classes apart:
/// Σ σ² over the k largest singular values of the source's features, [n, d], and the same for the target's.
/// </summary>
/// <remarks>
/// Chen et al., Transferability vs. Discriminability: Batch Spectral Penalization for Adversarial Domain Adaptation, ICML 2019, equation 5; k = 1 and a weight of 1e-4
/// (tllib 2e-4), beside an adversarial loss such as DANN's. With the singular vectors held constant the gradient is exact; gradients of gradients do not see
/// their change. The decomposition, of the smaller Gram matrix, is done in float64 on the host and waits for the device.
/// </remarks>
public sealed class BatchSpectralPenalization : WeightedMethod, IDiscrepancy
{
    private readonly int count;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="count">k, how many of the largest singular values of each domain.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is below 1.</exception>
    public BatchSpectralPenalization(double weight = 1e-4, Func<double, double>? schedule = null, int count = 1)
        : base("bsp", weight, schedule)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        this.count = count;
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(BatchSpectralPenalization), source, target);
        return Spectrum.Squares(source, count, largest: true) + Spectrum.Squares(target, count, largest: true);
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.SourceFeatures, step.TargetFeatures);
    }
}
