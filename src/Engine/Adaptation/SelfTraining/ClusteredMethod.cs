using TransferEngine.Data;

namespace TransferEngine.Adaptation;

/// <summary>
/// A method that labels the target by clusters: spherical k-means over the features of the whole target domain, one cluster a class, begun at the centres of the source's classes and done
/// anew at the first step of each pass through the target. A row has the class of its nearest centre until then; those too far from it, and classes of too few rows in the domain, are left out.
/// </summary>
/// <remarks>
/// Kang et al., Contrastive Adaptation Network for Unsupervised Domain Adaptation, CVPR 2019, section 3.3. The networks are in evaluation mode while the domains are clustered, and rows are transformed as their
/// loaders transform them. Each cluster keeps the class that it began with; the authors' code matches clusters to classes once more (by the Hungarian method), which is not built, and its centres are sums of rows of their
/// own lengths, where the paper and this one take them at length 1.
/// </remarks>
public abstract class ClusteredMethod : AdaptationMethod
{
    private readonly double weight, distanceThreshold;
    private readonly Func<double, double>? schedule;
    private readonly int classThreshold;
    private AdaptationRun? run;
    private Tensor? labels;

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
        labels?.Dispose();
        labels = null;
    }

    /// <inheritdoc/>
    /// <remarks>In a training loop of one's own, without a domain to go through, the batches themselves are clustered.</remarks>
    /// <exception cref="InvalidOperationException">There is a domain to go through, but the batch does not tell its rows' numbers.</exception>
    public sealed override Tensor Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        int classes = step.TargetLogits.Shape[1];
        return Measure(step, Labels(step, classes), classes) * (weight * (schedule?.Invoke(step.Progress) ?? 1));
    }

    /// <summary>The measure, before its weight.</summary>
    /// <param name="step">The step's features and logits.</param>
    /// <param name="targetLabels">The classes of the target's rows by their clusters, Int32 [M]; -1 of those left out.</param>
    /// <param name="classes">The number of classes.</param>
    /// <returns>A scalar.</returns>
    protected abstract Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes);

    private Tensor Labels(AdaptationStep step, int classes)
    {
        if (run?.Data is not { Target: { } target } data)
            return Cluster(step.SourceFeatures, step.SourceTargets, step.TargetFeatures, classes);
        if (step.TargetRows.Length != step.TargetInput.Shape[0])
            throw new InvalidOperationException($"{Name}: of a batch of {step.TargetInput.Shape[0]} rows the numbers of {step.TargetRows.Length} are known. Take batches from a DomainLoader, or set DomainBatch.TargetRows.");
        if (labels is null || step.Number % Math.Max(1, target.Count) == 0)
        {
            labels?.Dispose();
            labels = Cluster(data, classes).KeepAlive();
        }
        return labels.IndexSelect(0, Tensor.From(step.TargetRows.ToArray(), labels.Device));
    }

    private Tensor Cluster(DomainLoader data, int classes)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = run!.Features.Evaluate();
        try
        {
            var sources = data.Sources.Select(source => Rows(source.InOrder(), withTargets: true)).ToArray();
            var (target, _) = Rows(data.Target!.InOrder(), withTargets: false);
            return scope.Keep(Cluster(Tensor.Concat([.. sources.Select(source => source.Features)]), Tensor.Concat([.. sources.Select(source => source.Targets!)]), target, classes));
        }
        finally
        {
            putBack();
        }
    }

    /// <summary>The target's classes by clusters that begin at the source's classes, Int32 [M]; -1 of rows that are left out.</summary>
    private Tensor Cluster(Tensor source, Tensor sourceTargets, Tensor target, int classes)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var centres = SphericalClusters.Fit(target.Detach(), SphericalClusters.Centres(source.Detach(), sourceTargets, classes));
        var (nearest, distances) = SphericalClusters.Nearest(target.Detach(), centres);
        var isNear = distances.Less(distanceThreshold);
        var counted = (nearest.OneHot(classes, target.ElementType) * isNear.Unsqueeze(1)).Sum([0]).GreaterOrEqual(classThreshold);
        return scope.Keep(((nearest.To(target.ElementType) + 1) * (isNear * counted.IndexSelect(0, nearest)) - 1).To(ElementType.Int32));
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
