namespace TransferEngine.Training;

/// <summary>Where a training stands: what <see cref="Trainer{TBatch}.Fit"/> reports.</summary>
/// <param name="Epoch">The epoch under way, from 1.</param>
/// <param name="Epochs">The epochs wanted.</param>
/// <param name="Step">The whole steps done since the training began: updates of the weights.</param>
/// <param name="Batch">The batches consumed in this epoch.</param>
/// <param name="Loss">The mean loss of the batches since the last report; at the end of an epoch, of all of its batches.</param>
/// <param name="LearningRate">The learning rate of the last step, of the first parameter group.</param>
/// <param name="Metrics">The validation's metrics by name; filled at the end of an epoch, otherwise empty.</param>
/// <param name="IsEpochEnd">Whether this reports a whole epoch.</param>
/// <param name="Elapsed">The time since Fit was called.</param>
public sealed record TrainingProgress(int Epoch, int Epochs, long Step, int Batch, double Loss, double LearningRate,
    IReadOnlyDictionary<string, double> Metrics, bool IsEpochEnd, TimeSpan Elapsed);

/// <summary>Why a training ended.</summary>
public enum TrainingEnd
{
    /// <summary>The wanted epochs are done.</summary>
    Completed,

    /// <summary>The wanted steps are done.</summary>
    MaxSteps,

    /// <summary>The monitored value has not improved for longer than the patience.</summary>
    EarlyStopped,

    /// <summary>A callback asked to stop.</summary>
    Stopped,
}

/// <summary>What a training came to.</summary>
/// <param name="End">Why it ended.</param>
/// <param name="Epochs">The whole epochs, one record each, of this call.</param>
/// <param name="Best">The best monitored value; NaN if nothing was monitored.</param>
/// <param name="BestEpoch">The epoch of the best value, from 1; 0 if nothing was monitored.</param>
public sealed record TrainingResult(TrainingEnd End, IReadOnlyList<TrainingProgress> Epochs, double Best, int BestEpoch);

/// <summary>
/// Hears of a training's course. Each method does nothing unless implemented; throwing ends the training with the weights of the last whole
/// step.
/// </summary>
public interface ITrainingCallback
{
    /// <summary>An epoch begins.</summary>
    /// <param name="run">The training.</param>
    void EpochStart(ITrainingRun run)
    {
    }

    /// <summary>The weights were updated.</summary>
    /// <param name="run">The training.</param>
    void StepEnd(ITrainingRun run)
    {
    }

    /// <summary>An epoch is over and validated.</summary>
    /// <param name="run">The training.</param>
    /// <param name="epoch">Its loss and metrics.</param>
    void EpochEnd(ITrainingRun run, TrainingProgress epoch)
    {
    }
}

/// <summary>The training as its callbacks see it.</summary>
public interface ITrainingRun
{
    /// <summary>The epoch under way, from 1.</summary>
    int Epoch { get; }

    /// <summary>The whole steps done since the training began.</summary>
    long Step { get; }

    /// <summary>The part of the wanted epochs that is done, from 0 to 1, by whole batches where the loader knows how many there are.</summary>
    double Progress { get; }

    /// <summary>Ends the training after the present step; the present epoch is not validated.</summary>
    void Stop();
}
