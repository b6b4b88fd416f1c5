namespace TransferEngine.Adaptation;

/// <summary>
/// A method whose adversary makes its loss small while the features, through a gradient-reversal layer, make it large: what the loss says is true for the
/// adversary, and its gradient for the features is multiplied by -weight · schedule(progress).
/// </summary>
public abstract class AdversarialMethod : AdaptationMethod
{
    private readonly double weight;
    private readonly Func<double, double> schedule;

    /// <param name="name">What it is called in reports.</param>
    /// <param name="weight">What the reversed gradient weighs, 0 or more.</param>
    /// <param name="schedule">A factor of the weight by progress; <see cref="WeightSchedule.Ganin(double)"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative or not a number.</exception>
    protected AdversarialMethod(string name, double weight, Func<double, double>? schedule)
    {
        if (!(weight >= 0))
            throw new ArgumentOutOfRangeException(nameof(weight), weight, $"{GetType().Name}: the weight is 0 or more; the reversal negates it.");
        (Name, this.weight, this.schedule) = (name, weight, schedule ?? WeightSchedule.Ganin);
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <summary>What the reversed gradient weighs in a step.</summary>
    /// <param name="step">The step.</param>
    protected double Reversal(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Reversal(step.Progress);
    }

    private protected double Reversal(double progress) => weight * schedule(progress);
}
