using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Training;

/// <summary>
/// Fine-tunes a model in phases, each with parts frozen and learning rates of its own. One optimiser goes through all phases, so that what trains on
/// keeps its moments.
/// </summary>
/// <example><code>
/// var tuner = new FineTuner(model, (output, target) => output.CrossEntropy(target)) { Metrics = { new Accuracy() } };
/// tuner.Fit(FineTuneRecipe.OneCycle(tuner.Groups, epochs: 4), trainLoader, validationLoader);
/// </code></example>
public sealed class FineTuner
{
    private readonly Func<Tensor, Tensor, Tensor> loss;

    /// <param name="model">The model, with source weights and a new head.</param>
    /// <param name="loss">Output and target to a scalar that is a mean over the rows.</param>
    /// <param name="groups">The model's stages; those of <see cref="LayerGroups.Of(Module)"/> if null.</param>
    public FineTuner(Module model, Func<Tensor, Tensor, Tensor> loss, LayerGroups? groups = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(loss);
        (Model, this.loss, Groups) = (model, loss, groups ?? LayerGroups.Of(model));
    }

    /// <summary>What is fine-tuned.</summary>
    public Module Model { get; }

    /// <summary>Its stages.</summary>
    public LayerGroups Groups { get; }

    /// <summary>What is added to the loss in training; their own modules are trained at the head's rate.</summary>
    public IList<IRegularizer> Regularizers { get; } = [];

    /// <summary>What is measured on validation data beside the loss.</summary>
    public IList<Metric> Metrics { get; } = [];

    /// <summary>Makes the optimiser of the groups; if null AdamW as fastai sets it: second beta 0.99, epsilon 1e-5, weight decay 0.01.</summary>
    public Func<IEnumerable<ParameterGroup>, Optimizer>? Optimizer { get; init; }

    /// <summary>How each phase trains; its epochs and when its schedule moves are the phase's. Early stopping and best-keeping count within a phase.</summary>
    public TrainerSettings Settings { get; init; } = new();

    /// <summary>Trains phase after phase. Whatever ends it, what a phase froze is unfrozen again.</summary>
    /// <param name="phases">Such as a <see cref="FineTuneRecipe"/> gives.</param>
    /// <param name="batches">What is trained on; it knows its number of batches where a phase has a schedule, as a <see cref="DataLoader"/> does.</param>
    /// <param name="validation">What is measured on after each epoch; null measures nothing.</param>
    /// <param name="progress">Hears after every few batches and after each epoch; epochs count within a phase.</param>
    /// <param name="cancellation">Looked at before each step and each validation batch.</param>
    /// <returns>What each phase came to.</returns>
    /// <exception cref="ArgumentException">A phase has not a rate for each stage, or the number of batches is not known.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; the model is as it was after the last whole step.</exception>
    public IReadOnlyList<TrainingResult> Fit(
        IReadOnlyList<FineTunePhase> phases, IEnumerable<Batch> batches, IEnumerable<Batch>? validation = null, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(phases);
        ArgumentNullException.ThrowIfNull(batches);
        foreach (var phase in phases)
        {
            if (phase.Rates.Count != Groups.Count)
                throw new ArgumentException($"FineTuner: phase '{phase.Name}' has {phase.Rates.Count} rates for {Groups.Count} stages. Give one each.", nameof(phases));
        }
        List<ParameterGroup> parameters = [.. Groups.ParameterGroups()];
        Tensor[] others = [.. Regularizers.SelectMany(item => item.Modules).SelectMany(module => module.Parameters()).Except(Model.Parameters()).Distinct()];
        if (others.Length > 0)
            parameters.Add(new ParameterGroup(others));
        var optimizer = Optimizer?.Invoke(parameters) ?? new AdamW(parameters, beta2: 0.99, epsilon: 1e-5);
        var results = new List<TrainingResult>();
        foreach (var phase in phases)
            results.Add(FitPhase(phase, optimizer, batches, validation, progress, cancellation));
        return results;
    }

    private TrainingResult FitPhase(FineTunePhase phase, Optimizer optimizer, IEnumerable<Batch> batches, IEnumerable<Batch>? validation, IProgress<TrainingProgress>? progress, CancellationToken cancellation)
    {
        for (int i = 0; i < optimizer.Groups.Count; i++)
        {
            var group = optimizer.Groups[i];
            group.LearningRate = group.InitialLearningRate = phase.Rates[Math.Min(i, phase.Rates.Count - 1)];
        }
        using var frozen = phase.Frozen?.Apply(Model, optimizer);
        var trainer = new Trainer(Model, optimizer, loss)
        {
            Settings = Settings with { Epochs = phase.Epochs, SchedulePeriod = SchedulePeriod.Step },
            Schedule = phase.Schedule?.Invoke(optimizer, phase.Epochs * StepsOf(phase, batches)),
        };
        foreach (var regularizer in Regularizers)
            trainer.Regularizers.Add(regularizer);
        foreach (var metric in Metrics)
            trainer.Metrics.Add(metric);
        return trainer.Fit(batches, validation, progress, cancellation);
    }

    private int StepsOf(FineTunePhase phase, IEnumerable<Batch> batches)
    {
        int count = (batches as IPassed)?.Count ?? (batches as IReadOnlyCollection<Batch>)?.Count
            ?? throw new ArgumentException($"FineTuner: the schedule of phase '{phase.Name}' needs the number of batches, which {batches.GetType().Name} does not tell. Give a DataLoader, or a phase without schedule.", nameof(batches));
        return Math.Max(1, (count + Settings.AccumulationSteps - 1) / Settings.AccumulationSteps);
    }
}
