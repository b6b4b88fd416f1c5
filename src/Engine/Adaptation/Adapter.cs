using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>How an <see cref="Adapter"/> trains.</summary>
public sealed record AdapterSettings
{
    /// <summary>Training steps.</summary>
    public int Steps { get; init; } = 1000;

    /// <summary>
    /// Makes the optimiser of the networks' parameters; Adam with learning rate 1e-3 if null. Networks of a method with a learning-rate factor of their
    /// own join it as groups, relative to its first group.
    /// </summary>
    public Func<IEnumerable<Tensor>, Optimizer>? Optimizer { get; init; }

    /// <summary>Makes the learning-rate schedule of the optimiser; none if null.</summary>
    public Func<Optimizer, LearningRateSchedule>? Schedule { get; init; }

    /// <summary>Whether each domain goes through the networks by itself, with batch statistics of its own; otherwise all go in one batch.</summary>
    public bool SeparateBatches { get; init; }

    /// <summary>Called after each pass through the data, with the networks in evaluation mode, without recording; returns metrics by name for the reports.</summary>
    public Func<CancellationToken, IReadOnlyDictionary<string, double>>? Validation { get; init; }

    /// <summary>Who hears of the training's course.</summary>
    public IReadOnlyList<ITrainingCallback> Callbacks { get; init; } = [];

    /// <summary>
    /// What products of the networks are computed in, as <see cref="TrainerSettings.Autocast"/>; discrepancies and other losses stay Float32. BFloat16 is the safer choice for
    /// methods that take gradients within a step, as virtual adversarial training does: those are not scaled.
    /// </summary>
    public ElementType Autocast { get; init; } = ElementType.Float32;

    /// <summary>Steps between reports; each report waits for the device.</summary>
    public int ReportEvery { get; init; } = 50;
}

/// <summary>
/// Trains a network, in its two parts, on labelled source domains and an unlabelled target domain, as a method says: the task's loss on the sources plus
/// what the method adds. The one training loop of all methods.
/// </summary>
public sealed class Adapter
{
    private readonly Sequential trained;

    /// <param name="features">Takes inputs to features [N, d].</param>
    /// <param name="head">Takes features to logits [N, C].</param>
    /// <param name="method">The method.</param>
    /// <param name="criterion">The loss of the task, from the head's outputs and what was wanted; cross-entropy with classes if null.</param>
    public Adapter(Module features, Module head, AdaptationMethod method, Func<Tensor, Tensor, Tensor>? criterion = null)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(head);
        ArgumentNullException.ThrowIfNull(method);
        Method = method;
        Run = criterion is null ? new(features, head) : new(features, head) { Criterion = criterion };
        trained = new Sequential([features, head, .. method.Modules.Select(own => own.Module)]);
    }

    /// <summary>Takes inputs to features.</summary>
    public Module Features => Run.Features;

    /// <summary>Takes features to logits.</summary>
    public Module Head => Run.Head;

    /// <summary>The method.</summary>
    public AdaptationMethod Method { get; }

    /// <summary>What is trained; with the data and the steps of the last training.</summary>
    public AdaptationRun Run { get; private set; }

    /// <summary>Trains, and puts the networks into evaluation mode. A cancelled training leaves them as they were after the last whole step.</summary>
    /// <param name="data">The batches; passes are repeated as long as there are steps.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="progress">Hears of the training.</param>
    /// <param name="cancellation">Ends it early.</param>
    /// <returns>What it came to.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="ArgumentException">A domain has no batch, or the method looks at a target domain that the data lacks.</exception>
    public TrainingResult Fit(DomainLoader data, AdapterSettings? settings = null, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        settings ??= new();
        if (data.Count == 0)
            throw new ArgumentException("Adapter.Fit: a domain has no batch. Give data, or a smaller batch size.", nameof(data));
        if (Method.UsesTarget && data.Target is null)
            throw new ArgumentException($"Adapter.Fit: {Method.Name} looks at the target domain, but the data has none. Give the loader one.", nameof(data));
        var run = Run = Run with { Data = data, Steps = Math.Max(1, settings.Steps), IsJoint = !settings.SeparateBatches };
        var optimizer = MakeOptimizer(settings.Optimizer ?? (parameters => new Adam(parameters, 1e-3)));
        long done = 0;
        var trainer = new Trainer<DomainBatch>(trained, optimizer, batch => Updates(new(run, Method.UsesTarget ? batch : batch with { TargetInput = null }, done++)))
        {
            Schedule = settings.Schedule?.Invoke(optimizer),
            Validation = settings.Validation,
            Settings = new()
            {
                Epochs = (settings.Steps + data.Count - 1) / data.Count,
                MaxSteps = settings.Steps,
                SchedulePeriod = SchedulePeriod.Step,
                ReportEvery = settings.ReportEvery,
                Autocast = settings.Autocast,
            },
        };
        foreach (var callback in settings.Callbacks)
            trainer.Callbacks.Add(callback);
        Method.Begin(run);
        trained.Train();
        try
        {
            return trainer.Fit(data, progress, cancellation);
        }
        finally
        {
            trained.Eval();
        }
    }

    /// <summary>What the trained networks answer to inputs.</summary>
    /// <param name="inputs">[N, ...].</param>
    /// <returns>Logits, [N, C].</returns>
    public Tensor Logits(Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        return Method.Predict(Run, inputs);
    }

    /// <summary>The classes that the trained networks give to inputs.</summary>
    /// <param name="inputs">[N, ...].</param>
    /// <returns>Int32 [N].</returns>
    public Tensor Predict(Tensor inputs)
    {
        using var recording = new NoGrad();
        return Logits(inputs).ArgMax(1);
    }

    private IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
    {
        foreach (var update in Method.Updates(step))
        {
            yield return update;
            step.Forget();
        }
        Method.AfterStep(step);
    }

    private Optimizer MakeOptimizer(Func<IEnumerable<Tensor>, Optimizer> make)
    {
        var modules = Method.Modules;
        var shared = new Sequential([Features, Head, .. modules.Where(own => own is { LearningRateFactor: 1, Optimizer: null }).Select(own => own.Module)]);
        var optimizer = make(shared.Parameters());
        foreach (var (module, factor, _) in modules.Where(own => own is { LearningRateFactor: not 1, Optimizer: null }))
            optimizer.AddGroup(new ParameterGroup(module.Parameters()) { LearningRate = factor * optimizer.Groups[0].InitialLearningRate });
        Optimizer[] own = [.. modules.Where(its => its.Optimizer is not null).Select(its => its.Optimizer!(its.Module.Parameters()))];
        return own.Length == 0 ? optimizer : new JointOptimizer([optimizer, .. own]);
    }
}
