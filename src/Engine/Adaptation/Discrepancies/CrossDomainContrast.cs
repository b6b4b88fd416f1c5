namespace TransferEngine.Adaptation;

/// <summary>
/// Supervised contrast across domains: each row is drawn to the rows of its class in the other domain and pushed from the other domain's remaining rows. For an anchor i with positives
/// P(i), the rows of its class, it is -(1/|P(i)|) Σ_p∈P(i) log (exp(z_i·z_p / τ) / Σ_a exp(z_i·z_a / τ)), a over the other domain's rows, z the features at length 1; the
/// mean over all anchors of both domains that have a positive.
/// </summary>
/// <remarks>
/// Wang et al., Cross-Domain Contrastive Learning for Unsupervised Domain Adaptation, IEEE TMM 25 (2023), equations 3 and 4, there one mean a domain; Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2, for
/// the form that compares all rows of both domains with each other. Rows whose guessed class is -1 are no anchors, no positives and no negatives. Batches may be of two sizes.
/// </remarks>
public sealed class CrossDomainContrast
{
    private readonly double temperature;
    private readonly bool withinDomains;

    /// <param name="temperature">τ; Khosla et al. take 0.07.</param>
    /// <param name="withinDomains">Whether rows are compared with those of their own domain too, as in supervised contrastive learning on the union.</param>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public CrossDomainContrast(double temperature = 0.07, bool withinDomains = false)
    {
        if (!(temperature > 0))
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "CrossDomainContrast: the temperature is positive.");
        (this.temperature, this.withinDomains) = (temperature, withinDomains);
    }

    /// <summary>Measures.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <param name="sourceTargets">Classes, Int32 [n].</param>
    /// <param name="targetFeatures">[m, d].</param>
    /// <param name="targetLabels">Classes that were guessed, Int32 [m]; -1 for rows to leave out.</param>
    /// <param name="classes">The number of classes.</param>
    /// <returns>A scalar; 0 where no row has a positive.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public Tensor Forward(Tensor sourceFeatures, Tensor sourceTargets, Tensor targetFeatures, Tensor targetLabels, int classes)
    {
        const string Name = nameof(CrossDomainContrast);
        Discrepancy.CheckFeatures(Name, sourceFeatures, targetFeatures);
        Discrepancy.CheckLabels(Name, sourceFeatures, sourceTargets, targetFeatures, targetLabels);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        int n = sourceFeatures.Shape[0], m = targetFeatures.Shape[0];
        var z = SphericalClusters.Normalized(Tensor.Concat([sourceFeatures, targetFeatures]));
        Tensor compared, positives;
        using (new NoGrad())
        {
            var members = Tensor.Concat([sourceTargets, targetLabels]).OneHot(classes, z.ElementType);
            var present = members.Sum([1]);
            var domain = Tensor.FromDoubles([.. Enumerable.Range(0, n + m).Select(i => i < n ? 1.0 : -1)], [n + m, 1], z.Device, z.ElementType);
            var pairs = withinDomains ? 1 - Tensor.Eye(n + m, device: z.Device, type: z.ElementType) : domain.MatMulInFull(domain.Transpose()).Less(0);
            compared = pairs * present * present.Unsqueeze(1);
            positives = members.MatMulInFull(members.Transpose()) * compared;
        }
        // Of a row that is compared with none the sum below is one of tiny numbers, and it has no positive that would count it.
        var similarities = z.MatMulInFull(z.Transpose()) / temperature;
        var all = Tensor.Where(compared, similarities, compared - 1e9).LogSumExp([1], keepDim: true);
        var found = positives.Sum([1]);
        var perAnchor = ((all - similarities) * positives).Sum([1]) / found.Clamp(1, double.MaxValue);
        return perAnchor.Sum() / found.Greater(0).Sum().Clamp(1, double.MaxValue);
    }
}
