namespace TransferEngine.Adaptation;

/// <summary>
/// The proxy A-distance of the domains' features, 2 (1 - 2 ε), negated; ε is the error of a domain classifier, the mean of both domains' errors. It is fitted on the first of
/// each two rows and measured on the second.
/// </summary>
/// <remarks>Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS 2006; the classifier is logistic regression on standardised features.</remarks>
/// <param name="weightDecay">The classifier's, as <see cref="Transfer.LinearProbeSettings.WeightDecay"/>.</param>
public sealed class ProxyADistanceValidator(double weightDecay = 0.01) : Validator
{
    /// <inheritdoc/>
    public override string Name => "a-distance";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A domain has one row only.</exception>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        Tensor source = data.SourceTrain.Features, target = data.Target.Features;
        Discrepancy.CheckFeatures(nameof(ProxyADistanceValidator), source, target, minimumRows: 2);
        var (sourceFit, sourceHeld) = DomainClassifier.Split(source, 2);
        var (targetFit, targetHeld) = DomainClassifier.Split(target, 2);
        var classifier = DomainClassifier.Fit(sourceFit, targetFit, weightDecay, cancellation);
        double error = (DomainClassifier.Margins(classifier, sourceHeld).Average(margin => margin > 0 ? 1.0 : 0)
            + DomainClassifier.Margins(classifier, targetHeld).Average(margin => margin > 0 ? 0 : 1.0)) / 2;
        return -2 * (1 - 2 * error);
    }
}

/// <summary>The squared maximum mean discrepancy of the domains' features, negated.</summary>
/// <param name="mmd">The kernel and estimator; the default of <see cref="MaximumMeanDiscrepancy"/> if null.</param>
/// <param name="maxRows">The most rows of a domain that count, evenly spaced ones: memory grows with their square.</param>
public sealed class MmdValidator(MaximumMeanDiscrepancy? mmd = null, int maxRows = 2000) : Validator
{
    /// <inheritdoc/>
    public override string Name => "mmd";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return -(mmd ?? new()).Forward(Spaced(data.SourceTrain.Features), Spaced(data.Target.Features)).Item();
    }

    private Tensor Spaced(Tensor rows)
    {
        int count = rows.Shape[0];
        return count <= maxRows ? rows : rows.IndexSelect(0, Tensor.From([.. Enumerable.Range(0, maxRows).Select(i => (int)((long)i * count / maxRows))], [maxRows], rows.Device));
    }
}
