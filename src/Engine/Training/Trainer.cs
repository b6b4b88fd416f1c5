using System.Diagnostics;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Training;

/// <summary>What one batch came to.</summary>
/// <param name="Loss">A scalar, the mean over the batch's rows.</param>
/// <param name="Output">What the model answered, for metrics; its first size is the number of rows, which weighs the loss in means.</param>
/// <param name="Target">What was wanted, for metrics.</param>
public readonly record struct StepResult(Tensor Loss, Tensor? Output = null, Tensor? Target = null)
{
    /// <summary>A loss alone.</summary>
    /// <param name="loss">A scalar.</param>
    public static implicit operator StepResult(Tensor loss) => new(loss);
}

/// <summary>
/// The training loop: batches, losses, gradients, updates, schedule, validation, early stopping, checkpoints. Each step is a
/// <see cref="TensorScope"/>, so device memory stays flat. A cancelled training leaves the model as it was after the last whole step.
/// Calling <see cref="Fit"/> again, or after <see cref="Save"/>, goes on from where the training stands. Not for several threads at once.
/// </summary>
/// <typeparam name="TBatch">What the loader gives; disposed after its step where it can be.</typeparam>
/// <remarks>
/// The training loss of an epoch is the mean over its rows as they were trained on, with dropout and before each update.
/// </remarks>
public partial class Trainer<TBatch> : ITrainingRun
{
    private readonly Func<TBatch, StepResult>? step;
    private readonly Func<TBatch, IEnumerable<TrainingUpdate>>? updates;
    private readonly UnreadLosses unread = new();
    private MeanLoss epochLoss = new(), reportLoss = new();
    private EarlyStopping? stopping;
    private IReadOnlyDictionary<string, Tensor>? bestWeights;
    private int batchesDone, batchesAnnounced;
    private bool stopAsked;
    private CapturedStep? captured;
    private TBatch? present;

    /// <summary>A training of a model.</summary>
    /// <param name="model">What is put into training mode, validated, saved. It may hold several networks.</param>
    /// <param name="optimizer">Updates the weights.</param>
    /// <param name="step">Computes the loss of a batch, without calling Backward.</param>
    public Trainer(Module model, Optimizer optimizer, Func<TBatch, StepResult> step)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(step);
        (Model, Optimizer, this.step) = (model, optimizer, step);
    }

    /// <summary>A training whose steps have several updates, as of networks that play against each other.</summary>
    /// <param name="model">What is put into training mode, validated, saved. It may hold several networks.</param>
    /// <param name="optimizer">Updates the weights.</param>
    /// <param name="updates">The updates of a batch; each is done before the next is asked for, which thus sees the new weights.</param>
    public Trainer(Module model, Optimizer optimizer, Func<TBatch, IEnumerable<TrainingUpdate>> updates)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(updates);
        (Model, Optimizer, this.updates) = (model, optimizer, updates);
    }

    /// <summary>What is trained.</summary>
    public Module Model { get; }

    /// <summary>What updates the weights.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>How to train.</summary>
    public TrainerSettings Settings { get; init; } = new();

    /// <summary>The learning-rate schedule, moved on as the settings say.</summary>
    public LearningRateSchedule? Schedule { get; init; }

    /// <summary>A schedule that goes by the monitored value, moved on after each epoch.</summary>
    public PlateauSchedule? Plateau { get; init; }

    /// <summary>
    /// Scales the losses. Made with PyTorch's defaults where <see cref="TrainerSettings.Autocast"/> is Float16 and none was given; null where nothing is scaled.
    /// </summary>
    public GradScaler? Scaler { get => field ??= Settings.Autocast == ElementType.Float16 ? new() : null; init; }

    /// <summary>Who hears of the training's course, in this order.</summary>
    public IList<ITrainingCallback> Callbacks { get; } = [];

    /// <summary>
    /// Called after each epoch with the model in evaluation mode, without recording; returns the metrics by name. Null validates nothing.
    /// </summary>
    public Func<CancellationToken, IReadOnlyDictionary<string, double>>? Validation { get; set; }

    /// <summary>The whole epochs done.</summary>
    public int EpochsDone { get; private set; }

    /// <inheritdoc/>
    public int Epoch => EpochsDone + 1;

    /// <inheritdoc/>
    public long Step { get; private set; }

    /// <summary>The epoch of the best monitored value, from 1; 0 before the first.</summary>
    public int BestEpoch { get; private set; }

    /// <summary>The best monitored value; NaN before the first.</summary>
    public double Best => stopping?.Best ?? double.NaN;

    /// <inheritdoc/>
    public double Progress => Math.Clamp(
        (EpochsDone + (batchesAnnounced > 0 ? (double)batchesDone / batchesAnnounced : 0)) / Math.Max(1, Settings.Epochs), 0, 1);

    private double LearningRate => Optimizer.Groups.Count == 0 ? 0 : Optimizer.Groups[0].LearningRate;

    /// <inheritdoc/>
    public void Stop() => stopAsked = true;

    /// <summary>Trains until the settings' epochs or steps are done, patience is over, or a callback stops it.</summary>
    /// <param name="batches">Enumerated once an epoch.</param>
    /// <param name="progress">Hears after every few batches and after each epoch.</param>
    /// <param name="cancellation">Looked at before each step and between validation batches.</param>
    /// <returns>What it came to.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled; the model is as it was after the last whole step.</exception>
    /// <exception cref="InvalidOperationException">The loader gave no batch, or the monitored value is missing.</exception>
    public TrainingResult Fit(IEnumerable<TBatch> batches, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batches);
        Settings.Check();
        if (updates is not null && Settings.AccumulationSteps > 1)
            throw new ArgumentException($"Trainer: AccumulationSteps is {Settings.AccumulationSteps}, but steps of several updates take one batch each. Use larger batches.");
        using var capture = captured = NewCapture();
        var clock = Stopwatch.StartNew();
        var records = new List<TrainingProgress>();
        stopAsked = false;
        var end = TrainingEnd.Completed;
        while (EpochsDone < Settings.Epochs)
        {
            if (Settings.Patience is not null && stopping is { } watch && watch.EpochsSinceBest > Settings.Patience)
            {
                end = TrainingEnd.EarlyStopped;
                break;
            }
            if (!TrainEpoch(batches, progress, clock, cancellation))
            {
                end = stopAsked ? TrainingEnd.Stopped : TrainingEnd.MaxSteps;
                break;
            }
            records.Add(EndEpoch(progress, clock, cancellation));
            if (stopAsked)
            {
                end = TrainingEnd.Stopped;
                break;
            }
        }
        if (Settings.RestoreBest && bestWeights is not null && end is TrainingEnd.Completed or TrainingEnd.EarlyStopped)
            Model.LoadStateDict(bestWeights!);
        return new TrainingResult(end, records, Best, BestEpoch);
    }
}
