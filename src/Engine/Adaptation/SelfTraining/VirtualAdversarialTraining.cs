namespace TransferEngine.Adaptation;

/// <summary>VAT on the target, and if asked on the source: <see cref="VirtualAdversarialLoss"/> of the trained networks.</summary>
/// <remarks>Rows go through the networks without those of the other domain, moved or not: in a joint step that is a further pass. As in the authors' code, running statistics take in the step's own passes alone.</remarks>
public sealed class VirtualAdversarialTraining : WeightedMethod
{
    private readonly VirtualAdversarialLoss loss;
    private readonly bool onSource;

    /// <param name="radius">ε, the length of the change of an input.</param>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="onSource">Whether the source's rows count too, as in VADA.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The radius is not positive.</exception>
    public VirtualAdversarialTraining(double radius, double weight = 1, Func<double, double>? schedule = null, bool onSource = false, Generator? generator = null)
        : base("vat", weight, schedule) => (loss, this.onSource) = (new(radius, generator: generator), onSource);

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var value = loss.Forward(step, ofTarget: true);
        return onSource ? value + loss.Forward(step, ofTarget: false) : value;
    }
}
