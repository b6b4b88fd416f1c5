using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// M3SDA: each source domain has a head of its own, and the features of all domains agree in their moments: the sum over sources of the classification losses plus
/// λ times <see cref="MomentDistance"/>. With a partner for each head, M3SDA-β: a step is three kinds of updates as in <see cref="MaximumClassifierDiscrepancy"/>: all
/// networks by that loss of both heads; the heads by their classification losses minus the sum of the pairs' discrepancies on the target; the features, several times, by those discrepancies. The
/// answer for the target is the mean of the heads' probabilities, weighed by how well each source alone does if that is given.
/// </summary>
/// <remarks>
/// Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, equations 3 to 6. The training is that of the paper where batches are of one size; they may be of several.
/// The authors' code has one pair of heads for all sources, of which the second update takes the first's loss on source 1 and the other's on source 2, makes four updates of the
/// features, and weighs five moments by λ = 0.0005 (see <see cref="MomentDistance"/> for what it measures). It runs the domains apart: <see cref="AdapterSettings.SeparateBatches"/>.
/// </remarks>
public sealed class MultiSourceMomentMatching : AdaptationMethod
{
    private readonly MethodModule[] others, partners;
    private readonly double weight;
    private readonly MomentDistance distance;
    private readonly double[]? shares;
    private readonly int featureUpdates;

    /// <param name="others">The heads of the second source and those after it; the first source's is the adapter's.</param>
    /// <param name="partners">A second head for each source, the first included; null for M3SDA without them.</param>
    /// <param name="weight">λ.</param>
    /// <param name="moments">How many moments are compared.</param>
    /// <param name="shares">What each source's heads weigh in the answer, such as the accuracies of source-only training; all alike if null.</param>
    /// <param name="featureUpdates">With partners, the updates of the features alone in a step.</param>
    /// <exception cref="ArgumentException">The numbers of partners or shares are not that of the sources, or a share is negative.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There are no moments, or no updates of the features.</exception>
    public MultiSourceMomentMatching(IReadOnlyList<MethodModule> others, IReadOnlyList<MethodModule>? partners = null, double weight = 1, int moments = 2, IReadOnlyList<double>? shares = null,
        int featureUpdates = 4)
    {
        ArgumentNullException.ThrowIfNull(others);
        ArgumentOutOfRangeException.ThrowIfLessThan(featureUpdates, 1);
        int sources = others.Count + 1;
        if (partners is not null && partners.Count != sources)
            throw new ArgumentException($"MultiSourceMomentMatching: {partners.Count} partners for {sources} sources. Give one for each, the first included.", nameof(partners));
        if (shares is not null && (shares.Count != sources || shares.Any(share => !(share >= 0)) || shares.Sum() <= 0))
            throw new ArgumentException($"MultiSourceMomentMatching: shares [{string.Join(", ", shares)}] for {sources} sources; wanted one for each, 0 or more, not all 0.", nameof(shares));
        (this.others, this.partners, this.weight, distance) = ([.. others], [.. partners ?? []], weight, new(moments));
        this.featureUpdates = featureUpdates;
        this.shares = shares is null ? null : [.. shares.Select(share => share / shares.Sum())];
    }

    /// <inheritdoc/>
    public override string Name => partners.Length > 0 ? "m3sda-beta" : "m3sda";

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [.. others, .. partners];

    /// <summary>The sum over sources of the losses of their heads.</summary>
    /// <inheritdoc/>
    public override Tensor SourceLoss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Check.That(step.Sources.Count == others.Length + 1, $"MultiSourceMomentMatching: {step.Sources.Count} source domains for {others.Length + 1} heads. Give a head for each.");
        var heads = Heads(step.Run);
        return step.Sources.SelectMany(source => heads[source.Index].Select(head => step.Run.Criterion(head.Forward(source.Features), source.Targets))).Aggregate((a, b) => a + b);
    }

    /// <inheritdoc/>
    public override Tensor? Loss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return distance.Forward([.. step.Sources.Select(source => source.Features)], step.TargetFeatures) * weight;
    }

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        yield return new(SourceLoss(step) + Loss(step)!);
        if (partners.Length == 0)
            yield break;
        yield return new(SourceLoss(step) - Disagreement(step), [step.Run.Head, .. Modules.Select(own => own.Module)], IsReported: false);
        for (int i = 0; i < featureUpdates; i++)
            yield return new(Disagreement(step), [step.Run.Features], IsReported: false);
    }

    /// <summary>The logarithms of the weighed mean of the heads' probabilities, [N, C].</summary>
    /// <inheritdoc/>
    public override Tensor Predict(AdaptationRun run, Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(run);
        var features = run.Features.Forward(inputs);
        var heads = Heads(run);
        return heads.Select((pair, i) => pair.Select(head => head.Forward(features).Softmax()).Aggregate((a, b) => a + b) * ((shares?[i] ?? 1.0 / heads.Length) / pair.Length))
            .Aggregate((a, b) => a + b).Clamp(1e-30, 1).Log();
    }

    private Tensor Disagreement(AdaptationStep step) => Heads(step.Run)
        .Select(pair => (pair[0].Forward(step.TargetFeatures).Softmax() - pair[1].Forward(step.TargetFeatures).Softmax()).Abs().Mean()).Aggregate((a, b) => a + b);

    /// <summary>The heads of each source: one, or it and its partner.</summary>
    private Module[][] Heads(AdaptationRun run) =>
        [.. others.Select(other => other.Module).Prepend(run.Head).Select((head, i) => partners.Length > 0 ? new[] { head, partners[i].Module } : [head])];
}
