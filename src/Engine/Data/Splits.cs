namespace TransferEngine.Data;

/// <summary>Splits of rows by their classes, the same for the same seed.</summary>
public static class Splits
{
    /// <summary>Splits so that each class has the same share in both parts, to a row.</summary>
    /// <param name="labels">The class of each row.</param>
    /// <param name="fraction">The share of the first part, from 0 to 1.</param>
    /// <param name="seed">What the rows are drawn by.</param>
    /// <returns>The rows of both parts, ascending; of a class of n rows the first has round(n fraction), halves to the even number.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The fraction is out of range.</exception>
    public static (int[] First, int[] Second) Stratified(IReadOnlyList<int> labels, double fraction, ulong seed = 0)
    {
        if (fraction is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(fraction), fraction, "Splits.Stratified: a fraction is between 0 and 1.");
        return ByClass(labels, count => (int)Math.Round(count * fraction), seed);
    }

    /// <summary>Draws a few rows of each class: the labelled ones of a few-label task.</summary>
    /// <param name="labels">The class of each row.</param>
    /// <param name="perClass">Rows of each class.</param>
    /// <param name="seed">What the rows are drawn by.</param>
    /// <returns>The rows drawn and the others, ascending.</returns>
    /// <exception cref="ArgumentException">A class has too few rows.</exception>
    public static (int[] Drawn, int[] Others) PerClass(IReadOnlyList<int> labels, int perClass, ulong seed = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(perClass);
        return ByClass(labels, count => count >= perClass
            ? perClass
            : throw new ArgumentException($"Splits.PerClass: a class has {count} rows, wanted {perClass} of each. Draw fewer.", nameof(perClass)), seed);
    }

    private static (int[], int[]) ByClass(IReadOnlyList<int> labels, Func<int, int> share, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(labels);
        var generator = new Generator(seed);
        List<int> first = [], second = [];
        foreach (var rows in Enumerable.Range(0, labels.Count).GroupBy(row => labels[row]).OrderBy(group => group.Key).Select(group => group.ToArray()))
        {
            var order = generator.Permutation(rows.Length);
            int count = share(rows.Length);
            first.AddRange(order[..count].Select(i => rows[i]));
            second.AddRange(order[count..].Select(i => rows[i]));
        }
        return ([.. first.Order()], [.. second.Order()]);
    }
}
