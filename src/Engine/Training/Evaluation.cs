using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Training;

/// <summary>Measures a model on labelled batches, in evaluation mode and without recording.</summary>
public static class Evaluation
{
    /// <summary>Measures.</summary>
    /// <param name="model">The model; each module has the mode that it had when this returns.</param>
    /// <param name="batches">Inputs with targets; disposed as they are used.</param>
    /// <param name="metrics">What to measure; reset first.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    /// <returns>The metrics' values by name.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static IReadOnlyDictionary<string, double> Run(Module model, IEnumerable<Batch> batches, IEnumerable<Metric> metrics, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentNullException.ThrowIfNull(metrics);
        Metric[] measured = [.. metrics];
        foreach (var metric in measured)
            metric.Reset();
        var putBack = model.Evaluate();
        try
        {
            using var noGrad = new NoGrad();
            foreach (var batch in batches)
            {
                using var used = batch;
                cancellation.ThrowIfCancellationRequested();
                using var scope = new TensorScope();
                var output = model.Forward(batch.Input);
                foreach (var metric in measured)
                    metric.Update(output, batch.Target);
            }
        }
        finally
        {
            putBack();
        }
        return measured.ToDictionary(metric => metric.Name, metric => metric.Value);
    }

    /// <summary>The part of the rows that a classifier predicts right, from 0 to 1.</summary>
    /// <param name="model">Inputs to logits [N, classes].</param>
    /// <param name="batches">Inputs with labels.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    public static double Accuracy(Module model, IEnumerable<Batch> batches, CancellationToken cancellation = default) =>
        Run(model, batches, [new Accuracy()], cancellation).Values.Single();
}
