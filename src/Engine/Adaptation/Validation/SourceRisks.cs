using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>The loss of a labelled row in a risk.</summary>
public enum RiskLoss
{
    /// <summary>The cross-entropy of the logits and the label, in nats.</summary>
    CrossEntropy,

    /// <summary>1 where the class of the greatest logit is not the label, else 0.</summary>
    ZeroOne,
}

/// <summary>The mean loss on the source's validation rows, negated. Blind to the target: what every other validator should beat.</summary>
/// <param name="loss">The loss of a row.</param>
public sealed class SourceRiskValidator(RiskLoss loss = RiskLoss.CrossEntropy) : Validator
{
    /// <inheritdoc/>
    public override string Name => Risk.Name("source-risk", loss);

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return -Risk.Losses(data, loss).Average();
    }
}

/// <summary>
/// IWCV: the source's validation loss weighted by the density ratio w, which estimates the target's risk where only the distribution of the features differs:
/// -(1/n) Σ w(x_i) l_i.
/// </summary>
/// <remarks>Sugiyama, Krauledat and Müller, Covariate Shift Adaptation by Importance Weighted Cross Validation, JMLR 8 (2007); the ratio is taken on the model's features.</remarks>
/// <param name="loss">The loss of a row.</param>
/// <param name="ratio">How the density ratio is estimated.</param>
public sealed class ImportanceWeightedValidator(RiskLoss loss = RiskLoss.CrossEntropy, DensityRatio? ratio = null) : Validator
{
    /// <inheritdoc/>
    public override string Name => Risk.Name("iwcv", loss);

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return -(ratio ?? new()).AtValidation(data, cancellation).Zip(Risk.Losses(data, loss), (weight, value) => weight * value).Average();
    }
}

/// <summary>
/// DEV: importance-weighted validation with a control variate, since the weights' mean is known to be 1: -(mean(w l) + η mean(w) - η) with
/// η = -Cov(w l, w) / Var(w), η = 0 where the weights do not vary.
/// </summary>
/// <remarks>
/// You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019, algorithm 1. Covariance and variance are divided by n - 1 as in the
/// authors' code. It has losses of 0 and 1, <see cref="RiskLoss.ZeroOne"/>, and for a domain classifier a network with three hidden layers of d, d and 2 units, whose weight decay is that of the greatest
/// accuracy on a fifth of the rows, drawn by chance, without a fit on all of them after; ours is <see cref="DensityRatio"/>'s.
/// </remarks>
/// <param name="loss">The loss of a row.</param>
/// <param name="ratio">How the density ratio is estimated.</param>
public sealed class DeepEmbeddedValidator(RiskLoss loss = RiskLoss.CrossEntropy, DensityRatio? ratio = null) : Validator
{
    /// <inheritdoc/>
    public override string Name => Risk.Name("dev", loss);

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        double[] weights = (ratio ?? new()).AtValidation(data, cancellation), losses = Risk.Losses(data, loss);
        for (int i = 0; i < losses.Length; i++)
            losses[i] *= weights[i];
        double weight = weights.Average(), risk = losses.Average(), covariance = 0, variance = 0;
        for (int i = 0; i < losses.Length; i++)
        {
            covariance += (losses[i] - risk) * (weights[i] - weight);
            variance += (weights[i] - weight) * (weights[i] - weight);
        }
        double eta = variance > 0 ? -covariance / variance : 0; // both would be divided by n - 1
        return -(risk + eta * (weight - 1));
    }
}

internal static class Risk
{
    public static string Name(string name, RiskLoss loss) => loss == RiskLoss.ZeroOne ? name + "-01" : name;

    /// <summary>The losses of the source's validation rows.</summary>
    public static double[] Losses(ValidationData data, RiskLoss loss)
    {
        var (_, logits, labels) = data.SourceValidation;
        return loss == RiskLoss.CrossEntropy
            ? LinearProbe.Doubles(logits.CrossEntropy(labels!, reduction: LossReduction.None))
            : [.. Predictions.Classes(logits).Zip(labels!.ToArray<int>(), (predicted, label) => predicted == label ? 0.0 : 1)];
    }
}
