using TransferEngine.Data;
using TransferEngine.Serialization;

namespace TransferEngine.Training;

public partial class Trainer<TBatch>
{
    private GeneratorState[] epochStart = [];
    private IPassed? loader;
    private int[] passes = [];
    private bool wasLoaded;

    /// <summary>
    /// The random streams that the training draws from, in a fixed order: their states are part of a checkpoint, and an epoch that is
    /// resumed in its midst draws its order again. At first <see cref="Generator.Default"/>; add those that loaders or modules were given.
    /// </summary>
    public IList<Generator> Generators { get; } = [Generator.Default];

    /// <summary>
    /// Saves all that the training needs to go on as if it had not stopped: weights, the optimiser's and schedules' state, random streams, the
    /// place in the epoch and the loader's pass, the best so far. One safetensors file, written beside and renamed; its metadata tells the settings.
    /// </summary>
    /// <param name="path">The file.</param>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        ReadLosses();
        using var scope = new TensorScope();
        var tensors = new Dictionary<string, Tensor>();
        Put(tensors, "model.", Model.StateDict());
        Put(tensors, "optimizer.", Optimizer.StateDict());
        Put(tensors, "best.", bestWeights);
        var values = new CheckpointValues
        {
            ["kind"] = CheckpointValues.Kind,
            ["settings"] = Settings.ToString(),
            ["optimizer"] = Optimizer.GetType().Name,
            ["schedule"] = Schedule?.GetType().Name ?? "none",
            ["scaler"] = Scaler is null ? "none" : nameof(GradScaler),
        };
        values.Set("step", Step);
        values.Set("epochs_done", EpochsDone);
        values.Set("batches_done", batchesDone);
        values.Set("schedule.step", Schedule?.StepCount ?? 0);
        values.Set("epoch_loss.sum", epochLoss.State.Sum);
        values.Set("epoch_loss.rows", epochLoss.State.Rows);
        values.Set("best_epoch", BestEpoch);
        if (stopping is not null)
        {
            values.Set("stopping.best", stopping.Best);
            values.Set("stopping.epochs_since_best", stopping.EpochsSinceBest);
            values.Set("stopping.greater_is_better", stopping.GreaterIsBetter ? 1 : 0);
        }
        foreach (var (name, value) in Plateau?.StateDict() ?? NoMetrics)
            values.Set($"plateau.{name}", value);
        foreach (var (name, value) in Scaler?.StateDict() ?? NoMetrics)
            values.Set($"scaler.{name}", value);
        values.Set("generators", Capture());
        values.Set("epoch_start", epochStart);
        values["loader.passes"] = string.Join(';', passes);
        Safetensors.Save(path, tensors, values);
    }

    /// <summary>
    /// Takes over a saved training. Model, optimiser, schedules, generators and frozen parts must be made as they were when it was saved; then
    /// <see cref="Fit"/> goes on bit for bit as the saved one would have. Either all is taken over, or nothing is changed.
    /// </summary>
    /// <param name="path">A file of <see cref="Save"/>.</param>
    /// <exception cref="DataFormatException">The file is truncated, damaged or no checkpoint of a training.</exception>
    /// <exception cref="ArgumentException">It is of another model, optimiser or set-up.</exception>
    public void Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = new TensorScope();
        var file = Safetensors.Load(path);
        var values = new CheckpointValues(file.Metadata) { Path = path };
        if (!values.TryGetValue("kind", out string? kind) || kind != CheckpointValues.Kind)
            throw new DataFormatException(path, $"no checkpoint of a training: its metadata does not say '{CheckpointValues.Kind}'. Weights alone are loaded with Module.LoadStateDict.");
        Same("optimiser", values.Text("optimizer"), Optimizer.GetType().Name);
        Same("schedule", values.Text("schedule"), Schedule?.GetType().Name ?? "none");
        Same("scaler", values.GetValueOrDefault("scaler", "none"), Scaler is null ? "none" : nameof(GradScaler));
        var generators = values.Generators("generators");
        var start = values.Generators("epoch_start");
        var loaderPasses = values.Integers("loader.passes");
        Same("number of random generators", $"{generators.Length}", $"{Generators.Count}");
        var (step, done, batches) = ((long)values.Number("step"), (int)values.Number("epochs_done"), (int)values.Number("batches_done"));
        int scheduleStep = (int)values.Number("schedule.step"), best = (int)values.Number("best_epoch");
        var loss = (values.Number("epoch_loss.sum"), (long)values.Number("epoch_loss.rows"));
        var watch = !values.ContainsKey("stopping.best") ? null : new EarlyStopping(Settings.Patience ?? int.MaxValue, Settings.MinimumChange, values.Number("stopping.greater_is_better") != 0)
        {
            Best = values.Number("stopping.best"),
            EpochsSinceBest = (int)values.Number("stopping.epochs_since_best"),
        };
        var plateau = Plateau?.StateDict().Keys.ToDictionary(name => name, name => values.Number($"plateau.{name}"));
        var scaler = Scaler?.StateDict().Keys.ToDictionary(name => name, name => values.Number($"scaler.{name}"));
        Dictionary<string, Tensor> model = Take(file, "model."), optimizer = Take(file, "optimizer."), bestModel = Take(file, "best.");
        Model.CheckStateDict(model);
        if (bestModel.Count > 0)
            Model.CheckStateDict(bestModel);
        if (scaler is not null)
            new GradScaler().LoadStateDict(scaler); // whose checks it passes, or it is taken by none
        Optimizer.LoadStateDict(optimizer);

        // Nothing below fails.
        Model.LoadStateDict(model);
        if (Schedule is not null)
        {
            Schedule.StepCount = scheduleStep;
            Optimizer.LoadStateDict(optimizer); // again: the schedule has set rates that a plateau may have changed since
        }
        Plateau?.LoadStateDict(plateau!);
        Scaler?.LoadStateDict(scaler!);
        (Step, EpochsDone, batchesDone, BestEpoch, stopping, epochStart) = (step, done, batches, best, watch, start);
        (passes, wasLoaded) = (loaderPasses, true);
        epochLoss.State = loss;
        reportLoss.Reset();
        Restore(generators);
        DropBest();
        if (bestModel.Count > 0)
        {
            var devices = Model.StateDict();
            bestWeights = bestModel.ToDictionary(item => item.Key, item => item.Value.To(devices[item.Key].Device).KeepAlive());
        }
    }

    private GeneratorState[] Capture()
    {
        var states = new GeneratorState[Generators.Count];
        for (int i = 0; i < states.Length; i++)
            states[i] = Generators[i].State;
        return states;
    }

    private void Restore(GeneratorState[] states)
    {
        for (int i = 0; i < states.Length && i < Generators.Count; i++)
            Generators[i].State = states[i];
    }

    private static void Put(Dictionary<string, Tensor> all, string prefix, IReadOnlyDictionary<string, Tensor>? part)
    {
        foreach (var (name, tensor) in part ?? new Dictionary<string, Tensor>())
            all[prefix + name] = tensor;
    }

    private static Dictionary<string, Tensor> Take(WeightFile file, string prefix) => file.Tensors
        .Where(item => item.Key.StartsWith(prefix, StringComparison.Ordinal))
        .ToDictionary(item => item.Key[prefix.Length..], item => item.Value);

    private static void Same(string what, string saved, string present)
    {
        if (saved != present)
            throw new ArgumentException($"Trainer.Load: the checkpoint's {what} is {saved}, this trainer's {present}. Set the trainer up as it was when it was saved.");
    }
}
