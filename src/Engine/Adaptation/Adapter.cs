using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Adaptation;

/// <summary>How an <see cref="Adapter"/> trains.</summary>
public sealed record AdapterSettings
{
    /// <summary>Training steps.</summary>
    public int Steps { get; init; } = 1000;

    /// <summary>Makes the optimiser of the parameters; Adam with learning rate 1e-3 if null.</summary>
    public Func<IEnumerable<Tensor>, Optimizer>? Optimizer { get; init; }

    /// <summary>Makes the learning-rate schedule of the optimiser; none if null.</summary>
    public Func<Optimizer, LearningRateSchedule>? Schedule { get; init; }

    /// <summary>Steps between reports; each report waits for the device.</summary>
    public int ReportEvery { get; init; } = 50;
}

/// <summary>
/// Trains a classifier, in its two parts, on a labelled source and an unlabelled target domain: cross-entropy on the source plus the loss of a method.
/// Both domains go through the features in one batch, so that batch statistics are common.
/// </summary>
public sealed class Adapter
{
    private readonly Sequential trained;

    /// <param name="features">Takes inputs to features [N, d].</param>
    /// <param name="head">Takes features to logits [N, C].</param>
    /// <param name="method">The method.</param>
    public Adapter(Module features, Module head, IAdaptationMethod method)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(head);
        ArgumentNullException.ThrowIfNull(method);
        (Features, Head, Method) = (features, head, method);
        trained = new Sequential([features, head, .. method.Modules]);
    }

    /// <summary>Takes inputs to features.</summary>
    public Module Features { get; }

    /// <summary>Takes features to logits.</summary>
    public Module Head { get; }

    /// <summary>The method.</summary>
    public IAdaptationMethod Method { get; }

    /// <summary>The loss of a pair of batches.</summary>
    /// <param name="batch">Source with classes, target without.</param>
    /// <param name="progress">The part of the training that is done, from 0 to 1.</param>
    /// <returns>A scalar.</returns>
    public Tensor Loss(PairedBatch batch, double progress)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Tensor x = batch.Source.Input, y = batch.Source.Target;
        if (!Method.UsesTarget)
            return Head.Forward(Features.Forward(x)).CrossEntropy(y);
        int n = x.Shape[0], m = batch.TargetInput.Shape[0];
        var features = Features.Forward(Tensor.Concat([x, batch.TargetInput]));
        var logits = Head.Forward(features);
        var step = new AdaptationStep(features.Narrow(0, 0, n), logits.Narrow(0, 0, n), y, features.Narrow(0, n, m), logits.Narrow(0, n, m), progress);
        var loss = step.SourceLogits.CrossEntropy(y);
        return Method.Loss(step) is { } added ? loss + added : loss;
    }

    /// <summary>Trains, and puts the networks into evaluation mode. A cancelled training leaves them as they were after the last whole step.</summary>
    /// <param name="data">The pairs of batches; passes are repeated as long as there are steps.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="progress">Hears of the training.</param>
    /// <param name="cancellation">Ends it early.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="ArgumentException">The data has no pairs.</exception>
    public void Fit(PairedLoader data, AdapterSettings? settings = null, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        settings ??= new();
        if (data.Count == 0)
            throw new ArgumentException("Adapter.Fit: a domain has no batch. Give data, or a smaller batch size.", nameof(data));
        var optimizer = settings.Optimizer?.Invoke(trained.Parameters()) ?? new Adam(trained.Parameters(), 1e-3);
        long done = 0;
        var trainer = new Trainer<PairedBatch>(trained, optimizer, batch => Loss(batch, (double)done++ / settings.Steps))
        {
            Schedule = settings.Schedule?.Invoke(optimizer),
            Settings = new()
            {
                Epochs = (settings.Steps + data.Count - 1) / data.Count,
                MaxSteps = settings.Steps,
                SchedulePeriod = SchedulePeriod.Step,
                ReportEvery = settings.ReportEvery,
            },
        };
        trained.Train();
        trainer.Fit(data, progress, cancellation);
        trained.Eval();
    }

    /// <summary>The classes that the trained networks give to inputs.</summary>
    /// <param name="inputs">[N, ...].</param>
    /// <returns>Int32 [N].</returns>
    public Tensor Predict(Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        using var recording = new NoGrad();
        return Head.Forward(Features.Forward(inputs)).ArgMax(1);
    }
}
