using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>Tells target rows from source rows by their features: logistic regression on standardised features, class 0 the source and 1 the target.</summary>
internal static class DomainClassifier
{
    /// <summary>Fits.</summary>
    public static Linear Fit(Tensor source, Tensor target, double weightDecay, CancellationToken cancellation)
    {
        int n = source.Shape[0], m = target.Shape[0];
        var domains = new int[n + m];
        Array.Fill(domains, 1, n, m);
        double tolerance = source.ElementType == ElementType.Float64 ? 1e-7 : 1e-5; // a gradient of 1e-7 is beyond float32
        return LinearProbe.Fit(Tensor.Concat([source, target]), Tensor.From(domains, [n + m], source.Device), 2, new() { WeightDecay = weightDecay, Tolerance = tolerance }, cancellation: cancellation);
    }

    /// <summary>The logit of the target less that of the source, of each row.</summary>
    public static double[] Margins(Linear classifier, Tensor features)
    {
        var logits = classifier.Forward(features);
        return LinearProbe.Doubles(logits.Narrow(1, 1, 1) - logits.Narrow(1, 0, 1));
    }

    /// <summary>Rows for fitting and rows for measuring: of each <paramref name="period"/> rows the last is held out.</summary>
    public static (Tensor Fit, Tensor Held) Split(Tensor rows, int period)
    {
        var sides = Enumerable.Range(0, rows.Shape[0]).ToLookup(row => row % period == period - 1);
        Tensor Take(bool held) => rows.IndexSelect(0, Tensor.From([.. sides[held]], [sides[held].Count()], rows.Device));
        return (Take(false), Take(true));
    }
}

/// <summary>
/// The ratio w(x) = p_target(x) / p_source(x) of the densities of the features, from a domain classifier's probabilities:
/// w(x) = (n_source / n_target) P(target | x) / P(source | x).
/// </summary>
/// <remarks>
/// Bickel, Brückner and Scheffer, Discriminative Learning for Differing Training and Test Distributions, ICML 2007; You et al. 2019 for features. The classifier is
/// logistic regression with the weight decay, among those given, of the least cross-entropy on every fifth row, held out; then it is fitted on all rows.
/// </remarks>
public sealed record DensityRatio
{
    /// <summary>The weight decays to choose from, as <see cref="LinearProbeSettings.WeightDecay"/>; one is taken as it is.</summary>
    public IReadOnlyList<double> WeightDecays { get; init; } = [1, 0.1, 0.01, 0.001];

    /// <summary>The ratios at each row of <paramref name="at"/>.</summary>
    /// <param name="source">Features of the source, [n, d].</param>
    /// <param name="target">Features of the target, [m, d].</param>
    /// <param name="at">[k, d].</param>
    /// <param name="cancellation">Ends it early.</param>
    /// <returns>k ratios, 0 or more.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, or there are several decays to choose from and a domain has fewer than five rows.</exception>
    /// <exception cref="ArgumentException">There is no decay.</exception>
    public double[] Weights(Tensor source, Tensor target, Tensor at, CancellationToken cancellation = default)
    {
        Discrepancy.CheckFeatures(nameof(DensityRatio), source, target);
        Discrepancy.CheckFeatures(nameof(DensityRatio), source, at);
        if (WeightDecays.Count == 0)
            throw new ArgumentException("DensityRatio: there is no weight decay. Give one or more.");
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        double decay = WeightDecays.Count == 1 ? WeightDecays[0] : Best(source, target, cancellation);
        double[] weights = DomainClassifier.Margins(DomainClassifier.Fit(source, target, decay, cancellation), at);
        double rows = (double)source.Shape[0] / target.Shape[0];
        for (int i = 0; i < weights.Length; i++)
            weights[i] = rows * Math.Exp(weights[i]);
        return weights;
    }

    /// <summary>The ratios at the validation rows, computed once for all validators with the same settings.</summary>
    internal double[] AtValidation(ValidationData data, CancellationToken cancellation) =>
        data.Once((nameof(DensityRatio), string.Join(' ', WeightDecays)), () => Weights(data.SourceTrain.Features, data.Target.Features, data.SourceValidation.Features, cancellation));

    private double Best(Tensor source, Tensor target, CancellationToken cancellation)
    {
        const int Period = 5;
        Check.That(source.Shape[0] >= Period && target.Shape[0] >= Period,
            $"DensityRatio: source {source.Shape} and target {target.Shape}; to choose a weight decay each needs {Period} rows or more. Give more rows, or one decay.");
        var (sourceFit, sourceHeld) = DomainClassifier.Split(source, Period);
        var (targetFit, targetHeld) = DomainClassifier.Split(target, Period);
        return WeightDecays.MinBy(decay =>
        {
            var classifier = DomainClassifier.Fit(sourceFit, targetFit, decay, cancellation);
            return DomainClassifier.Margins(classifier, sourceHeld).Sum(Softplus) + DomainClassifier.Margins(classifier, targetHeld).Sum(margin => Softplus(-margin));
        });
    }

    /// <summary>log(1 + e^x).</summary>
    private static double Softplus(double x) => Math.Max(x, 0) + Math.Log(1 + Math.Exp(-Math.Abs(x)));
}
