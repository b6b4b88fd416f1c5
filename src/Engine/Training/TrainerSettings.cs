namespace TransferEngine.Training;

/// <summary>When a trainer moves its learning-rate schedule on.</summary>
public enum SchedulePeriod
{
    /// <summary>After each whole epoch.</summary>
    Epoch,

    /// <summary>After each update of the weights.</summary>
    Step,
}

/// <summary>How a <see cref="Trainer{TBatch}"/> trains. What is left out does not happen.</summary>
public sealed record TrainerSettings
{
    /// <summary>The epochs in all, those before a resumed checkpoint included.</summary>
    public int Epochs { get; init; } = 1;

    /// <summary>The most steps in all; training ends after them wherever in an epoch it is.</summary>
    public long MaxSteps { get; init; } = long.MaxValue;

    /// <summary>
    /// The batches whose mean gradient makes one step. The last step of an epoch takes those that are left, weighed alike, so their mean too.
    /// </summary>
    public int AccumulationSteps { get; init; } = 1;

    /// <summary>The greatest Euclidean norm of all gradients together; greater ones are scaled down.</summary>
    public double? ClipNorm { get; init; }

    /// <summary>The greatest absolute value of a gradient's element; applied before <see cref="ClipNorm"/>.</summary>
    public double? ClipValue { get; init; }

    /// <summary>When the schedule moves on.</summary>
    public SchedulePeriod SchedulePeriod { get; init; } = SchedulePeriod.Epoch;

    /// <summary>
    /// What early stopping, best-keeping and a plateau schedule go by: the name of a validation metric, "loss" among them, or "training loss".
    /// Null means the validation's "loss" if there is one, otherwise the training loss.
    /// </summary>
    public string? Monitor { get; init; }

    /// <summary>The epochs without improvement of the monitored value that are borne; null never stops early.</summary>
    public int? Patience { get; init; }

    /// <summary>The least change of the monitored value that counts as improvement.</summary>
    public double MinimumChange { get; init; }

    /// <summary>Keeps a copy of the weights of the best epoch on the device and puts them back when training ends by itself.</summary>
    public bool RestoreBest { get; init; }

    /// <summary>Where to save a checkpoint, beside and renamed; nowhere if null.</summary>
    public string? CheckpointPath { get; init; }

    /// <summary>Saves after so many steps too; 0 saves at the end of epochs only.</summary>
    public int CheckpointEverySteps { get; init; }

    /// <summary>Where to save a checkpoint of each epoch that is the best so far; nowhere if null.</summary>
    public string? BestCheckpointPath { get; init; }

    /// <summary>
    /// The batches between two progress reports, and between two readings of losses from the device, each of which waits for it.
    /// </summary>
    public int ReportEvery { get; init; } = 10;

    /// <summary>
    /// Whether steps are captured (<see cref="CapturedStep"/>): in each epoch two steps run as usual, the next is recorded and one more compared with it; the others
    /// replay it, to the same bits, with hardly any work and allocation on the host. Off by default, as the step's own code then runs in the first steps of an epoch only:
    /// what it does on the host besides computing the loss (counting, printing, switching between losses) would not happen in the others. What would change a
    /// number of the computation from step to step is found, and ends the training with a <see cref="CaptureException"/>, as does what reads the device within a step.
    /// Batches of other shapes, such as a last, smaller one, and gradients of fewer batches than <see cref="AccumulationSteps"/> are computed as usual.
    /// </summary>
    public bool CaptureSteps { get; init; }

    /// <summary>
    /// What products are computed in (<see cref="TransferEngine.Autocast"/>): BFloat16 or Float16; Float32 for no autocast. Weights, gradients and the optimiser's state stay
    /// Float32, as does validation. Where it is Float16, the loss is scaled by <see cref="Trainer{TBatch}.Scaler"/>, and a step whose gradients are not finite is left out: it
    /// counts, but changes no weight.
    /// </summary>
    public ElementType Autocast { get; init; } = ElementType.Float32;

    internal void Check()
    {
        TransferEngine.Autocast.CheckType("Trainer", Autocast);
        ArgumentOutOfRangeException.ThrowIfNegative(Epochs);
        ArgumentOutOfRangeException.ThrowIfNegative(MaxSteps);
        ArgumentOutOfRangeException.ThrowIfLessThan(AccumulationSteps, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(ReportEvery, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(CheckpointEverySteps);
        if (ClipNorm is { } norm && !(norm > 0))
            throw new ArgumentOutOfRangeException(nameof(ClipNorm), norm, "Trainer: the greatest norm of the gradients is above 0.");
        if (ClipValue is { } value && !(value > 0))
            throw new ArgumentOutOfRangeException(nameof(ClipValue), value, "Trainer: the greatest value of a gradient is above 0.");
        if (Patience is < 0)
            throw new ArgumentOutOfRangeException(nameof(Patience), Patience, "Trainer: patience is 0 epochs or more.");
        if (!(MinimumChange >= 0))
            throw new ArgumentOutOfRangeException(nameof(MinimumChange), MinimumChange, "Trainer: the least change is 0 or more.");
        if (CheckpointEverySteps > 0 && CheckpointPath is null)
            throw new ArgumentException("Trainer: CheckpointEverySteps is set but not CheckpointPath. Say where to save.");
    }
}
