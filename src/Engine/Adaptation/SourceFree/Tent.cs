using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>How <see cref="Tent"/> adapts.</summary>
public sealed record TentSettings
{
    /// <summary>Makes the optimiser of the scales and shifts, anew after each roll back; Adam with learning rate 1e-3 if null.</summary>
    public Func<IEnumerable<Tensor>, Optimizer>? Optimizer { get; init; }

    /// <summary>Updates a batch.</summary>
    public int Steps { get; init; } = 1;

    /// <summary>Whether each batch begins with the shipped weights: nothing is then carried from batch to batch.</summary>
    public bool Episodic { get; init; }
}

/// <summary>
/// TENT: makes predictions certain while they are made. Normalisation goes by the batch's own statistics, and its scales and shifts alone learn, by one
/// step a batch on the mean entropy of the softmax of the logits, <see cref="EntropyMinimization"/>. Dropout is off, which the authors' code leaves on. The prediction of a batch is that before
/// its last update, as in the authors' code.
/// </summary>
/// <remarks>
/// Wang et al., Tent: fully test-time adaptation by entropy minimization, ICLR 2021. The running statistics, which TENT itself does not use, take
/// each batch in with the module's momentum, so that the model in evaluation mode is adapted too; a roll back restores them. The authors' code adapts the batch
/// normalisation of images alone; here that of vectors, and layer and group normalisation, learn as well, as in later work. Batches should have many rows of mixed classes: on few classes or small batches minimal entropy collapses.
/// </remarks>
public sealed class Tent : IStreamAdapter
{
    private static readonly FreezePolicy AllElse = FreezePolicy.All() with { Weights = FrozenWeights.AllButNormalization, Normalization = FrozenNormalization.UpdateStatistics };

    private readonly TentSettings settings;
    private readonly Module[] norms;
    private readonly Tensor[] affine;
    private readonly WeightCopy shipped;
    private Optimizer optimizer;

    /// <param name="model">Takes batches to logits; its normalisation is changed in place.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <exception cref="ArgumentException">The model has no normalisation with scale or shift.</exception>
    public Tent(Module model, TentSettings? settings = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        this.settings = settings ?? new();
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Steps, 1);
        Model = model;
        norms = [.. model.NamedModules().Select(item => item.Module).Where(module => module is INormalization)];
        affine = [.. norms.SelectMany(module => module.OwnParameters).Select(item => item.Tensor).Distinct()];
        if (affine.Length == 0)
            throw new ArgumentException($"Tent: {model.GetType().Name} has no normalisation with scale or shift, which alone would learn. T3a takes any features.", nameof(model));
        shipped = CopyOfNormalization();
        optimizer = MakeOptimizer();
    }

    /// <summary>What is adapted.</summary>
    public Module Model { get; }

    /// <summary>The mean entropy in nats of the last batch's predictions, before its last update; NaN before the first.</summary>
    public double Entropy { get; private set; } = double.NaN;

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">A normalisation is frozen, or the entropy is no number; nothing is changed then.</exception>
    public Tensor Adapt(Tensor batch)
    {
        StreamBatch.Check(nameof(Tent), batch);
        if (settings.Episodic)
            RollBack();
        using var recording = new EnableGrad();
        using var scope = new TensorScope();
        using var before = CopyOfNormalization();
        var putBack = Model.Evaluate();
        bool[] learnt = Array.ConvertAll(affine, parameter => parameter.RequiresGrad);
        using var frozen = AllElse.Apply(Model);
        try
        {
            Model.Train();
            if (Array.Find(norms, module => !module.IsTraining) is { } held)
                throw new InvalidOperationException($"Tent: a {held.GetType().Name} is frozen, so it can't go by the batch. Undo its freezing.");
            foreach (var parameter in affine)
                parameter.RequiresGrad = true;
            var logits = Step(batch);
            for (int step = 1; step < settings.Steps; step++)
                logits = Step(batch);
            return scope.Keep(logits);
        }
        catch
        {
            before.Restore();
            throw;
        }
        finally
        {
            optimizer.ZeroGrad();
            for (int i = 0; i < affine.Length; i++)
                affine[i].RequiresGrad = learnt[i];
            frozen.Undo();
            putBack();
        }
    }

    /// <inheritdoc/>
    public void RollBack()
    {
        shipped.Restore();
        optimizer = MakeOptimizer();
    }

    /// <summary>Gives back what it remembers; the model stays as it is adapted.</summary>
    public void Dispose() => shipped.Dispose();

    private Tensor Step(Tensor batch)
    {
        optimizer.ZeroGrad();
        var logits = StreamBatch.Logits(nameof(Tent), batch, Model.Forward(batch));
        var loss = EntropyMinimization.Forward(logits);
        double entropy = loss.Item();
        if (!double.IsFinite(entropy))
            throw new InvalidOperationException($"Tent: the predictions' entropy is {entropy}. Are inputs scaled as the model wants them? RollBack() gives the shipped model.");
        Entropy = entropy;
        loss.Backward();
        optimizer.Step();
        return logits.Detach();
    }

    private WeightCopy CopyOfNormalization() => new(norms.SelectMany(module => module.OwnParameters.Concat(module.OwnBuffers)));

    private Optimizer MakeOptimizer() => settings.Optimizer?.Invoke(affine) ?? new Adam(affine, 1e-3);
}
