namespace TransferEngine.Adaptation;

/// <summary>
/// CDD, what CAN makes small: classes are drawn together across the domains and pushed apart from each other, (1/M) Σ_c D_cc - 1/(M (M - 1)) Σ_c≠c' D_cc', where
/// D_cc' = ‖mean of φ(s) over the source's rows of class c - mean of φ(t) over the target's rows of class c'‖² is the biased squared MMD of the two, under a <see cref="SampleKernel"/>.
/// The sums are over the M classes that both batches have.
/// </summary>
/// <remarks>
/// Kang et al., Contrastive Adaptation Network for Unsupervised Domain Adaptation, CVPR 2019, equations 3 to 5. The paper samples batches of a few classes with many rows each;
/// any batches do here, of two sizes too, and a class that one of them lacks is left out.
/// </remarks>
public sealed class ContrastiveDomainDiscrepancy
{
    private readonly SampleKernel kernel;
    private readonly int skadaMinimum;

    /// <param name="kernel">The kernel; the mean of five Gaussians, as in <see cref="MaximumMeanDiscrepancy"/>, if null.</param>
    public ContrastiveDomainDiscrepancy(SampleKernel? kernel = null) : this(kernel ?? new GaussianKernel(), skadaMinimum: 0)
    {
    }

    private ContrastiveDomainDiscrepancy(SampleKernel kernel, int skadaMinimum) => (this.kernel, this.skadaMinimum) = (kernel, skadaMinimum);

    /// <summary>
    /// skada's <c>cdd_loss</c>, which differs from the paper: a class's own terms sum the kernel over all rows of the domain with the rows of the class, over the class's rows squared; the
    /// cross term is divided by the square of the number of pairs; of c ≠ c' each pair counts once, yet is divided by C (C - 1), and C is the number of classes, counted or
    /// not. A class counts where the target has three rows of it. The kernel is <see cref="LaplacianKernel.Skada"/>.
    /// </summary>
    /// <param name="classThreshold">Rows of the target that a class needs to count.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is below 1.</exception>
    public static ContrastiveDomainDiscrepancy Skada(int classThreshold = 3)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classThreshold, 1);
        return new(LaplacianKernel.Skada(), classThreshold);
    }

    /// <summary>Measures.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <param name="sourceTargets">Classes, Int32 [n].</param>
    /// <param name="targetFeatures">[m, d].</param>
    /// <param name="targetLabels">Classes that were guessed, Int32 [m]; -1 for rows to leave out.</param>
    /// <param name="classes">The number of classes.</param>
    /// <returns>A scalar; 0 where no class is in both batches.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public Tensor Forward(Tensor sourceFeatures, Tensor sourceTargets, Tensor targetFeatures, Tensor targetLabels, int classes)
    {
        const string Name = nameof(ContrastiveDomainDiscrepancy);
        Discrepancy.CheckFeatures(Name, sourceFeatures, targetFeatures);
        Discrepancy.CheckLabels(Name, sourceFeatures, sourceTargets, targetFeatures, targetLabels);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        var type = sourceFeatures.ElementType;
        Tensor s = sourceTargets.OneHot(classes, type), t = targetLabels.OneHot(classes, type);
        if (skadaMinimum > 0)
            t *= t.Sum([0]).GreaterOrEqual(skadaMinimum);
        Tensor n = s.Sum([0]), m = t.Sum([0]), eye = Tensor.Eye(classes, device: s.Device, type: type);
        // Sums of the kernel over the rows of each class of each domain, [2 C, 2 C], the source's first.
        Tensor Empty(Tensor like) => Tensor.Zeros(like.Shape, like.Device, type);
        var members = Tensor.Concat([Tensor.Concat([s, Empty(s)], 1), Tensor.Concat([Empty(t), t], 1)]);
        var matrix = kernel.Matrix(Tensor.Concat([sourceFeatures, targetFeatures]), sourceFeatures.Shape[0]);
        var columns = matrix.MatMulInFull(members);
        var sums = members.Transpose().MatMulInFull(columns);
        return skadaMinimum > 0 ? OfSkada() : OfPaper();

        Tensor OfPaper()
        {
            // Of a class without rows the sums are 0, and so are its weights.
            Tensor weights, rows = n.Clamp(1, double.MaxValue), others = m.Clamp(1, double.MaxValue);
            using (new NoGrad())
            {
                var counted = n.Greater(0) * m.Greater(0);
                var count = counted.Sum();
                weights = counted.Unsqueeze(1) * counted * (eye / count.Clamp(1, classes) - (1 - eye) / (count * (count - 1)).Clamp(1, double.MaxValue));
            }
            var own = Diagonal(sums, 0) / rows.Square();
            var theirs = Diagonal(sums, classes) / others.Square();
            var across = sums.Narrow(0, 0, classes).Narrow(1, classes, classes) / (rows.Unsqueeze(1) * others);
            return ((own.Unsqueeze(1) + theirs - across * 2) * weights).Sum();
        }

        Tensor OfSkada()
        {
            int count = s.Shape[0];
            Tensor rows = n.Clamp(1, double.MaxValue), others = m.Clamp(1, double.MaxValue), counted = m.GreaterOrEqual(skadaMinimum);
            // The target's rows that do not count are not there at all.
            var present = t.Sum([1], keepDim: true);
            var own = columns.Narrow(0, 0, count).Narrow(1, 0, classes).Sum([0]) / rows.Square();
            var theirs = (columns.Narrow(0, count, t.Shape[0]).Narrow(1, classes, classes) * present).Sum([0]) / others.Square();
            var across = sums.Narrow(0, 0, classes).Narrow(1, classes, classes) / (rows.Unsqueeze(1) * others).Square();
            var upper = Tensor.FromDoubles([.. Enumerable.Range(0, classes * classes).Select(k => k / classes < k % classes ? 1.0 : 0)], [classes, classes], s.Device, type);
            var weights = counted.Unsqueeze(1) * counted * (eye / classes - upper / Math.Max(1, (double)classes * (classes - 1)));
            return ((own.Unsqueeze(1) + theirs - across * 2) * weights).Sum();
        }

        Tensor Diagonal(Tensor square, int start) => square.Reshape(-1).Narrow(0, start * (2 * classes + 1), classes, 2 * classes + 1);
    }
}
