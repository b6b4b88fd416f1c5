using System.Diagnostics;

namespace TransferEngine.Training;

public partial class Trainer<TBatch>
{
    private static readonly IReadOnlyDictionary<string, double> NoMetrics = new Dictionary<string, double>();

    /// <summary>Validates, moves the schedules on, keeps the best, saves and reports.</summary>
    private TrainingProgress EndEpoch(IProgress<TrainingProgress>? progress, Stopwatch clock, CancellationToken cancellation)
    {
        double rate = LearningRate, loss = epochLoss.Value;
        var metrics = Validate(cancellation);
        double monitored = Monitored(metrics, loss, out bool greaterIsBetter);
        stopping ??= new EarlyStopping(Settings.Patience ?? int.MaxValue, Settings.MinimumChange, greaterIsBetter);
        bool isBest = stopping.Update(monitored);
        if (isBest)
        {
            BestEpoch = Epoch;
            if (Settings.RestoreBest)
                KeepBest();
        }
        if (Settings.SchedulePeriod == SchedulePeriod.Epoch)
            Schedule?.Step();
        Plateau?.Step(monitored);
        var record = new TrainingProgress(Epoch, Settings.Epochs, Step, batchesDone, loss, rate, metrics, true, clock.Elapsed);
        EpochsDone++;
        batchesDone = 0;
        passes = loader?.Passes ?? [];
        epochLoss.Reset();
        reportLoss.Reset();
        if (isBest && Settings.BestCheckpointPath is { } bestPath)
            Save(bestPath);
        if (Settings.CheckpointPath is { } path)
            Save(path);
        progress?.Report(record);
        foreach (var callback in Callbacks)
            callback.EpochEnd(this, record);
        return record;
    }

    private IReadOnlyDictionary<string, double> Validate(CancellationToken cancellation)
    {
        if (Validation is null)
            return NoMetrics;
        var putBack = Model.Evaluate();
        try
        {
            using (new NoGrad())
                return Validation(cancellation);
        }
        finally
        {
            putBack();
        }
    }

    private double Monitored(IReadOnlyDictionary<string, double> metrics, double trainingLoss, out bool greaterIsBetter)
    {
        string name = Settings.Monitor ?? (metrics.ContainsKey("loss") ? "loss" : "training loss");
        greaterIsBetter = !name.EndsWith("loss", StringComparison.Ordinal);
        return metrics.TryGetValue(name, out double value) ? value
            : name == "training loss" ? trainingLoss
            : throw new InvalidOperationException($"Trainer: the monitored value '{name}' is none of the validation's: {(metrics.Count == 0 ? "none, as there is no validation" : string.Join(", ", metrics.Keys))}.");
    }

    private void KeepBest()
    {
        var copy = new Dictionary<string, Tensor>();
        using (new NoGrad())
        {
            foreach (var (name, tensor) in Model.StateDict())
                copy[name] = tensor.Clone().KeepAlive();
        }
        DropBest();
        bestWeights = copy;
    }

    private void DropBest()
    {
        foreach (var tensor in bestWeights?.Values ?? [])
            tensor.Dispose();
        bestWeights = null;
    }
}
