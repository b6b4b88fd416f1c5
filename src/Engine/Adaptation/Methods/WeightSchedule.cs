namespace TransferEngine.Adaptation;

/// <summary>
/// Factors of a weight by the part p of the training that is done, from 0 to 1: what methods take as a schedule. Any function will do; with the total
/// of steps known, p times the total is the step.
/// </summary>
public static class WeightSchedule
{
    /// <summary>Always the same.</summary>
    /// <param name="value">The factor.</param>
    public static Func<double, double> Constant(double value) => _ => value;

    /// <summary>Ganin's, from 0 to 1: 2 / (1 + exp(-10 p)) - 1.</summary>
    /// <param name="progress">The part p of the training that is done.</param>
    /// <remarks>Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), section 5.2.2.</remarks>
    public static double Ganin(double progress) => Sigmoid(10 * Math.Clamp(progress, 0, 1));

    /// <summary>Ganin's with another slope: 2 / (1 + exp(-γ p)) - 1. With γ = 1, DeepDA's, it ends at 0.462.</summary>
    /// <param name="slope">γ.</param>
    public static Func<double, double> GaninOf(double slope) => progress => Sigmoid(slope * Math.Clamp(progress, 0, 1));

    /// <summary>A straight line from 0 to 1, where it stays.</summary>
    /// <param name="until">The part of the training after which it is 1, above 0 and up to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is out of range.</exception>
    public static Func<double, double> Linear(double until = 1) => until is > 0 and <= 1
        ? progress => Math.Min(progress / until, 1)
        : throw new ArgumentOutOfRangeException(nameof(until), until, "WeightSchedule.Linear: the part of the training is above 0 and up to 1.");

    /// <summary>A rise along a Gaussian, exp(-5 (1 - p / until)²), from 0.007 to 1, where it stays.</summary>
    /// <param name="until">The part of the training after which it is 1, above 0 and up to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part is out of range.</exception>
    /// <remarks>Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, ICLR 2017, section 2.2.</remarks>
    public static Func<double, double> GaussianRampUp(double until = 1) => until is > 0 and <= 1
        ? progress => Math.Exp(-5 * Math.Pow(1 - Math.Clamp(progress / until, 0, 1), 2))
        : throw new ArgumentOutOfRangeException(nameof(until), until, "WeightSchedule.GaussianRampUp: the part of the training is above 0 and up to 1.");

    /// <summary>tllib's, by iterations i without regard to the end: low + (high - low) (2 / (1 + exp(-α i / N)) - 1). Ganin's where training has 10 N steps.</summary>
    /// <param name="steps">The steps of the whole training.</param>
    /// <param name="high">What it goes to.</param>
    /// <param name="low">What it begins with.</param>
    /// <param name="alpha">α.</param>
    /// <param name="iterations">N.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is not positive.</exception>
    public static Func<double, double> Tllib(int steps, double high = 1, double low = 0, double alpha = 1, int iterations = 1000)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(steps, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        return progress => low + (high - low) * Sigmoid(alpha * Math.Round(progress * steps) / iterations);
    }

    private static double Sigmoid(double x) => 2 / (1 + Math.Exp(-x)) - 1;
}
