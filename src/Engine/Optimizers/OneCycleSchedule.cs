namespace TransferEngine;

/// <summary>
/// Up to a highest rate and down to nearly nothing, along cosines, while momentum goes the other way (Smith and Topin: Super-convergence, 2017):
/// PyTorch's OneCycleLR in its two-phase form.
/// </summary>
public sealed class OneCycleSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double? highest;
    private readonly double rising, initialDivisor, finalDivisor, lowMomentum, highMomentum;
    private readonly bool cyclesMomentum;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="highest">The highest rate of all groups; null for that of each group its own initial rate.</param>
    /// <param name="total">The steps of the whole cycle, 1 or more.</param>
    /// <param name="rising">The part of the steps in which the rate rises.</param>
    /// <param name="initialDivisor">The first rate is the highest divided by this.</param>
    /// <param name="finalDivisor">The last rate is the first divided by this.</param>
    /// <param name="cyclesMomentum">Whether momentum, or Adam's first beta, is set too.</param>
    /// <param name="lowMomentum">Momentum at the highest rate.</param>
    /// <param name="highMomentum">Momentum at the ends.</param>
    public OneCycleSchedule(
        Optimizer optimizer, double? highest, int total, double rising = 0.3, double initialDivisor = 25, double finalDivisor = 1e4,
        bool cyclesMomentum = true, double lowMomentum = 0.85, double highMomentum = 0.95) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        if (!(rising is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(rising), rising, "OneCycleSchedule: the rising part is from 0 to 1 of the steps.");
        if (cyclesMomentum && optimizer.Scheduled.Any(group => group.Momentum == 0))
            throw new ArgumentException("OneCycleSchedule: the optimiser keeps no momentum to cycle. Give it one, or pass cyclesMomentum: false.", nameof(cyclesMomentum));
        (this.highest, this.total, this.rising, this.initialDivisor, this.finalDivisor) = (highest, total, rising, initialDivisor, finalDivisor);
        (this.cyclesMomentum, this.lowMomentum, this.highMomentum) = (cyclesMomentum, lowMomentum, highMomentum);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step)
    {
        double top = highest ?? initial;
        return Cycle(step, top / initialDivisor, top, top / initialDivisor / finalDivisor);
    }

    private protected override void Apply()
    {
        base.Apply();
        if (!cyclesMomentum)
            return;
        foreach (var group in Optimizer.Scheduled)
            group.Momentum = Cycle(StepCount, highMomentum, lowMomentum, highMomentum);
    }

    private double Cycle(int step, double start, double middle, double end)
    {
        double top = rising * total - 1, last = total - 1;
        double now = Math.Min(step, last);
        return now <= top ? Cosine(start, middle, now / top) : Cosine(middle, end, (now - top) / (last - top));
    }

    private static double Cosine(double from, double to, double part) => to + (from - to) / 2 * (1 + Math.Cos(Math.PI * Math.Clamp(double.IsNaN(part) ? 1 : part, 0, 1)));
}
