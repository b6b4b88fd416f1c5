namespace TransferEngine.Adaptation;

/// <summary>
/// Deep CORAL: the squared distance between the covariances of the two domains' features, ‖C_S - C_T‖²_F / (4 d²), where
/// C = (Zᵀ Z - 1ᵀZ Zᵀ1 / n) / (n - 1) is the unbiased covariance of n rows of d features.
/// </summary>
/// <remarks>
/// Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV Workshops 2016, equations 1 to 3. It does not see shifts
/// of the mean. The two batches may be of different sizes. Its values are small, of order d⁻² times the features' fourth moments, hence the
/// large weights that it is used with. pytorch-adapt, skada, DeepDA and ADAPT compute this too; tllib and DomainBed don't: see <see cref="Tllib"/>.
/// </remarks>
public sealed class DeepCoral : IDiscrepancy
{
    private readonly bool withMeans;

    /// <summary>The paper's.</summary>
    public DeepCoral()
    {
    }

    private DeepCoral(bool withMeans) => this.withMeans = withMeans;

    /// <summary>tllib's: the mean square of the difference of the means, plus that of the covariances, so ‖C_S - C_T‖²_F / d², four times the paper's; it sees shifts of the mean.</summary>
    public static DeepCoral Tllib() => new(withMeans: true);

    /// <summary>DomainBed's, the same as <see cref="Tllib"/>'s for a pair of domains.</summary>
    public static DeepCoral DomainBed() => new(withMeans: true);

    /// <inheritdoc/>
    /// <exception cref="ShapeException">A batch has fewer than two rows, or the numbers of features differ.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures("DeepCoral", source, target, minimumRows: 2);
        double d = source.Shape[1];
        var difference = (Covariance(source) - Covariance(target)).Square();
        return withMeans ? (source.Mean([0]) - target.Mean([0])).Square().Mean() + difference.Mean() : difference.Sum() / (4 * d * d);
    }

    /// <summary>The unbiased covariance of the rows, [d, d].</summary>
    internal static Tensor Covariance(Tensor features)
    {
        int n = features.Shape[0];
        var centred = features - features.Mean([0], keepDim: true);
        return centred.Transpose().MatMulInFull(centred) / (n - 1);
    }
}
