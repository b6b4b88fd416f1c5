namespace TransferEngine.Adaptation;

/// <summary>
/// Judges a trained model without target labels, so that the best of several can be chosen. Scores of one validator on the same rows compare, and the
/// higher is the better, whatever the sign under which the measure is published; scores of different validators do not compare.
/// </summary>
public abstract class Validator
{
    /// <summary>Each validator there is, with its defaults; they hold nothing that changes.</summary>
    public static IReadOnlyList<Validator> All { get; } =
    [
        new SourceRiskValidator(), new ImportanceWeightedValidator(), new DeepEmbeddedValidator(), new EntropyValidator(), new InformationMaximizationValidator(), new NuclearNormValidator(),
        new SoftNeighborhoodDensityValidator(), new ClassClusterValidator(), new SilhouetteValidator(), new ReverseValidator(), new ProxyADistanceValidator(), new MmdValidator(),
    ];

    /// <summary>What it is called in reports.</summary>
    public abstract string Name { get; }

    /// <summary>Scores a model by what it gives.</summary>
    /// <param name="data">What it gives on both domains.</param>
    /// <param name="cancellation">Looked at between the steps of long measures.</param>
    /// <returns>The higher the better; NaN where the model gave a number that is not finite, as after a training that diverged.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public double Score(ValidationData data, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        if (!data.IsFinite)
            return double.NaN;
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        return Measure(data, cancellation);
    }

    /// <summary>Measures, all numbers being finite. Nothing is recorded, and tensors made here are given back.</summary>
    /// <param name="data">What the model gives on both domains.</param>
    /// <param name="cancellation">To look at between the steps of long measures.</param>
    /// <returns>The higher the better.</returns>
    protected abstract double Measure(ValidationData data, CancellationToken cancellation);
}
