namespace TransferEngine.Training;

/// <summary>Watches one value and says when it has not become better for some epochs.</summary>
public sealed class EarlyStopping
{
    /// <summary>Watches a value.</summary>
    /// <param name="patience">The epochs without improvement that are borne; the next one stops. 0 or more.</param>
    /// <param name="minimumChange">The least change that counts as improvement, in the value's own unit. 0 or more.</param>
    /// <param name="greaterIsBetter">Whether the value should grow.</param>
    public EarlyStopping(int patience, double minimumChange = 0, bool greaterIsBetter = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(patience);
        if (!(minimumChange >= 0))
            throw new ArgumentOutOfRangeException(nameof(minimumChange), minimumChange, "EarlyStopping: the least change is 0 or more.");
        (Patience, MinimumChange, GreaterIsBetter) = (patience, minimumChange, greaterIsBetter);
    }

    /// <summary>The epochs without improvement that are borne.</summary>
    public int Patience { get; }

    /// <summary>The least change that counts as improvement.</summary>
    public double MinimumChange { get; }

    /// <summary>Whether the value should grow.</summary>
    public bool GreaterIsBetter { get; }

    /// <summary>The best value so far; NaN before the first.</summary>
    public double Best { get; internal set; } = double.NaN;

    /// <summary>The epochs since the best.</summary>
    public int EpochsSinceBest { get; internal set; }

    /// <summary>Whether patience is over.</summary>
    public bool IsExhausted => EpochsSinceBest > Patience;

    /// <summary>Takes the value of an epoch.</summary>
    /// <param name="value">The value; NaN is never an improvement.</param>
    /// <returns>Whether it is the best so far.</returns>
    public bool Update(double value)
    {
        bool better = !double.IsNaN(value)
            && (double.IsNaN(Best) || (GreaterIsBetter ? value > Best + MinimumChange : value < Best - MinimumChange));
        if (better)
            (Best, EpochsSinceBest) = (value, 0);
        else
            EpochsSinceBest++;
        return better;
    }
}
