namespace TransferEngine.Adaptation;

/// <summary>
/// DeepJDOT: transports the joint distribution of features and labels: Σ P_ij (α ‖s_i - t_j‖² + λ L(y_i, t_j)), where L is the cross-entropy of the target row's
/// prediction with the source row's class, and P the plan of least cost between the two batches, held constant.
/// </summary>
/// <remarks>
/// Damodaran et al., DeepJDOT: Deep Joint Distribution Optimal Transport for Unsupervised Domain Adaptation, ECCV 2018, equation 6; α = 0.001 and λ = 0.0001 are its
/// digits'. The plan is of the cost that is then transported, by the features and logits of the step, in training mode; the authors' differs: <see cref="Authors"/>. It is exact, computed on the host, which
/// waits for the device and costs O(n³); a regularization makes it Sinkhorn's on the device. Batches may be of two sizes; the authors draw the source's with as many rows of each class.
/// </remarks>
public sealed class DeepJdot : WeightedMethod
{
    private readonly double featureWeight, labelWeight;
    private readonly double? regularization, planLabelWeight;
    private readonly int iterations;

    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="featureWeight">α, 0 or more.</param>
    /// <param name="labelWeight">λ, 0 or more.</param>
    /// <param name="regularization">An entropic penalty in units of the mean cost, which makes the plan Sinkhorn's; exact if null.</param>
    /// <param name="iterations">Sinkhorn's iterations.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public DeepJdot(double weight = 1, Func<double, double>? schedule = null, double featureWeight = 1e-3, double labelWeight = 1e-4, double? regularization = null, int iterations = 100)
        : base("deepjdot", weight, schedule)
    {
        if (!(featureWeight >= 0) || !(labelWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(featureWeight), $"DeepJdot: weights are 0 or more, got {featureWeight} and {labelWeight}.");
        if (regularization is { } given && !(given > 0))
            throw new ArgumentOutOfRangeException(nameof(regularization), given, "DeepJdot: the regularization is positive; null for the exact plan.");
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        (this.featureWeight, this.labelWeight, this.regularization, this.iterations) = (featureWeight, labelWeight, regularization, iterations);
    }

    private DeepJdot(double weight, Func<double, double>? schedule, double featureWeight, double labelWeight, double planLabelWeight)
        : this(weight, schedule, featureWeight, labelWeight)
    {
        if (!(planLabelWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(planLabelWeight), planLabelWeight, "DeepJdot: the labels' weight in the plan is 0 or more.");
        this.planLabelWeight = planLabelWeight;
    }

    /// <summary>
    /// The authors' code: the exact plan is of the cost α ‖s_i - t_j‖² + λ' ‖onehot(y_i) - p_j‖², p the softmax, with the networks in evaluation mode; what it transports is α ‖s_i - t_j‖² + λ L(y_i, t_j)
    /// of the step's own features and logits. Given features and logits are taken for both.
    /// </summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="featureWeight">α, 0 or more.</param>
    /// <param name="labelWeight">λ, 0 or more.</param>
    /// <param name="planLabelWeight">λ', 0 or more; λ if null, as in the script of SVHN and MNIST. The authors' class of the method has 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A weight is out of range.</exception>
    public static DeepJdot Authors(double weight = 1, Func<double, double>? schedule = null, double featureWeight = 1e-3, double labelWeight = 1e-4, double? planLabelWeight = null) =>
        new(weight, schedule, featureWeight, labelWeight, planLabelWeight ?? labelWeight);

    /// <summary>skada's: α = λ = 1, and the exact plan.</summary>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    public static DeepJdot Skada(double weight = 1, Func<double, double>? schedule = null) => new(weight, schedule, featureWeight: 1, labelWeight: 1);

    /// <summary>Measures.</summary>
    /// <param name="sourceFeatures">[n, d].</param>
    /// <param name="sourceTargets">Classes, Int32 [n].</param>
    /// <param name="targetFeatures">[m, d].</param>
    /// <param name="targetLogits">[m, C].</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor sourceFeatures, Tensor sourceTargets, Tensor targetFeatures, Tensor targetLogits) =>
        Transported(sourceFeatures, sourceTargets, targetFeatures, targetLogits, (sourceFeatures, targetFeatures, targetLogits));

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return planLabelWeight is null
            ? Forward(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, step.TargetLogits)
            : Transported(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, step.TargetLogits, step.Evaluated());
    }

    private Tensor Transported(Tensor sourceFeatures, Tensor sourceTargets, Tensor targetFeatures, Tensor targetLogits, (Tensor Source, Tensor Target, Tensor Logits) planned)
    {
        Discrepancy.CheckFeatures(nameof(DeepJdot), sourceFeatures, targetFeatures);
        Discrepancy.CheckClasses(nameof(DeepJdot), sourceFeatures, sourceTargets, targetFeatures, targetLogits);
        var labels = sourceTargets.OneHot(targetLogits.Shape[1], targetLogits.ElementType);
        var cost = sourceFeatures.PairwiseSquaredDistances(targetFeatures) * featureWeight - labels.MatMulInFull(targetLogits.LogSoftmax().Transpose()) * labelWeight;
        if (planLabelWeight is not { } labelsInPlan)
            return (Plan(cost) * cost).Sum();
        Tensor planCost;
        using (new NoGrad())
            planCost = planned.Source.PairwiseSquaredDistances(planned.Target) * featureWeight + labels.PairwiseSquaredDistances(planned.Logits.Softmax()) * labelsInPlan;
        return (Plan(planCost) * cost).Sum();
    }

    private Tensor Plan(Tensor cost)
    {
        using var recording = new NoGrad();
        if (regularization is { } penalty)
            return new EntropicTransport(cost.Detach().Mean() * penalty + 1e-30, iterations).Plan(cost);
        using var wide = cost.Detach().To(ElementType.Float64);
        double[] values = wide.ToArray<double>();
        if (!Array.TrueForAll(values, double.IsFinite))
            return cost.Detach() * double.NaN; // a training that has diverged shows in its loss
        return Tensor.FromDoubles(ExactTransport.Plan(values, cost.Shape[0], cost.Shape[1]), cost.Shape, cost.Device, cost.ElementType);
    }
}
