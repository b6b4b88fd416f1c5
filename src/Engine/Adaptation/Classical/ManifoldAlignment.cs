using MathNet.Numerics.LinearAlgebra.Factorization;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>How a <see cref="ManifoldEmbeddedAlignment"/> is fitted.</summary>
public sealed record ManifoldAlignmentSettings
{
    /// <summary>The dimensions of the <see cref="GeodesicFlowKernel"/> that the features go through first.</summary>
    public int Dimensions { get; init; } = 20;

    /// <summary>η, what the length of the classifier costs.</summary>
    public double Ridge { get; init; } = 0.1;

    /// <summary>λ, what the domains' difference costs.</summary>
    public double AlignmentWeight { get; init; } = 10;

    /// <summary>ρ, what differences of neighbours cost.</summary>
    public double ManifoldWeight { get; init; } = 1;

    /// <summary>p, the neighbours of a row, by the cosine.</summary>
    public int Neighbors { get; init; } = 10;

    /// <summary>μ, 0 to 1, what the classes' means weigh against the domains'; estimated in each iteration as in <see cref="BalancedDistributionAdaptation"/> if null.</summary>
    public double? Balance { get; init; }

    /// <summary>Whether, as in the authors' code, M = C (1 - μ) M_0 + μ Σ_c M_c, and an estimated μ is of the mean of the classes' distances.</summary>
    public bool MeanOfClasses { get; init; }

    /// <summary>The kernel of the classifier; exp(-‖x - y‖² / 2) if null, rows having length 1.</summary>
    public SampleKernel? Kernel { get; init; }

    /// <summary>The most times that the classifier is solved for.</summary>
    public int Iterations { get; init; } = 10;
}

/// <summary>
/// MEDA, manifold embedded distribution alignment: a kernel classifier f = K β on features through the geodesic flow kernel, fitted to the source's classes, with like outputs for both domains, as wholes and
/// within classes, and for neighbours: min Σ_source ‖y_i - f_i‖² + η tr(βᵀ K β) + λ tr(fᵀ M f) + ρ tr(fᵀ L f), M = (1 - μ) M_0 + μ Σ_c M_c by pseudo-labels, which f predicts anew.
/// </summary>
/// <remarks>
/// Wang, Feng, Chen, Yu, Huang and Yu, Visual Domain Adaptation with Manifold Embedded Distribution Alignment, ACM Multimedia 2018, equation 11. M is divided by its Frobenius norm and L is the normalised
/// Laplacian, as in the authors' code, whose M weighs the domains' means C times more: <see cref="ManifoldAlignmentSettings.MeanOfClasses"/>. With K = C Cᵀ and u = Cᵀ β the normal equations are symmetric, (Cᵀ (A + λM + ρL) C + η I) u = Cᵀ A Y, A the source's rows; their constant part is factored once, M, of
/// low rank, is added by the Woodbury identity. Progress hears the share of the pseudo-labels that changed. The cost is that of two factors of n + m.
/// </remarks>
public sealed class ManifoldEmbeddedAlignment : IClassicalMethod
{
    /// <summary>What keeps the kernel of equal rows positive.</summary>
    private const double Jitter = 1e-8;

    private readonly ManifoldAlignmentSettings settings;

    /// <param name="settings">How; the defaults if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public ManifoldEmbeddedAlignment(ManifoldAlignmentSettings? settings = null)
    {
        const string Name = nameof(ManifoldEmbeddedAlignment);
        this.settings = settings ?? new();
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Dimensions, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Neighbors, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Iterations, 1);
        if (!(this.settings.Ridge > 0 && this.settings.AlignmentWeight >= 0 && this.settings.ManifoldWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(settings), $"{Name}: the ridge is positive and weights are 0 or more, got {this.settings.Ridge}, {this.settings.AlignmentWeight} and {this.settings.ManifoldWeight}.");
        if (this.settings.Balance is { } balance && !(balance is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(settings), balance, $"{Name}: the balance lies from 0 to 1.");
    }

    /// <inheritdoc/>
    public string Name => "MEDA";

    /// <inheritdoc/>
    public IPredictor Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        int n = data.Source.Shape[0], m = data.Target.Shape[0];
        var flow = new GeodesicFlowKernel(settings.Dimensions).Fit(data, cancellation: cancellation);
        Tensor source = FeatureScaling.UnitRows(flow.Source(data.Source.Detach())), target = FeatureScaling.UnitRows(flow.Target(data.Target.Detach()));
        var points = scope.Keep(Tensor.Concat([source, target]).To(ElementType.Float64)).KeepAlive(); // a kernel of rounded distances would not be positive
        var kernel = (settings.Kernel ?? new GaussianKernel([1], bandwidth: 2)).Against(points, n);
        var root = Eigenproblem.Root(nameof(ManifoldEmbeddedAlignment), kernel(points) + Jitter * Eigenproblem.Identity(n + m, points.Device));
        var isSource = Tensor.From([.. Enumerable.Range(0, n + m).Select(i => i < n ? 1.0 : 0)], [n + m, 1], points.Device);
        var wanted = Tensor.Concat([data.Labels.OneHot(data.Classes, ElementType.Float64), Tensor.Zeros([m, data.Classes], points.Device, ElementType.Float64)]);
        var laplacian = settings.ManifoldWeight * Laplacian(points);
        cancellation.ThrowIfCancellationRequested();
        var fixedPart = root.Transpose().MatMul(isSource * root + laplacian.MatMul(root)) + settings.Ridge * Eigenproblem.Identity(n + m, points.Device);
        var factor = Spectrum.Rows((fixedPart + fixedPart.Transpose()) * 0.5).Cholesky();
        cancellation.ThrowIfCancellationRequested();
        var plain = Solve(factor, root.Transpose().MatMul(wanted));
        int[] pseudo = new NearestNeighbors().Fit(source, data.Labels, data.Classes, null, cancellation).Predict(target).ToArray<int>();
        Tensor? beta = null;
        for (int iteration = 1; iteration <= settings.Iterations; iteration++)
        {
            cancellation.ThrowIfCancellationRequested();
            double mu = settings.Balance ?? DomainBalance.Estimate(source, data.Labels.ToArray<int>(), target, pseudo, data.Classes, settings.MeanOfClasses, cancellation);
            using var inner = new TensorScope();
            var e = PseudoLabels.MeanDifferences(data, settings.MeanOfClasses ? (1 - mu) * data.Classes : 1 - mu, mu, pseudo, normalize: true) * Math.Sqrt(settings.AlignmentWeight);
            var low = root.Transpose().MatMul(e);
            var solved = Solve(factor, low);
            var small = Spectrum.Rows(low.Transpose().MatMul(solved) + Eigenproblem.Identity(e.Shape[1], e.Device)).Cholesky();
            var outputs = root.MatMul(plain - solved.MatMul(Solve(small, low.Transpose().MatMul(plain))));
            beta = inner.Keep((wanted - isSource * outputs - e.MatMul(e.Transpose().MatMul(outputs)) - laplacian.MatMul(outputs)) / settings.Ridge);
            int[] next = Predictions.Classes(outputs.Narrow(0, n, m).Contiguous());
            double changed = PseudoLabels.Changed(pseudo, next);
            pseudo = next;
            progress?.Report(new(iteration, settings.Iterations, changed));
            if (changed == 0)
                break;
        }
        return new Predictor(flow, kernel, scope.Keep(beta!).KeepAlive());
    }

    private static Tensor Solve(Cholesky<double> factor, Tensor right) =>
        Tensor.From(factor.Solve(Spectrum.Rows(right)).Transpose().ToColumnMajorArray(), right.Shape, right.Device);

    /// <summary>I - D^-½ W D^-½ of the graph in which a row is tied to its nearest by the cosine, and they to it, as strongly as that is.</summary>
    private Tensor Laplacian(Tensor rows)
    {
        int count = rows.Shape[0], p = Math.Min(settings.Neighbors, count - 1);
        double[] cosines = rows.MatMul(rows.Transpose()).ToArray<double>(), ties = new double[count * count], roots = new double[count];
        int[] order = new int[count];
        for (int i = 0; i < count; i++)
        {
            double[] apart = Array.ConvertAll(cosines[(i * count)..((i + 1) * count)], cosine => -cosine);
            apart[i] = double.PositiveInfinity;
            for (int j = 0; j < count; j++)
                order[j] = j;
            Array.Sort(apart, order);
            foreach (int j in order.AsSpan(0, p))
                ties[i * count + j] = ties[j * count + i] = Math.Max(0, cosines[i * count + j]);
        }
        for (int i = 0; i < count; i++)
        {
            double degree = ties.AsSpan(i * count, count).ToArray().Sum();
            roots[i] = degree > 0 ? 1 / Math.Sqrt(degree) : 0;
        }
        var scale = Tensor.From(roots, rows.Device);
        return Eigenproblem.Identity(count, rows.Device) - scale.Unsqueeze(1) * Tensor.From(ties, [count, count], rows.Device) * scale;
    }

    private sealed class Predictor(IAlignedSpace flow, Func<Tensor, Tensor> kernel, Tensor beta) : IPredictor
    {
        public Tensor Predict(Tensor features)
        {
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            var outputs = kernel(FeatureScaling.UnitRows(flow.Target(features)).To(ElementType.Float64)).MatMul(beta);
            return scope.Keep(Tensor.From(Predictions.Classes(outputs), features.Device));
        }
    }
}
