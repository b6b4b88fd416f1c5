using System.Diagnostics;
using TransferEngine.Data;

namespace TransferEngine.Training;

public partial class Trainer<TBatch>
{
    /// <summary>Trains on what is left of the present epoch. False if it ended before the epoch was over.</summary>
    private bool TrainEpoch(IEnumerable<TBatch> batches, IProgress<TrainingProgress>? progress, Stopwatch clock, CancellationToken cancellation)
    {
        Model.Train();
        captured?.Reset(); // what callbacks and others changed between epochs is recorded
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
            unread.Dispose();
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
            if (captured is not null && group.Count == Settings.AccumulationSteps)
            {
                present = batch;
                var tensors = ((ITensorBatch<TBatch>)batch!).Tensors;
                var loss = captured.Run(tensors as Tensor[] ?? [.. tensors]);
                Note(loss, captured.Rows);
            }
            else
            {
                var traced = Trace(batch, group.Count);
                traced.Objective.Backward();
                Note(traced.Loss, traced.Rows);
            }
            Discard(batch);
        }
        Update();
    }

    /// <summary>The loss of a batch, and its part of the mean over as many batches.</summary>
    private Traced Trace(TBatch batch, int batches)
    {
        using var cast = Cast();
        var result = step!(batch);
        CheckScalar(result.Loss);
        return new(result.Loss, Scaled(batches == 1 ? result.Loss : result.Loss / batches), result.Output is { Rank: > 0 } output ? output.Shape[0] : 1);
    }

    private CapturedStep? NewCapture()
    {
        if (!Settings.CaptureSteps)
            return null;
        if (updates is not null)
            throw new ArgumentException("Trainer: CaptureSteps is set, but steps of several updates are not captured: each changes the weights that the next starts from. Don't capture.");
        if (!typeof(ITensorBatch<TBatch>).IsAssignableFrom(typeof(TBatch)))
            throw new ArgumentException($"Trainer: CaptureSteps is set, but a {typeof(TBatch).Name} does not say which tensors it is made of. Let it implement ITensorBatch<{typeof(TBatch).Name}>, or don't capture.");
        return new(Model, tensors => Trace(((ITensorBatch<TBatch>)present!).With(tensors), Settings.AccumulationSteps));
    }

    private void RunUpdates(TBatch batch)
    {
        using var scope = new TensorScope();
        using var cast = Cast();
        Tensor? reported = null;
        foreach (var update in updates!(batch))
        {
            CheckScalar(update.Loss);
            Scaled(update.Loss).Backward(inputs: update.Parts is null ? null : [.. update.Parts.SelectMany(part => part.Parameters()).Where(parameter => parameter.RequiresGrad)]);
            if (update.IsReported)
            {
                var loss = update.Loss.Detach();
                reported = reported is null ? loss : reported + loss;
            }
            Update();
            Optimizer.ZeroGrad();
        }
        if (reported is not null)
            Note(reported, 1);
        Discard(batch);
    }

    /// <summary>Changes the weights by the gradients that they have.</summary>
    private void Update()
    {
        // The scaler leaves out a step whose gradients are not finite: there is nothing to clip.
        if (Scaler?.Unscale(Optimizer) != false)
        {
            if (Settings.ClipValue is { } value)
                GradientClipping.ByValue(Optimizer.Groups.SelectMany(its => its.Parameters), value);
            if (Settings.ClipNorm is { } norm)
                GradientClipping.ToNorm(Optimizer.Groups.SelectMany(its => its.Parameters), norm);
        }
        if (Scaler is { } scaler)
        {
            scaler.Step(Optimizer);
            scaler.Update();
        }
        else
        {
            Optimizer.Step();
        }
    }

    private Autocast? Cast() => Settings.Autocast == ElementType.Float32 ? null : new(Settings.Autocast);

    private Tensor Scaled(Tensor loss) => Scaler?.Scale(loss) ?? loss;

    private static void CheckScalar(Tensor loss) => Check.That(loss.Elements == 1, $"Trainer: the loss {loss.Shape} is no scalar. Reduce it with Mean() or Sum().");

    /// <summary>Takes a loss down, to be read with others.</summary>
    private void Note(Tensor loss, int rows)
    {
        if (!unread.TryAdd(loss, rows))
        {
            ReadLosses();
            unread.Dispose();
            unread.TryAdd(loss, rows);
        }
    }

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
        for (int i = 0; i < Callbacks.Count; i++)
            Callbacks[i].StepEnd(this);
        if (Settings.CheckpointEverySteps > 0 && Step % Settings.CheckpointEverySteps == 0)
            Save(Settings.CheckpointPath!);
    }

    /// <summary>Reads the losses that are still on the device.</summary>
    private void ReadLosses()
    {
        foreach (var (value, rows) in unread.Read())
        {
            epochLoss.Add(value, rows);
            reportLoss.Add(value, rows);
        }
    }

    private static void Discard(TBatch batch) => (batch as IDisposable)?.Dispose();
}
