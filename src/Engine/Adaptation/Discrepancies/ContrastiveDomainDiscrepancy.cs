namespace TransferEngine.Adaptation;

/// <summary>
/// CDD, what CAN makes small: classes are drawn together across the domains and pushed apart from each other, (1/M) Σ_c D_cc - 1/(M (M - 1)) Σ_c≠c' D_cc', where
/// D_cc' = ‖mean of φ(s) over the source's rows of class c - mean of φ(t) over the target's rows of class c'‖² is the biased squared MMD of the two, under a <see cref="SampleKernel"/>.
/// The sums are over the M classes that both batches have; rows of other classes count nowhere, nor in the kernel's bandwidth.
/// </summary>
/// <remarks>
/// Kang et al., Contrastive Adaptation Network for Unsupervised Domain Adaptation, CVPR 2019, equations 3 to 5. The paper samples batches of a few classes with many rows each;
/// any batches do here, of two sizes too, and a class that one of them lacks is left out. The kernel is by default a mean of Gaussians, of one bandwidth for all pairs of classes; the authors' code has the sum,
/// a bandwidth for each pair, and other factors: <see cref="Authors"/>.
/// </remarks>
public sealed class ContrastiveDomainDiscrepancy
{
    private enum Form
    {
        Paper,
        Authors,
        Skada,
    }

    /// <summary>What no bandwidth of the authors' form is below, before its factors.</summary>
    private const double LeastBandwidth = 4e-5;

    private readonly Form form;
    private readonly SampleKernel? kernel;
    private readonly int classThreshold;

    /// <param name="kernel">The kernel; the mean of five Gaussians, as in <see cref="MaximumMeanDiscrepancy"/>, if null.</param>
    public ContrastiveDomainDiscrepancy(SampleKernel? kernel = null) : this(Form.Paper, kernel ?? new GaussianKernel())
    {
    }

    private ContrastiveDomainDiscrepancy(Form form, SampleKernel? kernel, int classThreshold = 0) => (this.form, this.kernel, this.classThreshold) = (form, kernel, classThreshold);

    /// <summary>
    /// The authors' code: the sum of five Gaussians exp(-‖x - y‖² / (2^k γ_cc')), k = -2..2, with a bandwidth of each pair of classes, γ_cc' = the mean squared distance over the pairs of different rows among
    /// the source's of class c and the target's of class c' together, held constant; and factors 1/C and 1/(C (C - 1)) of the number of all classes in place of M. No 2^k γ is below 10^-5.
    /// Memory is that of C (n² + m²) kernels.
    /// </summary>
    public static ContrastiveDomainDiscrepancy Authors() => new(Form.Authors, kernel: null);

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
        return new(Form.Skada, LaplacianKernel.Skada(), classThreshold);
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
        var members = new Members(sourceTargets.OneHot(classes, type), targetLabels.OneHot(classes, type));
        return form switch
        {
            Form.Authors => OfAuthors(sourceFeatures, targetFeatures, members),
            Form.Skada => OfSkada(sourceFeatures, targetFeatures, members),
            _ => OfPaper(sourceFeatures, targetFeatures, members),
        };
    }

    private Tensor OfPaper(Tensor source, Tensor target, Members members)
    {
        var common = members.Common.Unsqueeze(1);
        var counted = Tensor.Concat([members.Source.MatMulInFull(common), members.Target.MatMulInFull(common)]).Reshape(-1);
        var (ss, tt, st) = Blocks(kernel!.Matrix(Tensor.Concat([source, target]), source.Shape[0], counted), source.Shape[0]);
        Tensor own = Within(ss, members.Source) / members.SourceRows.Square(), theirs = Within(tt, members.Target) / members.TargetRows.Square();
        return ((own.Unsqueeze(1) + theirs - Across(st, members) / members.Pairs * 2) * members.Weights(members.Common.Sum())).Sum();
    }

    private static Tensor OfAuthors(Tensor source, Tensor target, Members members)
    {
        Tensor ss = source.PairwiseSquaredDistances(source), tt = target.PairwiseSquaredDistances(target), st = source.PairwiseSquaredDistances(target), bandwidths;
        using (new NoGrad())
        {
            var rows = members.SourceRows.Unsqueeze(1) + members.TargetRows;
            bandwidths = (Within(ss, members.Source).Unsqueeze(1) + Within(tt, members.Target) + Across(st, members) * 2) / (rows * (rows - 1)).Clamp(1, double.MaxValue);
        }
        var factors = Tensor.FromDoubles([0.25, 0.5, 1, 2, 4], [5], source.Device, source.ElementType);
        var own = Own(ss, members.Source, members.SourceRows, bandwidths.Transpose()).Transpose();
        var theirs = Own(tt, members.Target, members.TargetRows, bandwidths);
        var across = Across(Kernel(st, members.Source.MatMulInFull(bandwidths).MatMulInFull(members.Target.Transpose())), members) / members.Pairs;
        return ((own + theirs - across * 2) * members.Weights(Tensor.Full([], members.Classes, source.Device, source.ElementType))).Sum();

        // The mean of the kernel within each class of one domain, under its bandwidth with each class of the other, [C of the other, C].
        Tensor Own(Tensor distances, Tensor classes, Tensor rows, Tensor withOther)
        {
            var ofRows = withOther.MatMulInFull(classes.Transpose()).Unsqueeze(2);
            var shares = (classes / rows.Square()).MatMulInFull(classes.Transpose());
            return (Kernel(distances, ofRows) * shares).Sum([2]).MatMulInFull(classes);
        }

        Tensor Kernel(Tensor distances, Tensor bandwidth) => (distances / bandwidth.Clamp(LeastBandwidth, double.MaxValue)).GaussianKernel(factors);
    }

    private Tensor OfSkada(Tensor source, Tensor target, Members members)
    {
        int classes = members.Classes;
        var counted = members.Target.Sum([0]).GreaterOrEqual(classThreshold);
        members = new(members.Source, members.Target * counted);
        var (ss, tt, st) = Blocks(kernel!.Matrix(Tensor.Concat([source, target]), source.Shape[0]), source.Shape[0]);
        // The target's rows that do not count are not there at all.
        var present = members.Target.Sum([1], keepDim: true);
        Tensor own = ss.MatMulInFull(members.Source).Sum([0]) / members.SourceRows.Square(), theirs = (tt.MatMulInFull(members.Target) * present).Sum([0]) / members.TargetRows.Square();
        var upper = Tensor.FromDoubles([.. Enumerable.Range(0, classes * classes).Select(k => k / classes < k % classes ? 1.0 : 0)], [classes, classes], source.Device, source.ElementType);
        var weights = counted.Unsqueeze(1) * counted * (members.Same / classes - upper / Math.Max(1, (double)classes * (classes - 1)));
        return ((own.Unsqueeze(1) + theirs - Across(st, members) / members.Pairs.Square() * 2) * weights).Sum();
    }

    private static (Tensor Source, Tensor Target, Tensor Across) Blocks(Tensor matrix, int n)
    {
        int m = matrix.Shape[0] - n;
        return (matrix.Narrow(0, 0, n).Narrow(1, 0, n), matrix.Narrow(0, n, m).Narrow(1, n, m), matrix.Narrow(0, 0, n).Narrow(1, n, m));
    }

    /// <summary>Sums over the pairs of rows within each class, [C], of [n, n].</summary>
    private static Tensor Within(Tensor pairs, Tensor classes) => (pairs.MatMulInFull(classes) * classes).Sum([0]);

    /// <summary>Sums over the pairs of rows of each class of the source and each of the target, [C, C], of [n, m].</summary>
    private static Tensor Across(Tensor pairs, Members members) => members.Source.Transpose().MatMulInFull(pairs).MatMulInFull(members.Target);

    /// <summary>Which class each row is of, [n, C] and [m, C] of 0 and 1; rows of 0 are of none.</summary>
    private sealed record Members(Tensor Source, Tensor Target)
    {
        public int Classes => Source.Shape[1];

        /// <summary>1 for classes that both domains have, else 0.</summary>
        public Tensor Common { get; } = Source.Sum([0]).Greater(0) * Target.Sum([0]).Greater(0);

        /// <summary>The rows of each class; 1 of one without, whose sums are 0.</summary>
        public Tensor SourceRows { get; } = Source.Sum([0]).Clamp(1, double.MaxValue);

        public Tensor TargetRows { get; } = Target.Sum([0]).Clamp(1, double.MaxValue);

        public Tensor Pairs => SourceRows.Unsqueeze(1) * TargetRows;

        public Tensor Same { get; } = Tensor.Eye(Source.Shape[1], device: Source.Device, type: Source.ElementType);

        /// <summary>What each pair of common classes weighs: 1 / count for one with itself, -1 / (count (count - 1)) for two.</summary>
        public Tensor Weights(Tensor count) =>
            Common.Unsqueeze(1) * Common * (Same / count.Clamp(1, double.MaxValue) - (1 - Same) / (count * (count - 1)).Clamp(1, double.MaxValue));
    }
}
