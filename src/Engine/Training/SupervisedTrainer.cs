using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Training;

/// <summary>Trains a model on inputs with targets.</summary>
/// <example><code>
/// var optimizer = new Adam(model.Parameters());
/// var trainer = new Trainer(model, optimizer, (output, target) => output.CrossEntropy(target))
/// {
///     Settings = new() { Epochs = 5, Patience = 2, RestoreBest = true },
///     Metrics = { new Accuracy() },
/// };
/// trainer.Fit(trainLoader, validationLoader, progress, cancellation);
/// </code></example>
public sealed class Trainer : Trainer<Batch>
{
    private readonly Func<Tensor, Tensor, Tensor> loss;

    /// <summary>A training of a model by a loss.</summary>
    /// <param name="model">Inputs to outputs.</param>
    /// <param name="optimizer">Updates its weights.</param>
    /// <param name="loss">Output and target to a scalar that is a mean over the rows.</param>
    public Trainer(Module model, Optimizer optimizer, Func<Tensor, Tensor, Tensor> loss) : this(model, optimizer, loss, [])
    {
    }

    private Trainer(Module model, Optimizer optimizer, Func<Tensor, Tensor, Tensor> loss, List<IRegularizer> regularizers)
        : base(model, optimizer, StepOf(model, loss, regularizers)) => (this.loss, Regularizers) = (loss, regularizers);

    /// <summary>What is added to the loss in training; not in evaluation. Their own modules' parameters are the optimiser's if it was given them.</summary>
    public IList<IRegularizer> Regularizers { get; }

    /// <summary>What is measured on validation data beside the loss.</summary>
    public IList<Metric> Metrics { get; } = [];

    /// <summary>Trains, and validates after each epoch.</summary>
    /// <param name="batches">What is trained on.</param>
    /// <param name="validation">What is measured on; null keeps <see cref="Trainer{TBatch}.Validation"/> as it is.</param>
    /// <param name="progress">Hears after every few batches and after each epoch.</param>
    /// <param name="cancellation">Looked at before each step and each validation batch.</param>
    /// <inheritdoc cref="Trainer{TBatch}.Fit"/>
    public TrainingResult Fit(IEnumerable<Batch> batches, IEnumerable<Batch>? validation, IProgress<TrainingProgress>? progress = null, CancellationToken cancellation = default)
    {
        if (validation is not null)
            Validation = token => Evaluate(validation, token);
        return Fit(batches, progress, cancellation);
    }

    /// <summary>The mean loss and the metrics on some data, by name.</summary>
    /// <param name="batches">Inputs with targets.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    public IReadOnlyDictionary<string, double> Evaluate(IEnumerable<Batch> batches, CancellationToken cancellation = default) =>
        Evaluation.Run(Model, batches, [new MeanLoss(loss), .. Metrics], cancellation);

    private static Func<Batch, StepResult> StepOf(Module model, Func<Tensor, Tensor, Tensor> loss, List<IRegularizer> regularizers)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(loss);
        return batch =>
        {
            var output = model.Forward(batch.Input);
            var sum = loss(output, batch.Target);
            foreach (var regularizer in regularizers)
                sum += regularizer.Loss(new(batch.Input, output, batch.Target));
            return new(sum, output, batch.Target);
        };
    }
}
