using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>
/// WDGRL: a critic f estimates the Wasserstein distance of the domains' features, W = (1/n) Σ f(s_i) - (1/m) Σ f(t_j). A step has several updates of the
/// critic by γ P - W and one of features and head by the classification loss plus λ W. The penalty P = mean (‖∇f(x)‖ - 1)² is taken at the features
/// of both domains and at random points on the lines between pairs of them, and keeps the critic's slope near 1.
/// </summary>
/// <remarks>
/// Shen et al., Wasserstein Distance Guided Representation Learning for Domain Adaptation, AAAI 2018, equations 2 to 6 and algorithm 1: γ = 10, five critic updates,
/// λ from 0.1 to 1; their code for digits takes 0.00045. Its penalty has a gradient of a gradient. Where batches are of two sizes, the rows of the smaller are paired repeatedly.
/// </remarks>
public sealed class WassersteinCritic : WeightedMethod
{
    private readonly MethodModule critic;
    private readonly int updates;
    private readonly double penalty;
    private readonly Generator? generator;

    /// <param name="critic">Takes features [N, d] to numbers [N, 1]; its learning rate, 10^-4 in the paper, can be its own.</param>
    /// <param name="weight">λ, what the distance weighs against the classification loss.</param>
    /// <param name="schedule">A factor of the weight by progress; constant 1 if null.</param>
    /// <param name="updates">The critic's updates of a step.</param>
    /// <param name="penalty">γ, 0 or more.</param>
    /// <param name="generator">What the points between pairs are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The penalty is negative or there is no update.</exception>
    public WassersteinCritic(MethodModule critic, double weight = 1, Func<double, double>? schedule = null, int updates = 5, double penalty = 10, Generator? generator = null)
        : base("wdgrl", weight, schedule)
    {
        ArgumentNullException.ThrowIfNull(critic);
        ArgumentOutOfRangeException.ThrowIfLessThan(updates, 1);
        if (!(penalty >= 0))
            throw new ArgumentOutOfRangeException(nameof(penalty), penalty, "WassersteinCritic: the penalty weighs 0 or more.");
        (this.critic, this.updates, this.penalty, this.generator) = (critic, updates, penalty, generator);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<MethodModule> Modules => [critic];

    /// <inheritdoc/>
    public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        // The features do not change while the critic learns.
        Tensor source = step.SourceFeatures.Detach(), target = step.TargetFeatures.Detach();
        for (int i = 0; i < updates; i++)
            yield return new(Penalty(source, target) * penalty - Distance(source, target), [critic.Module], IsReported: false);
        yield return new(SourceLoss(step) + Loss(step)!, [step.Run.Features, step.Run.Head]);
    }

    /// <summary>The critic's estimate of the distance.</summary>
    /// <param name="source">[n, d].</param>
    /// <param name="target">[m, d].</param>
    /// <returns>A scalar.</returns>
    public Tensor Distance(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(WassersteinCritic), source, target);
        return critic.Module.Forward(source).Mean() - critic.Module.Forward(target).Mean();
    }

    /// <summary>How far the critic's slope is from 1.</summary>
    /// <param name="source">[n, d].</param>
    /// <param name="target">[m, d].</param>
    /// <returns>A scalar, differentiable by the critic's weights.</returns>
    public Tensor Penalty(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(WassersteinCritic), source, target);
        var points = Points(source.Detach(), target.Detach());
        points.RequiresGrad = true;
        var slopes = Tensor.Gradients(critic.Module.Forward(points).Sum(), [points], createGraph: true)[0];
        return (slopes.Norm(2, [1]) - 1).Square().Mean();
    }

    /// <inheritdoc/>
    protected override Tensor Measure(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        return Distance(step.SourceFeatures, step.TargetFeatures);
    }

    private Tensor Points(Tensor source, Tensor target)
    {
        using var recording = new NoGrad();
        int n = source.Shape[0], m = target.Shape[0], pairs = Math.Max(n, m);
        Tensor left = Repeated(source, pairs), right = Repeated(target, pairs);
        var share = Tensor.Uniform([pairs, 1], 0, 1, generator, source.Device, source.ElementType);
        return Tensor.Concat([source, target, right + (left - right) * share]);

        static Tensor Repeated(Tensor rows, int count) => rows.Shape[0] == count ? rows
            : rows.IndexSelect(0, Tensor.From([.. Enumerable.Range(0, count).Select(i => i % rows.Shape[0])], rows.Device));
    }
}
