namespace TransferEngine;

/// <summary>
/// Sets the learning rates of an optimiser's groups as training goes on. The rate is a function of the step and of the group's initial rate
/// alone, so a schedule resumes from its <see cref="StepCount"/>. Call <see cref="Step"/> after the optimiser's, once a step or once an epoch,
/// as the schedule is meant. Formulas and defaults are those of PyTorch's schedulers.
/// </summary>
public abstract class LearningRateSchedule
{
    private int stepCount;

    /// <param name="optimizer">Whose rates are set.</param>
    private protected LearningRateSchedule(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        Optimizer = optimizer;
    }

    /// <summary>Whose rates are set.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Steps so far; setting it moves the schedule there.</summary>
    public int StepCount
    {
        get => stepCount;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            stepCount = value;
            Apply();
        }
    }

    /// <summary>Moves on by one step.</summary>
    public void Step() => StepCount++;

    /// <summary>The rate at a step of a group with the given initial rate.</summary>
    /// <param name="initial">The group's initial rate.</param>
    /// <param name="step">From 0 on.</param>
    public abstract double Rate(double initial, int step);

    /// <summary>Sets the rates of the present step.</summary>
    private protected virtual void Apply()
    {
        foreach (var group in Optimizer.Scheduled)
            group.LearningRate = Rate(group.InitialLearningRate, stepCount);
    }

    /// <summary>What a constructor ends with.</summary>
    private protected void Begin() => Apply();
}

/// <summary>Multiplies the rate by gamma every so many steps: PyTorch's StepLR.</summary>
public sealed class StepSchedule : LearningRateSchedule
{
    private readonly int size;
    private readonly double gamma;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="size">Steps between two changes, 1 or more.</param>
    /// <param name="gamma">The factor.</param>
    public StepSchedule(Optimizer optimizer, int size, double gamma = 0.1) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        (this.size, this.gamma) = (size, gamma);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => initial * Math.Pow(gamma, step / size);
}

/// <summary>Multiplies the rate by gamma at given steps: PyTorch's MultiStepLR.</summary>
public sealed class MultiStepSchedule : LearningRateSchedule
{
    private readonly int[] milestones;
    private readonly double gamma;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="milestones">The steps at which the rate changes.</param>
    /// <param name="gamma">The factor.</param>
    public MultiStepSchedule(Optimizer optimizer, IEnumerable<int> milestones, double gamma = 0.1) : base(optimizer)
    {
        (this.milestones, this.gamma) = ([.. milestones], gamma);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => initial * Math.Pow(gamma, milestones.Count(milestone => milestone <= step));
}

/// <summary>Multiplies the rate by gamma at every step: PyTorch's ExponentialLR.</summary>
public sealed class ExponentialSchedule : LearningRateSchedule
{
    private readonly double gamma;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="gamma">The factor.</param>
    public ExponentialSchedule(Optimizer optimizer, double gamma) : base(optimizer)
    {
        this.gamma = gamma;
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => initial * Math.Pow(gamma, step);
}

/// <summary>Half a cosine from the initial rate down to a lowest one, and back if it goes on: PyTorch's CosineAnnealingLR.</summary>
public sealed class CosineSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double lowest;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="total">The step at which the lowest rate is reached, 1 or more.</param>
    /// <param name="lowest">The lowest rate.</param>
    public CosineSchedule(Optimizer optimizer, int total, double lowest = 0) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        (this.total, this.lowest) = (total, lowest);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => lowest + (initial - lowest) * (1 + Math.Cos(Math.PI * step / total)) / 2;
}

/// <summary>(1 - step / total)^power down to 0, where it stays: PyTorch's PolynomialLR.</summary>
public sealed class PolynomialSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double power;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="total">The step at which 0 is reached, 1 or more.</param>
    /// <param name="power">The power.</param>
    public PolynomialSchedule(Optimizer optimizer, int total = 5, double power = 1) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        (this.total, this.power) = (total, power);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => initial * Math.Pow(1 - Math.Min(step, total) / (double)total, power);
}

/// <summary>A straight line from a part of the rate to the whole, as PyTorch's LinearLR, and after it another schedule, which begins there.</summary>
public sealed class WarmUpSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double start, end;
    private readonly LearningRateSchedule? then;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="start">The part of the rate at step 0.</param>
    /// <param name="end">The part at the end.</param>
    /// <param name="total">The step at which the end is reached, 1 or more.</param>
    /// <param name="then">What follows, of the same optimiser; its own Step is then not called. The rate stays if null.</param>
    public WarmUpSchedule(Optimizer optimizer, double start = 1.0 / 3, double end = 1, int total = 5, LearningRateSchedule? then = null) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        (this.start, this.end, this.total, this.then) = (start, end, total, then);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => step < total || then is null
        ? initial * (start + (end - start) * Math.Min(step, total) / total)
        : then.Rate(initial * end, step - total);
}

/// <summary>
/// The schedule of domain-adversarial training, initial (1 + alpha p)^-beta with p = step / total from 0 to 1 (Ganin et al.: Domain-adversarial
/// training of neural networks; JMLR 2016).
/// </summary>
public sealed class DannSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double alpha, beta;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="total">The steps of the whole training, 1 or more.</param>
    /// <param name="alpha">How much the rate falls.</param>
    /// <param name="beta">The power.</param>
    public DannSchedule(Optimizer optimizer, int total, double alpha = 10, double beta = 0.75) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        (this.total, this.alpha, this.beta) = (total, alpha, beta);
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step) => initial * Math.Pow(1 + alpha * Math.Min(step, total) / total, -beta);
}

/// <summary>
/// Slanted triangles: a short straight rise to the rate and a long straight fall. With cut = total rising, p = t / cut before the cut and
/// 1 - (t - cut) / (total - cut) after it, the rate is initial (1 + p (ratio - 1)) / ratio (Howard and Ruder: Universal language model
/// fine-tuning for text classification; ACL 2018, equation 3, whose cut (1 / rising - 1) is total - cut where the cut is a whole step).
/// </summary>
public sealed class SlantedTriangularSchedule : LearningRateSchedule
{
    private readonly int total;
    private readonly double cut, ratio;

    /// <param name="optimizer">Whose rates are set.</param>
    /// <param name="total">The steps of the whole training, 1 or more.</param>
    /// <param name="rising">The part of the steps in which the rate rises.</param>
    /// <param name="ratio">How much lower the lowest rate is than the highest.</param>
    public SlantedTriangularSchedule(Optimizer optimizer, int total, double rising = 0.1, double ratio = 32) : base(optimizer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(total, 1);
        if (!(rising is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(rising), rising, "SlantedTriangularSchedule: the rising part is from 0 to 1 of the steps.");
        if (!(ratio >= 1))
            throw new ArgumentOutOfRangeException(nameof(ratio), ratio, "SlantedTriangularSchedule: the ratio of the highest rate to the lowest is 1 or more.");
        (this.total, this.ratio, cut) = (total, ratio, Math.Floor(total * rising));
        Begin();
    }

    /// <inheritdoc/>
    public override double Rate(double initial, int step)
    {
        double t = Math.Min(step, total);
        double p = t < cut ? t / cut : total == cut ? 1 : 1 - (t - cut) / (total - cut);
        return initial * (1 + p * (ratio - 1)) / ratio;
    }
}
