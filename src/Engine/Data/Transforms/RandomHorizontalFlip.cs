namespace TransferEngine.Data.Transforms;

/// <summary>Mirrors an image [C, H, W] left to right, or leaves it.</summary>
public sealed class RandomHorizontalFlip : ITransform
{
    private readonly double probability;

    /// <param name="probability">Of mirroring, from 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The probability is out of range.</exception>
    public RandomHorizontalFlip(double probability = 0.5) => this.probability = probability is >= 0 and <= 1
        ? probability
        : throw new ArgumentOutOfRangeException(nameof(probability), probability, "RandomHorizontalFlip: a probability is between 0 and 1.");

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        Transformed.Image("RandomHorizontalFlip", row);
        return row;
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        row.CopyTo(result);
        int width = shape[2];
        if (width == 0 || random.NextDouble() >= probability)
            return;
        for (int start = 0; start < result.Length; start += width)
            result.Slice(start, width).Reverse();
    }
}
