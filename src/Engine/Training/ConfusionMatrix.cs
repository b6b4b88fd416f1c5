using System.Globalization;
using System.Text;

namespace TransferEngine.Training;

/// <summary>
/// Counts how often each class was taken for which: rows are labels, columns predictions. Accuracy and recall of each class follow from it;
/// <see cref="Value"/> is the balanced accuracy, which is fair to rare classes.
/// </summary>
public sealed class ConfusionMatrix : Metric
{
    private readonly long[] counts;

    /// <summary>A matrix of zeros.</summary>
    /// <param name="classes">The number of classes, 1 or more.</param>
    public ConfusionMatrix(int classes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        Classes = classes;
        counts = new long[checked(classes * classes)];
    }

    /// <summary>The number of classes.</summary>
    public int Classes { get; }

    /// <inheritdoc/>
    public override string Name => "balanced accuracy";

    /// <summary>The mean recall over the classes that occurred.</summary>
    public override double Value => BalancedAccuracy;

    /// <summary>The rows counted so far.</summary>
    public long Rows => counts.Sum();

    /// <summary>The part of the rows that were predicted right; NaN before the first.</summary>
    public double Accuracy => Ratio(Enumerable.Range(0, Classes).Sum(i => this[i, i]), Rows);

    /// <summary>The mean recall over the classes that occurred; NaN if none did.</summary>
    public double BalancedAccuracy => Enumerable.Range(0, Classes).Select(Recall).Where(value => !double.IsNaN(value)).DefaultIfEmpty(double.NaN).Average();

    /// <summary>How many rows of one label were predicted as some class.</summary>
    /// <param name="label">The label, from 0.</param>
    /// <param name="predicted">The prediction, from 0.</param>
    public long this[int label, int predicted]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(predicted);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(predicted, Classes);
            return Row(label)[predicted];
        }
    }

    /// <summary>The matrix of one batch.</summary>
    /// <param name="logits">[N, classes], floating.</param>
    /// <param name="labels">[N], Int32.</param>
    public static ConfusionMatrix Of(Tensor logits, Tensor labels)
    {
        ArgumentNullException.ThrowIfNull(logits);
        Check.Rank("ConfusionMatrix", "logits", logits, 2, "[N, classes]");
        var matrix = new ConfusionMatrix(logits.Shape[1]);
        matrix.Update(logits, labels);
        return matrix;
    }

    /// <summary>The part of a class's rows that were found: its diagonal count over its row. NaN if the class did not occur.</summary>
    /// <param name="label">The class, from 0.</param>
    public double Recall(int label) => Ratio(this[label, label], Sum(Row(label)));

    /// <summary>The part of what was predicted as a class that is of it: its diagonal count over its column. NaN if it was never predicted.</summary>
    /// <param name="predicted">The class, from 0.</param>
    public double Precision(int predicted) => Ratio(this[predicted, predicted], Enumerable.Range(0, Classes).Sum(label => this[label, predicted]));

    /// <summary>The recall of each class.</summary>
    public double[] Recalls() => [.. Enumerable.Range(0, Classes).Select(Recall)];

    /// <summary>The counts, [label, predicted].</summary>
    public long[,] ToArray()
    {
        var result = new long[Classes, Classes];
        Buffer.BlockCopy(counts, 0, result, 0, counts.Length * sizeof(long));
        return result;
    }

    /// <inheritdoc/>
    public override void Reset() => Array.Clear(counts);

    /// <summary>Adds a batch.</summary>
    /// <param name="output">Logits [N, classes], floating, of as many classes as the matrix.</param>
    /// <param name="target">Labels [N], Int32, from 0 to classes - 1.</param>
    /// <exception cref="ShapeException">The shapes do not fit, or a label is no class; nothing is counted then.</exception>
    public override void Update(Tensor output, Tensor target)
    {
        var (predicted, labels) = Predictions.Read("ConfusionMatrix", output, target);
        Check.That(output.Shape[1] == Classes, $"ConfusionMatrix: logits {output.Shape} are of {output.Shape[1]} classes, the matrix is of {Classes}.");
        foreach (int label in labels)
            Check.That(label >= 0 && label < Classes, $"ConfusionMatrix: label {label} is none of the {Classes} classes, 0 to {Classes - 1}. Leave such rows out.");
        for (int i = 0; i < labels.Length; i++)
            counts[labels[i] * Classes + predicted[i]]++;
    }

    /// <summary>The counts as lines, a label each.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        int width = counts.Max().ToString(CultureInfo.InvariantCulture).Length;
        for (int label = 0; label < Classes; label++)
            text.AppendJoin(' ', Row(label).ToArray().Select(count => count.ToString(CultureInfo.InvariantCulture).PadLeft(width))).Append('\n');
        return text.ToString();
    }

    private ReadOnlySpan<long> Row(int label)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(label);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(label, Classes);
        return counts.AsSpan(label * Classes, Classes);
    }

    private static long Sum(ReadOnlySpan<long> values)
    {
        long sum = 0;
        foreach (long value in values)
            sum += value;
        return sum;
    }

    private static double Ratio(long part, long whole) => whole == 0 ? double.NaN : (double)part / whole;
}
