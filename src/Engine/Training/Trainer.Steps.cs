using System.Diagnostics;
using TransferEngine.Data;

namespace TransferEngine.Training;

public partial class Trainer<TBatch>
{
    /// <summary>Trains on what is left of the present epoch. False if it ended before the epoch was over.</summary>
    private bool TrainEpoch(IEnumerable<TBatch> batches, IProgress<TrainingProgress>? progress, Stopwatch clock, CancellationToken cancellation)
    {
        Model.Train();
        loader = batches as IPassed;
        batchesAnnounced = loader?.Count ?? (batches as IReadOnlyCollection<TBatch>)?.Count ?? 0;
        int skip = batchesDone;
        if (skip == 0)
        {
            foreach (var callback in Callbacks)
                callback.EpochStart(this);
        }
        var group = new List<TBatch>(Settings.AccumulationSteps);
        var resumed = Capture();
        if (skip == 0)
            epochStart = resumed;
        else
            Restore(epochStart); // the loader draws the same order again
        if (loader is not null && (skip > 0 || wasLoaded) && passes.Length == loader.Passes.Length)
            loader.Passes = passes;
        passes = loader?.Passes ?? [];
        wasLoaded = false;
        using var source = batches.GetEnumerator();
        try
        {
            for (int i = 0; i < skip; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                if (!source.MoveNext())
                    throw new InvalidOperationException($"Trainer: the epoch stood at batch {skip}, but the loader now gives only {i}. Resume with the loader that the training began with.");
                Discard(source.Current);
            }
            if (skip > 0)
                Restore(resumed);
            while (true)
            {
                var before = Capture();
                while (group.Count < Settings.AccumulationSteps && source.MoveNext())
                    group.Add(source.Current);
                if (group.Count == 0)
                    break;
                if (stopAsked || Step >= Settings.MaxSteps || cancellation.IsCancellationRequested)
                {
                    // What the loader drew for batches that are not trained on must be drawn again when training goes on.
                    Restore(before);
                    cancellation.ThrowIfCancellationRequested();
                    return false;
                }
                RunStep(group);
                group.Clear();
                AfterStep(progress, clock);
            }
        }
        finally
        {
            foreach (var batch in group)
                Discard(batch);
            ReadLosses();
        }
        if (batchesDone == 0)
            throw new InvalidOperationException("Trainer: the loader gave no batch. Is the data set empty, or the last, smaller batch left out?");
        return !stopAsked;
    }

    /// <summary>One update of the weights by the mean gradient of the batches, or the several updates of one batch.</summary>
    private void RunStep(List<TBatch> group)
    {
        try
        {
            if (updates is not null)
                RunUpdates(group[0]);
            else
                RunBatches(group);
        }
        finally
        {
            // After a failed step too: a part of a gradient must not enter the next.
            Optimizer.ZeroGrad();
        }
        Step++;
        batchesDone += group.Count;
    }

    private void RunBatches(List<TBatch> group)
    {
        foreach (var batch in group)
        {
            using var scope = new TensorScope();
            var result = step!(batch);
            CheckScalar(result.Loss);
            (group.Count == 1 ? result.Loss : result.Loss / group.Count).Backward();
            unread.Add((result.Loss.Detach().KeepAlive(), result.Output is { Rank: > 0 } output ? output.Shape[0] : 1));
            Discard(batch);
        }
        Update();
    }

    private void RunUpdates(TBatch batch)
    {
        using var scope = new TensorScope();
        Tensor? reported = null;
        foreach (var update in updates!(batch))
        {
            CheckScalar(update.Loss);
            update.Loss.Backward(inputs: update.Parts is null ? null : [.. update.Parts.SelectMany(part => part.Parameters()).Where(parameter => parameter.RequiresGrad)]);
            if (update.IsReported)
            {
                var loss = update.Loss.Detach();
                reported = reported is null ? loss : reported + loss;
            }
            Update();
            Optimizer.ZeroGrad();
        }
        if (reported is not null)
            unread.Add((reported.KeepAlive(), 1));
        Discard(batch);
    }

    /// <summary>Changes the weights by the gradients that they have.</summary>
    private void Update()
    {
        if (Settings.ClipValue is { } value)
            GradientClipping.ByValue(Optimizer.Groups.SelectMany(its => its.Parameters), value);
        if (Settings.ClipNorm is { } norm)
            GradientClipping.ByNorm(Optimizer.Groups.SelectMany(its => its.Parameters), norm);
        Optimizer.Step();
    }

    private static void CheckScalar(Tensor loss) => Check.That(loss.Elements == 1, $"Trainer: the loss {loss.Shape} is no scalar. Reduce it with Mean() or Sum().");

    private void AfterStep(IProgress<TrainingProgress>? progress, Stopwatch clock)
    {
        double rate = LearningRate;
        if (Settings.SchedulePeriod == SchedulePeriod.Step)
            Schedule?.Step();
        if (unread.Count >= Settings.ReportEvery)
        {
            ReadLosses();
            progress?.Report(new(Epoch, Settings.Epochs, Step, batchesDone, reportLoss.Value, rate, NoMetrics, false, clock.Elapsed));
            reportLoss.Reset();
        }
        foreach (var callback in Callbacks)
            callback.StepEnd(this);
        if (Settings.CheckpointEverySteps > 0 && Step % Settings.CheckpointEverySteps == 0)
            Save(Settings.CheckpointPath!);
    }

    /// <summary>Reads the losses that are still on the device.</summary>
    private void ReadLosses()
    {
        foreach (var (loss, rows) in unread)
        {
            double value = loss.Item();
            loss.Dispose();
            epochLoss.Add(value, rows);
            reportLoss.Add(value, rows);
        }
        unread.Clear();
    }

    private static void Discard(TBatch batch) => (batch as IDisposable)?.Dispose();
}
