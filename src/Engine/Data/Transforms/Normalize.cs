namespace TransferEngine.Data.Transforms;

/// <summary>Takes a mean from each channel and divides by a standard deviation: (x - mean[c]) / std[c].</summary>
public sealed class Normalize : ITransform
{
    private readonly float[] mean, std;

    /// <param name="mean">A mean a channel.</param>
    /// <param name="std">A standard deviation a channel, none of them 0.</param>
    /// <exception cref="ArgumentException">They differ in number, or a deviation is not positive.</exception>
    public Normalize(IReadOnlyList<float> mean, IReadOnlyList<float> std)
    {
        ArgumentNullException.ThrowIfNull(mean);
        ArgumentNullException.ThrowIfNull(std);
        (this.mean, this.std) = ([.. mean], [.. std]);
        if (this.mean.Length != this.std.Length || Array.Exists(this.std, value => !(value > 0)))
            throw new ArgumentException($"Normalize: {this.mean.Length} means and {this.std.Length} deviations; wanted as many, and each deviation above 0.", nameof(std));
    }

    /// <summary>What models trained on ImageNet want of images in 0 to 1: means 0.485, 0.456, 0.406, deviations 0.229, 0.224, 0.225.</summary>
    public static Normalize ImageNet { get; } = new([0.485f, 0.456f, 0.406f], [0.229f, 0.224f, 0.225f]);

    /// <inheritdoc/>
    public Shape Output(Shape row) => row.Rank > 0 && row[0] == mean.Length
        ? row
        : throw new ShapeException($"Normalize: a row of shape {row} has not the {mean.Length} channels on its first axis that there are means for.");

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        int size = row.Length / Math.Max(mean.Length, 1);
        for (int i = 0; i < row.Length; i++)
            result[i] = (row[i] - mean[i / size]) / std[i / size];
    }
}
