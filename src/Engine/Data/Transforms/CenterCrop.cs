namespace TransferEngine.Data.Transforms;

/// <summary>Cuts the middle out of an image [C, H, W]; an image that is too small gets zeros around it.</summary>
public sealed class CenterCrop : ITransform
{
    private readonly int height, width;

    /// <param name="size">The window's height and width.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public CenterCrop(int size) : this(size, size)
    {
    }

    /// <param name="height">The window's height.</param>
    /// <param name="width">The window's width.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    public CenterCrop(int height, int width)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        (this.height, this.width) = (height, width);
    }

    /// <inheritdoc/>
    public Shape Output(Shape row) => [Transformed.Image("CenterCrop", row).Channels, height, width];

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        Output(shape);
        RandomCrop.Cut(row, shape, result, height, width, Start(shape[1], height), Start(shape[2], width));
    }

    /// <summary>Halves go to the even number, as in torchvision; of an odd number of lines that lack, the larger half comes after.</summary>
    private static int Start(int from, int to) => from < to ? -((to - from) / 2) : (int)Math.Round((from - to) / 2.0);
}
