namespace TransferEngine.Adaptation;

/// <summary>
/// The running average of the weights that a method trains, by which it answers. After step t it keeps min(1 - 1/(t + 1), decay) of itself: it is the plain mean at first, so that a short training is not averaged with
/// what it began with.
/// </summary>
/// <param name="decay">What stays of it in a step, from 0 to 1.</param>
/// <param name="hasOwnStatistics">Whether running statistics are those of its own passes rather than the trained networks'.</param>
internal sealed class AveragedWeights(double decay, bool hasOwnStatistics = false) : IDisposable
{
    /// <summary>The average; null before a training and when it was given back.</summary>
    public ShadowWeights? Weights { get; private set; }

    /// <summary>An average of a decay; null, and the trained networks answer, where it is 0.</summary>
    public static AveragedWeights? Of(string method, double decay) => decay is not (>= 0 and <= 1)
        ? throw new ArgumentOutOfRangeException("averageDecay", decay, $"{method}: what stays of the averaged weights is from 0 to 1.")
        : decay > 0 ? new(decay) : null;

    /// <summary>What an average answers, without recording; the trained networks where there is none.</summary>
    public static Tensor Predict(AveragedWeights? average, Func<Tensor> answer)
    {
        if (average?.Weights is not { } weights)
            return answer();
        using var recording = new NoGrad();
        using (weights.SwapIn())
            return answer();
    }

    /// <summary>Begins with the present weights.</summary>
    public void Begin(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        Dispose();
        Weights = new ShadowWeights(run.Features, run.Head);
    }

    public void Follow(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Weights?.Follow(Math.Min(1 - 1.0 / (step.Number + 2), decay), takesBuffers: !hasOwnStatistics);
    }

    /// <summary>Gives the networks the average.</summary>
    public void HandOver() => Weights?.Restore();

    public void Dispose()
    {
        Weights?.Dispose();
        Weights = null;
    }
}
