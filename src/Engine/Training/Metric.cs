namespace TransferEngine.Training;

/// <summary>
/// A number that says how good outputs are, accumulated over batches: <see cref="Update"/> with each, then read <see cref="Value"/>. One
/// instance serves one loop at a time. Updating waits for the device.
/// </summary>
public abstract class Metric
{
    /// <summary>What progress records and tables call it.</summary>
    public abstract string Name { get; }

    /// <summary>The value over all batches since <see cref="Reset"/>; NaN before the first.</summary>
    public abstract double Value { get; }

    /// <summary>Whether a greater value is better: what early stopping and best-keeping go by.</summary>
    public virtual bool GreaterIsBetter => true;

    /// <summary>Forgets all batches.</summary>
    public abstract void Reset();

    /// <summary>Adds a batch.</summary>
    /// <param name="output">What the model answered.</param>
    /// <param name="target">What was wanted.</param>
    public abstract void Update(Tensor output, Tensor target);
}

/// <summary>The part of the rows whose greatest logit is at the label.</summary>
public sealed class Accuracy : Metric
{
    private long right;

    /// <inheritdoc/>
    public override string Name => "accuracy";

    /// <inheritdoc/>
    public override double Value => Rows == 0 ? double.NaN : (double)right / Rows;

    /// <summary>The rows counted so far.</summary>
    public long Rows { get; private set; }

    /// <summary>The accuracy of one batch, from 0 to 1.</summary>
    /// <param name="logits">[N, classes], floating; logits, probabilities or any scores. The first of equal ones counts, NaN as greatest.</param>
    /// <param name="labels">[N], Int32.</param>
    /// <returns>NaN for an empty batch.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static double Of(Tensor logits, Tensor labels)
    {
        var metric = new Accuracy();
        metric.Update(logits, labels);
        return metric.Value;
    }

    /// <inheritdoc/>
    public override void Reset() => right = Rows = 0;

    /// <summary>Adds a batch.</summary>
    /// <param name="output">Logits [N, classes], floating.</param>
    /// <param name="target">Labels [N], Int32.</param>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="ElementTypeException">The labels are not Int32, or the logits are.</exception>
    public override void Update(Tensor output, Tensor target)
    {
        var (predicted, labels) = Predictions.Read("Accuracy", output, target);
        for (int i = 0; i < labels.Length; i++)
            right += predicted[i] == labels[i] ? 1 : 0;
        Rows += labels.Length;
    }
}

/// <summary>The mean of a loss over all elements that it was taken over, so that a small last batch weighs less.</summary>
public sealed class MeanLoss : Metric
{
    private readonly Func<Tensor, Tensor, Tensor>? loss;
    private double sum;
    private long rows;

    /// <summary>A mean of losses that the caller computes and adds with <see cref="Add"/>.</summary>
    public MeanLoss()
    {
    }

    /// <summary>A mean of a loss that is computed from each batch, without a gradient.</summary>
    /// <param name="loss">Output and target to a scalar that is a mean over the rows.</param>
    public MeanLoss(Func<Tensor, Tensor, Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        this.loss = loss;
    }

    /// <inheritdoc/>
    public override string Name => "loss";

    /// <inheritdoc/>
    public override double Value => rows == 0 ? double.NaN : sum / rows;

    /// <inheritdoc/>
    public override bool GreaterIsBetter => false;

    /// <summary>What a checkpoint keeps.</summary>
    internal (double Sum, long Rows) State { get => (sum, rows); set => (sum, rows) = value; }

    /// <inheritdoc/>
    public override void Reset() => (sum, rows) = (0, 0);

    /// <summary>Adds the loss of a batch.</summary>
    /// <param name="value">Its mean.</param>
    /// <param name="count">The number of rows that it is the mean of.</param>
    public void Add(double value, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (count == 0)
            return; // the mean of nothing is NaN, which must not spoil the sum
        sum += value * count;
        rows += count;
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The metric was made without a loss.</exception>
    public override void Update(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        if (loss is null)
            throw new InvalidOperationException("MeanLoss: no loss was given to compute. Pass one to the constructor, or call Add with a loss computed already.");
        using var noGrad = new NoGrad();
        using var scope = new TensorScope();
        Add(loss(output, target).Item(), output.Rank == 0 ? 1 : output.Shape[0]);
    }
}
