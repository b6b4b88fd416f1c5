namespace TransferEngine.Adaptation;

/// <summary>How much the domains' distributions differ within classes, against how much they differ as a whole.</summary>
internal static class DomainBalance
{
    private const int LeastRows = 2;

    /// <summary>μ = 1 - d_M / (d_M + Σ_c d_c), or of the mean of the d_c, of proxy A-distances d = 2 (1 - 2 ε); ½ where no classifier can tell the domains apart.</summary>
    /// <param name="source">[n, d].</param>
    /// <param name="labels">Its classes.</param>
    /// <param name="target">[m, d].</param>
    /// <param name="pseudo">Its pseudo-labels.</param>
    /// <param name="classes">The number of classes.</param>
    /// <param name="ofMean">Whether the mean of the classes' distances is taken, as in the authors' code, in the place of their sum.</param>
    /// <param name="cancellation">Ends it early.</param>
    public static double Estimate(Tensor source, int[] labels, Tensor target, int[] pseudo, int classes, bool ofMean, CancellationToken cancellation)
    {
        using var scope = new TensorScope();
        double marginal = Distance(source, target, cancellation), conditional = 0;
        for (int c = 0; c < classes; c++)
        {
            Tensor own = Of(source, labels, c), other = Of(target, pseudo, c);
            if (own.Shape[0] >= LeastRows && other.Shape[0] >= LeastRows)
                conditional += Distance(own, other, cancellation);
        }
        double sum = marginal + (ofMean ? conditional / classes : conditional);
        return sum > 0 ? Math.Clamp(1 - marginal / sum, 0, 1) : 0.5;
    }

    /// <summary>The distance by a domain classifier's error on the rows that it is fitted on, never below 0: as the method's authors measure it.</summary>
    private static double Distance(Tensor source, Tensor target, CancellationToken cancellation)
    {
        var classifier = DomainClassifier.Fit(source, target, 0.01, cancellation);
        double error = (DomainClassifier.Margins(classifier, source).Average(margin => margin > 0 ? 1.0 : 0) + DomainClassifier.Margins(classifier, target).Average(margin => margin > 0 ? 0 : 1.0)) / 2;
        return Math.Max(0, 2 * (1 - 2 * error));
    }

    private static Tensor Of(Tensor rows, int[] classes, int c)
    {
        int[] own = [.. Enumerable.Range(0, classes.Length).Where(i => classes[i] == c)];
        return rows.IndexSelect(0, Tensor.From(own, rows.Device));
    }
}
