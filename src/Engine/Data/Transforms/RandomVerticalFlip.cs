namespace TransferEngine.Data.Transforms;

/// <summary>Turns an image [C, H, W] upside down, or leaves it.</summary>
public sealed class RandomVerticalFlip : ITransform
{
    private readonly double probability;

    /// <param name="probability">Of turning, from 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The probability is out of range.</exception>
    public RandomVerticalFlip(double probability = 0.5) => this.probability = probability is >= 0 and <= 1
        ? probability
        : throw new ArgumentOutOfRangeException(nameof(probability), probability, "RandomVerticalFlip: a probability is between 0 and 1.");

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        Transformed.Image("RandomVerticalFlip", row);
        return row;
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        int height = shape[1], width = shape[2];
        bool turned = random.NextDouble() < probability;
        for (int line = 0; line < shape[0] * height; line++)
        {
            int from = turned ? line / height * height + height - 1 - line % height : line;
            row.Slice(from * width, width).CopyTo(result[(line * width)..]);
        }
    }
}
