namespace TransferEngine.Training;

/// <summary>Reads what a classifier answered: the class of each row of logits, and the labels beside it.</summary>
internal static class Predictions
{
    /// <summary>The class of the greatest logit of each row; the first of equal ones, and NaN counts as greatest, as in PyTorch.</summary>
    public static int[] Classes(Tensor logits)
    {
        int rows = logits.Shape[0], classes = logits.Shape[1];
        var result = new int[rows];
        if (logits.ElementType == ElementType.Float64)
            Classes(logits.ToArray<double>(), classes, result);
        else
            Classes(logits.ToArray<float>(), classes, result);
        return result;
    }

    /// <summary>The predicted classes and the labels, checked.</summary>
    public static (int[] Predicted, int[] Labels) Read(string operation, Tensor logits, Tensor labels)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(labels);
        Check.Floating(operation, logits);
        Check.Rank(operation, "logits", logits, 2, "[N, classes]");
        Check.Integer(operation, "labels", labels);
        Check.Rank(operation, "labels", labels, 1, "[N]");
        Check.That(logits.Shape[0] == labels.Shape[0], $"{operation}: logits {logits.Shape} and labels {labels.Shape} have different numbers of rows. Pass those of one batch.");
        Check.That(logits.Shape[0] == 0 || logits.Shape[1] > 0, $"{operation}: logits {logits.Shape} have no class.");
        return (Classes(logits), labels.ToArray<int>());
    }

    private static void Classes<T>(T[] logits, int classes, int[] result) where T : unmanaged, System.Numerics.IFloatingPointIeee754<T>
    {
        for (int row = 0; row < result.Length; row++)
        {
            var values = logits.AsSpan(row * classes, classes);
            int best = 0;
            for (int i = 1; i < classes && !T.IsNaN(values[best]); i++)
            {
                if (values[i] > values[best] || T.IsNaN(values[i]))
                    best = i;
            }
            result[row] = best;
        }
    }
}
