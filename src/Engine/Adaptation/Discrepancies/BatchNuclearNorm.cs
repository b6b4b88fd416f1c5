using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>
/// BNM: makes the target's predictions both certain and diverse by maximising the nuclear norm of their matrix: -‖P‖_* / m, P the softmax of the
/// target's logits, [m, C], and ‖P‖_* the sum of its singular values.
/// </summary>
/// <remarks>
/// Cui et al., Towards Discriminability and Diversity: Batch Nuclear-norm Maximization, CVPR 2020, equation 8. With P = U Σ Vᵀ the gradient is that of
/// the inner product of P with U Vᵀ held constant; directions of singular values below 1e-7 of the largest get none. Gradients of gradients do not see the vectors'
/// own change. The decomposition, of the smaller Gram matrix, is done in float64 on the host and waits for the device. The authors' code is <see cref="DeepDa"/>, with each domain going through the networks by
/// itself: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class BatchNuclearNorm : WeightedMethod
{
    private readonly bool perValue;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public BatchNuclearNorm(double weight = 1, Func<double, double>? schedule = null)
        : this(weight, schedule, perValue: false)
    {
    }

    private BatchNuclearNorm(double weight, Func<double, double>? schedule, bool perValue)
        : base("bnm", weight, schedule) => this.perValue = perValue;

    /// <summary>DeepDA's, which is the authors' code: minus the mean of the min(m, C) singular values.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public static BatchNuclearNorm DeepDa(double weight = 1, Func<double, double>? schedule = null) => new(weight, schedule, perValue: true);

    /// <summary>Measures.</summary>
    /// <param name="logits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix, or has no row.</exception>
    public Tensor Forward(Tensor logits)
    {
        Discrepancy.CheckLogits(nameof(BatchNuclearNorm), logits);
        var predictions = logits.Softmax();
        int rows = logits.Shape[0];
        return -(predictions * Spectrum.PolarFactor(predictions)).Sum() / (perValue ? Math.Min(rows, logits.Shape[1]) : rows);
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Forward(step.TargetLogits);
    }
}
