namespace TransferEngine.Adaptation;

/// <summary>
/// Transfer component analysis: a projection z = Wᵀ x (or Wᵀ k(x)) under which the domains' means agree, while variance is kept:
/// min tr(Wᵀ K M K W) + λ ‖W‖² under Wᵀ K H K W = I, where M = e eᵀ, e_i = 1/n on the source's rows and -1/m on the target's, and H centres.
/// </summary>
/// <remarks>
/// Pan, Tsang, Kwok and Yang, Domain Adaptation via Transfer Component Analysis, IEEE Transactions on Neural Networks 22 (2011), equation 6 with μ = 1/λ. Solved as the symmetric generalised
/// eigenproblem K H K w = φ (K M K + λ I) w by Cholesky; some libraries hand the product (K M K + λ I)⁻¹ K H K, which is not symmetric, to a symmetric solver and get other vectors.
/// </remarks>
public sealed class TransferComponents : IFeatureAlignment
{
    private readonly ComponentSettings settings;

    /// <param name="settings">How; the defaults if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public TransferComponents(ComponentSettings? settings = null)
    {
        this.settings = settings ?? new();
        this.settings.Validate(nameof(TransferComponents));
    }

    /// <inheritdoc/>
    public string Name => "TCA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are not as many components as are wanted.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        return new ComponentProblem(nameof(TransferComponents), settings, data).Solve(1);
    }
}

/// <summary>
/// Joint distribution adaptation: <see cref="TransferComponents"/> that bring the means of each class together too, M = ω M_0 + Σ_c M_c, where M_c is M_0 of the rows of class c alone.
/// The target's classes are pseudo-labels, predicted in the space found so far, and the two are found by turns, ten times or until no label changes.
/// </summary>
/// <remarks>
/// Long, Wang, Ding, Sun and Yu, Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013, equation 10, with ω = 1; the authors' code has ω = C, the number of classes. A class that no
/// target row is predicted to be of has no term. Progress hears the share of the target's pseudo-labels that changed.
/// </remarks>
public sealed class JointDistributionAdaptation : IFeatureAlignment
{
    private readonly ComponentSettings settings;
    private readonly int iterations;
    private readonly double marginalWeight;
    private readonly IFeatureClassifier classifier;

    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="iterations">The most eigenproblems that are solved.</param>
    /// <param name="marginalWeight">ω.</param>
    /// <param name="classifier">Predicts the pseudo-labels; the nearest neighbour if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public JointDistributionAdaptation(ComponentSettings? settings = null, int iterations = 10, double marginalWeight = 1, IFeatureClassifier? classifier = null)
    {
        this.settings = settings ?? new();
        this.settings.Validate(nameof(JointDistributionAdaptation));
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        if (!(marginalWeight > 0))
            throw new ArgumentOutOfRangeException(nameof(marginalWeight), marginalWeight, "JointDistributionAdaptation: the marginal's weight is positive.");
        (this.iterations, this.marginalWeight, this.classifier) = (iterations, marginalWeight, classifier ?? new NearestNeighbors());
    }

    /// <inheritdoc/>
    public string Name => "JDA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are not as many components as are wanted.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var problem = new ComponentProblem(nameof(JointDistributionAdaptation), settings, data);
        return PseudoLabels.Iterate(data, iterations, classifier, (_, pseudo) => problem.Solve(marginalWeight, 1, pseudo), progress, cancellation);
    }
}

/// <summary>
/// Balanced distribution adaptation: <see cref="JointDistributionAdaptation"/> with M = (1 - μ) M_0 + μ Σ_c M_c, μ given or estimated anew in each iteration from how well classifiers tell the domains
/// apart: μ = 1 - d_M / (d_M + Σ_c d_c), with the proxy A-distances d_M of all rows and d_c of those of class c.
/// </summary>
/// <remarks>
/// Wang, Chen, Hao, Feng and Shen, Balanced Distribution Adaptation for Transfer Learning, ICDM 2017, equation 6; the estimate of μ is that of Wang et al., Visual Domain Adaptation with Manifold Embedded
/// Distribution Alignment, ACM Multimedia 2018, section 3.4. The authors' code of both methods takes the mean of the classes in the place of their sum, in μ and in M, and has C times that M: an option here.
/// Progress hears the share of the target's pseudo-labels that changed.
/// </remarks>
public sealed class BalancedDistributionAdaptation : IFeatureAlignment
{
    private readonly ComponentSettings settings;
    private readonly int iterations;
    private readonly double? balance;
    private readonly bool meanOfClasses;
    private readonly IFeatureClassifier classifier;

    /// <param name="balance">μ, 0 to 1; estimated if null.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="iterations">The most eigenproblems that are solved.</param>
    /// <param name="classifier">Predicts the pseudo-labels; the nearest neighbour if null.</param>
    /// <param name="meanOfClasses">Whether, as in the authors' code, M = C (1 - μ) M_0 + μ Σ_c M_c, and μ is of the mean of the d_c.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public BalancedDistributionAdaptation(double? balance = null, ComponentSettings? settings = null, int iterations = 10, IFeatureClassifier? classifier = null, bool meanOfClasses = false)
    {
        this.settings = settings ?? new();
        this.settings.Validate(nameof(BalancedDistributionAdaptation));
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        if (balance is { } given && !(given is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(balance), balance, "BalancedDistributionAdaptation: the balance lies from 0 to 1.");
        (this.iterations, this.balance, this.classifier, this.meanOfClasses) = (iterations, balance, classifier ?? new NearestNeighbors(), meanOfClasses);
    }

    /// <inheritdoc/>
    public string Name => "BDA";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">There are not as many components as are wanted.</exception>
    public IAlignedSpace Fit(DomainFeatures data, IProgress<ClassicalProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var problem = new ComponentProblem(nameof(BalancedDistributionAdaptation), settings, data);
        return PseudoLabels.Iterate(data, iterations, classifier, (space, pseudo) =>
        {
            if (space is null || pseudo is null)
                return problem.Solve(1); // there are no pseudo-labels yet
            double mu = balance ?? DomainBalance.Estimate(space.Source(data.Source), data.Labels.ToArray<int>(), space.Target(data.Target), pseudo, data.Classes, meanOfClasses, cancellation);
            return problem.Solve(meanOfClasses ? (1 - mu) * data.Classes : 1 - mu, mu, pseudo);
        }, progress, cancellation);
    }
}
