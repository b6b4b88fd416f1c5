using TransferEngine.Data;

namespace TransferEngine.Adaptation;

/// <summary>
/// A method that labels the target by clusters: spherical k-means over the features of the whole target domain, one cluster a class, begun at the centres of the source's classes and done
/// anew at the first step of each pass through the target. A row of a batch takes the class of the nearest centre; those too far from it, and classes of too few rows in the domain, are left out.
/// </summary>
/// <remarks>Kang et al., Contrastive Adaptation Network for Unsupervised Domain Adaptation, CVPR 2019, section 3.3. The networks are in evaluation mode while the domains are clustered.</remarks>
public abstract class ClusteredMethod : AdaptationMethod
{
    private readonly double weight, distanceThreshold;
    private readonly Func<double, double>? schedule;
    private readonly int classThreshold;
    private AdaptationRun? run;
    private Tensor? centres, counted;

    /// <param name="name">What it is called in reports.</param>
    /// <param name="weight">What it weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="distanceThreshold">Rows at ½ (1 - cos) of this or more from their centre are left out; above 1 none is.</param>
    /// <param name="classThreshold">Rows of the target that a class needs.</param>
    /// <exception cref="ArgumentOutOfRangeException">The distance is not positive, or the rows are negative.</exception>
    protected ClusteredMethod(string name, double weight, Func<double, double>? schedule, double distanceThreshold, int classThreshold)
    {
        if (!(distanceThreshold > 0))
            throw new ArgumentOutOfRangeException(nameof(distanceThreshold), distanceThreshold, $"{name}: the distance threshold is positive.");
        ArgumentOutOfRangeException.ThrowIfNegative(classThreshold);
        (Name, this.weight, this.schedule, this.distanceThreshold, this.classThreshold) = (name, weight, schedule, distanceThreshold, classThreshold);
    }

    /// <inheritdoc/>
    public sealed override string Name { get; }

    /// <inheritdoc/>
    public sealed override void Begin(AdaptationRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        this.run = run;
    }

    /// <inheritdoc/>
    /// <remarks>In a training loop of one's own, without a domain to go through, the batches themselves are clustered.</remarks>
    public sealed override Tensor Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        int classes = step.TargetLogits.Shape[1];
        if (run?.Data is not { Target: { } target } data)
            Cluster(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, classes);
        else if (centres is null || step.Number % Math.Max(1, target.Count) == 0)
            Cluster(data, classes);
        return Measure(step, Labels(step.TargetFeatures), classes) * (weight * (schedule?.Invoke(step.Progress) ?? 1));
    }

    /// <summary>The measure, before its weight.</summary>
    /// <param name="step">The step's features and logits.</param>
    /// <param name="targetLabels">The classes of the target's rows by their clusters, Int32 [M]; -1 of those left out.</param>
    /// <param name="classes">The number of classes.</param>
    /// <returns>A scalar.</returns>
    protected abstract Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes);

    private Tensor Labels(Tensor rows)
    {
        using var recording = new NoGrad();
        var (classes, distances) = SphericalClusters.Nearest(rows.Detach(), centres!);
        var kept = distances.Less(distanceThreshold) * counted!.IndexSelect(0, classes);
        return ((classes.To(rows.ElementType) + 1) * kept - 1).To(ElementType.Int32);
    }

    private void Cluster(DomainLoader data, int classes)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = run!.Features.Evaluate();
        try
        {
            var sources = data.Sources.Select(source => Rows(source.InOrder(), withTargets: true)).ToArray();
            var (target, _) = Rows(data.Target!.InOrder(), withTargets: false);
            Cluster(Tensor.Concat([.. sources.Select(source => source.Features)]), Tensor.Concat([.. sources.Select(source => source.Targets!)]), target, classes);
        }
        finally
        {
            putBack();
        }
    }

    private void Cluster(Tensor source, Tensor sourceTargets, Tensor target, int classes)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var found = SphericalClusters.Fit(target.Detach(), SphericalClusters.Centres(source.Detach(), sourceTargets, classes));
        var (nearest, distances) = SphericalClusters.Nearest(target.Detach(), found);
        var rows = (nearest.OneHot(classes, target.ElementType) * distances.Less(distanceThreshold).Unsqueeze(1)).Sum([0]);
        centres?.Dispose();
        counted?.Dispose();
        (centres, counted) = (found.KeepAlive(), rows.GreaterOrEqual(classThreshold).KeepAlive());
    }

    private (Tensor Features, Tensor? Targets) Rows(DataLoader loader, bool withTargets)
    {
        List<Tensor> features = [], targets = [];
        foreach (var batch in loader)
        {
            using var part = new TensorScope();
            features.Add(part.Keep(run!.Features.Forward(batch.Input)));
            batch.Input.Dispose();
            if (withTargets)
                targets.Add(batch.Target);
            else
                batch.Target.Dispose();
        }
        return (Tensor.Concat(features), withTargets ? Tensor.Concat(targets) : null);
    }
}
