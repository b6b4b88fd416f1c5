using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>What an <see cref="Adapter"/> trains, and how long.</summary>
/// <param name="Features">Takes inputs to features [N, d].</param>
/// <param name="Head">Takes features to logits [N, C].</param>
public sealed record AdaptationRun(Module Features, Module Head)
{
    /// <summary>The loss of the task, from the head's outputs and what was wanted; cross-entropy with classes unless set.</summary>
    public Func<Tensor, Tensor, Tensor> Criterion { get; init; } = (logits, targets) => logits.CrossEntropy(targets);

    /// <summary>The data; null where steps are made by hand.</summary>
    public DomainLoader? Data { get; init; }

    /// <summary>The steps of the whole training.</summary>
    public int Steps { get; init; } = 1;

    /// <summary>Whether all domains go through a network in one batch, so that its batch statistics are common; otherwise each goes by itself.</summary>
    public bool IsJoint { get; init; } = true;

    /// <summary>Takes inputs to logits.</summary>
    internal Tensor Forward(Tensor inputs) => Head.Forward(Features.Forward(inputs));

    /// <summary>What is answered with the networks in evaluation mode, not recorded.</summary>
    internal T Evaluated<T>(Func<T> answer)
    {
        using var recording = new NoGrad();
        var putBack = new Sequential(Features, Head).Evaluate();
        try
        {
            return answer();
        }
        finally
        {
            putBack();
        }
    }
}

/// <summary>
/// What a method sees of one step: the batches, and what the networks make of them. Features and logits are computed when they are first asked for,
/// and anew after each update of the step.
/// </summary>
public sealed class AdaptationStep
{
    private readonly AdaptationRun? run;
    private readonly DomainBatch? batch;
    private double? progress;
    private Tensor? sourceInput, sourceTargets, sourceFeatures, sourceLogits, targetFeatures, targetLogits;

    /// <summary>A step of a training.</summary>
    /// <param name="run">What is trained.</param>
    /// <param name="batch">The batches; without a target, nothing of the target can be asked for.</param>
    /// <param name="number">How many steps were done before.</param>
    public AdaptationStep(AdaptationRun run, DomainBatch batch, long number)
    {
        ArgumentNullException.ThrowIfNull(run);
        ArgumentNullException.ThrowIfNull(batch);
        (this.run, this.batch, Number) = (run, batch, number);
        Sources = [.. batch.Sources.Select((source, i) => new SourceDomain(this, i, batch.Sources.Take(i).Sum(before => before.Input.Shape[0]), source))];
    }

    /// <summary>A step whose features and logits are given: of a training loop of one's own, with methods that ask for nothing else.</summary>
    /// <param name="sourceFeatures">[N, d].</param>
    /// <param name="sourceLogits">[N, C].</param>
    /// <param name="sourceTargets">Classes, Int32 [N].</param>
    /// <param name="targetFeatures">[M, d].</param>
    /// <param name="targetLogits">[M, C].</param>
    /// <param name="progress">The part of the training that is done, from 0 to 1.</param>
    public AdaptationStep(Tensor sourceFeatures, Tensor sourceLogits, Tensor sourceTargets, Tensor targetFeatures, Tensor targetLogits, double progress)
    {
        (this.sourceFeatures, this.sourceLogits, this.sourceTargets, this.targetFeatures, this.targetLogits, this.progress) =
            (sourceFeatures, sourceLogits, sourceTargets, targetFeatures, targetLogits, progress);
        Sources = [];
    }

    /// <summary>What is trained.</summary>
    public AdaptationRun Run => run ?? throw new InvalidOperationException("AdaptationStep: made of given features and logits, it has no networks. Make it of an AdaptationRun and a batch for methods that need them.");

    /// <summary>How many steps were done before.</summary>
    public long Number { get; }

    /// <summary>The part of the training that is done, from 0 to 1.</summary>
    public double Progress => progress ?? (double)Number / Run.Steps;

    /// <summary>The source domains one by one, in their order.</summary>
    public IReadOnlyList<SourceDomain> Sources { get; }

    /// <summary>The inputs of all source domains, [N, ...].</summary>
    public Tensor SourceInput => sourceInput ??= Joined(Batch.Sources, source => source.Input);

    /// <summary>What is wanted of all source domains; for classes Int32 [N].</summary>
    public Tensor SourceTargets => sourceTargets ??= Joined(Batch.Sources, source => source.Target);

    /// <summary>The target domain's inputs, [M, ...].</summary>
    public Tensor TargetInput => Batch.TargetInput ?? throw new InvalidOperationException("AdaptationStep: there is no target domain. A method that looks at one says so by UsesTarget.");

    /// <summary>Further views of the target domain's inputs, each [M, ...], as its loader's settings want them.</summary>
    public IReadOnlyList<Tensor> TargetViews => Batch.TargetViews;

    /// <summary>The numbers of the target's rows in its data set, as <see cref="DomainBatch.TargetRows"/>; empty where they are not known.</summary>
    public ReadOnlyMemory<int> TargetRows => batch?.TargetRows ?? default;

    /// <summary>Features of all source domains, [N, d].</summary>
    public Tensor SourceFeatures => Computed(ref sourceFeatures, ComputeFeatures, ofTarget: false);

    /// <summary>Logits of all source domains, [N, C].</summary>
    public Tensor SourceLogits => Computed(ref sourceLogits, ComputeLogits, ofTarget: false);

    /// <summary>The target domain's features, [M, d].</summary>
    public Tensor TargetFeatures => Computed(ref targetFeatures, ComputeFeatures, ofTarget: true);

    /// <summary>The target domain's logits, [M, C].</summary>
    public Tensor TargetLogits => Computed(ref targetLogits, ComputeLogits, ofTarget: true);

    private DomainBatch Batch => batch ?? throw new InvalidOperationException("AdaptationStep: made of given features and logits, it has no inputs. Make it of an AdaptationRun and a batch for methods that need them.");

    /// <summary>Runs a network on rows of both domains: in one batch where the run is joint, so that its batch statistics are common, otherwise on each domain by itself.</summary>
    /// <param name="source">The rows of all source domains, [N, ...].</param>
    /// <param name="target">[M, ...].</param>
    /// <param name="network">Takes rows to rows.</param>
    public (Tensor Source, Tensor Target) Both(Tensor source, Tensor target, Func<Tensor, Tensor> network)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(network);
        if (run is { IsJoint: false })
            return (EachSource(network, source), network(target));
        int n = source.Shape[0];
        var all = network(Tensor.Concat([source, target]));
        return (all.Narrow(0, 0, n), all.Narrow(0, n, target.Shape[0]));
    }

    /// <summary>Runs rows of the sources without those of the target: in one batch where the run is joint, otherwise each source by itself.</summary>
    /// <returns>Logits, [N, C].</returns>
    internal Tensor SourceAlone(Tensor rows) => Run.IsJoint ? Run.Forward(rows) : EachSource(Run.Forward, rows);

    /// <summary>This step for an adversary of a constant weight: gradients through the features and logits that it gives are multiplied by it, and schedules stand at their end.</summary>
    internal AdaptationStep ForAdversary(double weight)
    {
        Tensor Weighed(Tensor x) => x.ReverseGradient(weight).ReverseGradient(); // turned around twice
        return new(Run, Batch, Number)
        {
            progress = 1,
            sourceFeatures = Weighed(SourceFeatures),
            sourceLogits = Weighed(SourceLogits),
            targetFeatures = Weighed(TargetFeatures),
            targetLogits = Weighed(TargetLogits),
        };
    }

    /// <summary>What <see cref="Both"/> makes of the source's features; the target's go along only where the batch is joint.</summary>
    internal Tensor OfSource(Func<Tensor, Tensor> network) => run is { IsJoint: false } ? EachSource(network, SourceFeatures) : Both(SourceFeatures, TargetFeatures, network).Source;

    /// <summary>What <see cref="Both"/> makes of the target's features; the source's go along only where the batch is joint.</summary>
    internal Tensor OfTarget(Func<Tensor, Tensor> network) => run is { IsJoint: false } ? network(TargetFeatures) : Both(SourceFeatures, TargetFeatures, network).Target;

    /// <summary>The domains' features and the target's logits with the networks in evaluation mode, not recorded; where features and logits are given, these.</summary>
    internal (Tensor SourceFeatures, Tensor TargetFeatures, Tensor TargetLogits) Evaluated() => run?.Evaluated(() =>
    {
        var target = run.Features.Forward(TargetInput);
        return (run.Features.Forward(SourceInput), target, run.Head.Forward(target));
    }) ?? (SourceFeatures, TargetFeatures, TargetLogits);

    /// <summary>Lets what was computed be computed anew: the weights have changed.</summary>
    internal void Forget()
    {
        if (run is not null)
            sourceFeatures = sourceLogits = targetFeatures = targetLogits = null;
    }

    private static Tensor Joined(IReadOnlyList<Batch> sources, Func<Batch, Tensor> part) => sources.Count == 1 ? part(sources[0]) : Tensor.Concat([.. sources.Select(part)]);

    private static Tensor Computed(ref Tensor? tensor, Action<bool> compute, bool ofTarget)
    {
        if (tensor is null)
            compute(ofTarget);
        return tensor!;
    }

    private void ComputeFeatures(bool ofTarget)
    {
        if (Run.IsJoint && Batch.TargetInput is not null)
            (sourceFeatures, targetFeatures) = Both(SourceInput, TargetInput, Run.Features.Forward);
        else if (ofTarget)
            targetFeatures = Run.Features.Forward(TargetInput);
        else
            sourceFeatures = Run.IsJoint ? Run.Features.Forward(SourceInput) : EachSource(Run.Features.Forward, SourceInput);
    }

    private void ComputeLogits(bool ofTarget)
    {
        if (Run.IsJoint && Batch.TargetInput is not null)
            (sourceLogits, targetLogits) = Both(SourceFeatures, TargetFeatures, Run.Head.Forward);
        else if (ofTarget)
            targetLogits = Run.Head.Forward(TargetFeatures);
        else
            sourceLogits = Run.IsJoint ? Run.Head.Forward(SourceFeatures) : EachSource(Run.Head.Forward, SourceFeatures);
    }

    private Tensor EachSource(Func<Tensor, Tensor> network, Tensor rows) => Sources.Count == 1 ? network(rows) : Tensor.Concat([.. Sources.Select(source => network(source.Rows(rows)))]);
}

/// <summary>One of the source domains of a step.</summary>
public sealed class SourceDomain
{
    private readonly AdaptationStep step;
    private readonly int start;
    private readonly Batch batch;

    internal SourceDomain(AdaptationStep step, int index, int start, Batch batch) => (this.step, Index, this.start, this.batch) = (step, index, start, batch);

    /// <summary>Its place among the source domains.</summary>
    public int Index { get; }

    /// <summary>Its inputs, [n, ...].</summary>
    public Tensor Input => batch.Input;

    /// <summary>What is wanted of it; for classes Int32 [n].</summary>
    public Tensor Targets => batch.Target;

    /// <summary>Its features, [n, d].</summary>
    public Tensor Features => Rows(step.SourceFeatures);

    /// <summary>Its logits, [n, C].</summary>
    public Tensor Logits => Rows(step.SourceLogits);

    /// <summary>Its rows among those of all source domains.</summary>
    /// <param name="all">[N, ...], such as the output of a network of a method's own.</param>
    public Tensor Rows(Tensor all)
    {
        ArgumentNullException.ThrowIfNull(all);
        return all.Narrow(0, start, batch.Input.Shape[0]);
    }
}
