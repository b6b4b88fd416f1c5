namespace TransferEngine;

/// <summary>Multiplies the rate by a factor when a measure has stopped to improve: PyTorch's ReduceLROnPlateau.</summary>
public sealed class PlateauSchedule
{
    private readonly Optimizer optimizer;
    private readonly double factor, threshold, lowest, smallest;
    private readonly int patience, cooldown;
    private readonly bool maximize;
    private double best;
    private int bad, cooling;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="maximize">Whether larger is better, as with accuracy; otherwise smaller, as with a loss.</param>
    /// <param name="factor">What the rate is multiplied by, below 1.</param>
    /// <param name="patience">How many measures in a row may bring nothing better before the rate falls.</param>
    /// <param name="threshold">How much better a measure must be, relative to the best.</param>
    /// <param name="cooldown">How many measures after a change do not count.</param>
    /// <param name="lowest">The rate does not fall below this.</param>
    /// <param name="smallest">Changes smaller than this are not made.</param>
    public PlateauSchedule(
        Optimizer optimizer, bool maximize = false, double factor = 0.1, int patience = 10, double threshold = 1e-4, int cooldown = 0, double lowest = 0, double smallest = 1e-8)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(factor, 1);
        (this.optimizer, this.maximize, this.factor, this.patience) = (optimizer, maximize, factor, patience);
        (this.threshold, this.cooldown, this.lowest, this.smallest) = (threshold, cooldown, lowest, smallest);
        best = maximize ? double.NegativeInfinity : double.PositiveInfinity;
    }

    /// <summary>Takes in a measure, mostly once an epoch.</summary>
    /// <param name="measure">The loss, or what else is watched.</param>
    public void Step(double measure)
    {
        if (maximize ? measure > best * (1 + threshold * Math.Sign(best)) : measure < best * (1 - threshold * Math.Sign(best)))
            (best, bad) = (measure, 0);
        else
            bad++;
        if (cooling > 0)
            (cooling, bad) = (cooling - 1, 0);
        if (bad <= patience)
            return;
        foreach (var group in optimizer.Scheduled)
        {
            double lower = Math.Max(group.LearningRate * factor, lowest);
            if (group.LearningRate - lower > smallest)
                group.LearningRate = lower;
        }
        (cooling, bad) = (cooldown, 0);
    }

    /// <summary>What a checkpoint keeps beside the optimiser's rates.</summary>
    public IReadOnlyDictionary<string, double> StateDict() => new Dictionary<string, double> { ["best"] = best, ["bad"] = bad, ["cooling"] = cooling };

    /// <summary>Takes over what <see cref="StateDict"/> gave.</summary>
    /// <param name="state">The named numbers.</param>
    public void LoadStateDict(IReadOnlyDictionary<string, double> state)
    {
        ArgumentNullException.ThrowIfNull(state);
        (best, bad, cooling) = (state["best"], (int)state["bad"], (int)state["cooling"]);
    }
}
