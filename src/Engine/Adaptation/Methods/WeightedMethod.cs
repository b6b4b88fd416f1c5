namespace TransferEngine.Adaptation;

/// <summary>A method that adds one measure of a step, without networks of its own: weight · schedule(progress) · measure.</summary>
public abstract class WeightedMethod : AdaptationMethod
{
    private readonly double weight;
    private readonly Func<double, double>? schedule;

    /// <param name="name">What it is called in reports.</param>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress, such as <see cref="WeightSchedule.Ganin(double)"/>; constant 1 if null.</param>
    protected WeightedMethod(string name, double weight, Func<double, double>? schedule) => (Name, this.weight, this.schedule) = (name, weight, schedule);

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Measure(step) * (weight * (schedule?.Invoke(step.Progress) ?? 1));
    }

    /// <summary>The measure, before its weight.</summary>
    /// <param name="step">The step's features and logits.</param>
    /// <returns>A scalar.</returns>
    protected abstract Tensor Measure(AdaptationStep step);
}
