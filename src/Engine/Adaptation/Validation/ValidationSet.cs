using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>The rows that models are compared on, and what a model gives on them. The target's labels are dropped unread.</summary>
public sealed class ValidationSet
{
    private readonly IDataset sourceTrain, sourceValidation, target;
    private readonly Device device;
    private readonly int batchSize;

    /// <param name="sourceTrain">Labelled rows of the source that the models are trained on; a part of them may be enough.</param>
    /// <param name="sourceValidation">Labelled rows of the source that no model is trained on.</param>
    /// <param name="target">Rows of the target.</param>
    /// <param name="device">Where the models are; the CPU if null.</param>
    /// <param name="batchSize">The rows that go through a model at once.</param>
    /// <exception cref="ArgumentException">A data set has no row.</exception>
    public ValidationSet(IDataset sourceTrain, IDataset sourceValidation, IDataset target, Device? device = null, int batchSize = 256)
    {
        foreach (var (name, data) in new[] { (nameof(sourceTrain), sourceTrain), (nameof(sourceValidation), sourceValidation), (nameof(target), target) })
        {
            ArgumentNullException.ThrowIfNull(data, name);
            if (data.Count == 0)
                throw new ArgumentException("ValidationSet: the data set has no row.", name);
        }
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        (this.sourceTrain, this.sourceValidation, this.target) = (sourceTrain, sourceValidation, target);
        (this.device, this.batchSize) = (device ?? Device.Cpu, batchSize);
    }

    /// <summary>Runs a model, in evaluation mode; its modules have the mode that they had when this returns.</summary>
    /// <param name="features">Takes inputs to features [N, d], or to maps [N, d, H, W], whose means over the pixels are the features then.</param>
    /// <param name="head">Takes what <paramref name="features"/> gives to logits [N, C].</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    /// <returns>To be disposed.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public ValidationData Evaluate(Module features, Module head, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(head);
        Action[] putBack = [features.Evaluate(), head.Evaluate()];
        try
        {
            return new(Run(sourceTrain, true), Run(sourceValidation, true), Run(target, false));
        }
        finally
        {
            Array.ForEach(putBack, each => each());
        }

        ModelOutput Run(IDataset data, bool labelled)
        {
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            List<Tensor> vectors = [], logits = [], labels = [];
            for (int start = 0; start < data.Count; start += batchSize)
            {
                cancellation.ThrowIfCancellationRequested();
                using var step = new TensorScope();
                int[] rows = [.. Enumerable.Range(start, Math.Min(batchSize, data.Count - start))];
                var batch = data.Read(rows, device);
                var made = features.Forward(batch.Input);
                vectors.Add(step.Keep(made.Rank == 4 ? made.Mean([2, 3]) : made));
                logits.Add(step.Keep(head.Forward(made)));
                if (labelled)
                    labels.Add(step.Keep(batch.Target));
            }
            return new(Tensor.Concat(vectors).KeepAlive(), Tensor.Concat(logits).KeepAlive(), labelled ? Tensor.Concat(labels).KeepAlive() : null);
        }
    }
}
