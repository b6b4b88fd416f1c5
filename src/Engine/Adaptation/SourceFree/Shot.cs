using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>How <see cref="Shot"/> trains.</summary>
public sealed record ShotSettings
{
    /// <summary>Passes through the target data; labels are computed before each.</summary>
    public int Epochs { get; init; } = 15;

    /// <summary>What cross-entropy with the pseudo-labels weighs: 0.3, for digits 0.1 in the paper. With 0 none are computed: SHOT-IM.</summary>
    public double PseudoLabelWeight { get; init; } = 0.3;

    /// <summary>Makes the optimiser of the features; SGD with learning rate 0.01, Nesterov's momentum 0.9 and weight decay 1e-3 if null. Its rates fall by (1 + 10 p)^-0.75.</summary>
    public Func<IEnumerable<Tensor>, Optimizer>? Optimizer { get; init; }

    /// <summary>How the target is gone through in training.</summary>
    public DataLoaderSettings Loader { get; init; } = new() { BatchSize = 64, Shuffle = true };

    /// <summary>What becomes of each input where labels are computed: a transform without chance. That of the loader if null.</summary>
    public ITransform? LabelTransform { get; init; }

    /// <summary>Batches between two reports.</summary>
    public int ReportEvery { get; init; } = 50;
}

/// <summary>
/// SHOT: fits the features to the target domain under the frozen head of the source, by <see cref="InformationMaximization"/> plus cross-entropy with
/// <see cref="CentroidLabels"/>, which are computed anew from the whole target before each pass. Sees neither source data nor target labels.
/// </summary>
/// <remarks>
/// Liang et al., Do we really need to access the source data? Source hypothesis transfer for unsupervised domain adaptation, ICML 2020. The paper's
/// source model is trained with label smoothing 0.1 and has a normalised bottleneck and a weight-normalised head; any two parts are taken.
/// </remarks>
public sealed class Shot
{
    private const double LearningRate = 0.01, Momentum = 0.9, WeightDecay = 1e-3;

    /// <param name="features">Takes inputs to features [N, d]; it learns.</param>
    /// <param name="head">Takes features to logits [N, C]; it stays as it is.</param>
    public Shot(Module features, Module head)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(head);
        (Features, Head) = (features, head);
    }

    /// <summary>Takes inputs to features.</summary>
    public Module Features { get; }

    /// <summary>Takes features to logits.</summary>
    public Module Head { get; }

    /// <summary>Trains the features, and puts both networks into evaluation mode. A cancelled training leaves them as they were after the last whole step.</summary>
    /// <param name="target">The target domain; its targets are not read.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="device">Where the networks are; the CPU if null.</param>
    /// <param name="progress">Hears of the training.</param>
    /// <param name="cancellation">Ends it early.</param>
    /// <exception cref="ArgumentException">There are fewer than two rows.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public void Fit(IDataset target, ShotSettings? settings = null, Device? device = null, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(target);
        settings ??= new();
        ArgumentOutOfRangeException.ThrowIfNegative(settings.Epochs);
        if (!(settings.PseudoLabelWeight >= 0))
            throw new ArgumentOutOfRangeException(nameof(settings), settings.PseudoLabelWeight, "Shot: the pseudo-labels weigh 0 or more.");
        if (target.Count < 2)
            throw new ArgumentException($"Shot.Fit: the target has {target.Count} rows; 2 or more are wanted.", nameof(target));
        var labelled = new PseudoLabelled(target);
        // One row has no batch statistics.
        var loader = new DataLoader(labelled, settings.Loader with { DropLast = settings.Loader.DropLast || target.Count % settings.Loader.BatchSize == 1 }, device);
        var optimizer = settings.Optimizer?.Invoke(Features.Parameters()) ?? new Sgd(Features.Parameters(), LearningRate, Momentum, weightDecay: WeightDecay, nesterov: true);
        var information = new InformationMaximization();
        using var frozen = FreezePolicy.All().Apply(Head);
        var trainer = new Trainer<Batch>(new Sequential(Features, Head), optimizer, batch =>
        {
            var logits = Head.Forward(Features.Forward(batch.Input));
            var loss = information.Forward(logits);
            return new(settings.PseudoLabelWeight > 0 ? loss + logits.CrossEntropy(batch.Target) * settings.PseudoLabelWeight : loss, logits);
        })
        {
            Schedule = new DannSchedule(optimizer, Math.Max(1, settings.Epochs * loader.Count)),
            Settings = new() { Epochs = settings.Epochs, SchedulePeriod = SchedulePeriod.Step, ReportEvery = settings.ReportEvery },
        };
        if (settings.PseudoLabelWeight > 0)
            trainer.Callbacks.Add(new Relabelling(() => labelled.Labels = Label(target, settings, device, cancellation)));
        trainer.Fit(loader, progress, cancellation);
        Features.Eval();
        Head.Eval();
    }

    /// <summary>The pseudo-labels of all rows by the present features.</summary>
    private int[] Label(IDataset target, ShotSettings settings, Device? device, CancellationToken cancellation)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = Features.Evaluate();
        try
        {
            var loader = new DataLoader(target, settings.Loader with { Shuffle = false, DropLast = false, Transform = settings.LabelTransform ?? settings.Loader.Transform, Cancellation = cancellation }, device);
            List<Tensor> features = [], probabilities = [];
            foreach (var batch in loader)
            {
                using var part = new TensorScope();
                using (batch)
                {
                    var rows = Features.Forward(batch.Input);
                    probabilities.Add(part.Keep(Head.Forward(rows).Softmax()));
                    features.Add(part.Keep(rows));
                }
            }
            return CentroidLabels.Compute(Tensor.Concat(features), Tensor.Concat(probabilities)).ToArray<int>();
        }
        finally
        {
            putBack();
        }
    }

    private sealed class Relabelling(Action label) : ITrainingCallback
    {
        public void EpochStart(ITrainingRun run) => label();
    }
}

/// <summary>The inputs of a data set with labels of ours; its own targets are dropped.</summary>
internal sealed class PseudoLabelled(IDataset data) : IDataset, IRows
{
    public int Count => data.Count;

    /// <summary>One a row.</summary>
    public int[] Labels { get; set; } = new int[data.Count];

    bool IRows.Single => data is IRows { Single: true };

    float[] IRows.Rent(int row, out Shape shape) => ((IRows)data).Rent(row, out shape);

    int IRows.Label(int row) => Labels[row];

    public Batch Read(ReadOnlySpan<int> rows, Device device)
    {
        var (input, target) = data.Read(rows, device);
        target.Dispose();
        var labels = new int[rows.Length];
        for (int i = 0; i < labels.Length; i++)
            labels[i] = Labels[rows[i]];
        return new(input, Tensor.From(labels, device));
    }
}
