namespace TransferEngine.Data.Transforms;

/// <summary>Resizes an image [C, H, W], antialiased where it shrinks, as torchvision's Resize of a Pillow image, which also rounds to bytes.</summary>
public sealed class Resize : ITransform
{
    private readonly int height, width;

    /// <summary>Keeps proportions.</summary>
    /// <param name="size">What the shorter side becomes; the longer one is rounded down.</param>
    /// <exception cref="ArgumentOutOfRangeException">The size is not positive.</exception>
    public Resize(int size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        height = size;
    }

    /// <summary>Takes a size whatever the proportions.</summary>
    /// <param name="height">The result's height.</param>
    /// <param name="width">The result's width.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    public Resize(int height, int width)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        (this.height, this.width) = (height, width);
    }

    /// <summary>How pixels are made of others; a bicubic result of values in 0 to 1 is kept in there.</summary>
    public Interpolation Interpolation { get; init; }

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        var (channels, fromHeight, fromWidth) = Transformed.Image("Resize", row);
        if (row.Elements == 0)
            throw new ShapeException($"Resize: {row} has no pixels to make others of.");
        return width > 0 ? [channels, height, width]
            : fromHeight <= fromWidth ? [channels, height, checked((int)((long)height * fromWidth / fromHeight))]
            : [channels, checked((int)((long)height * fromHeight / fromWidth)), height];
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        var made = Output(shape);
        Window(row, shape, 0, 0, shape[1], shape[2], made[1], made[2], result, Interpolation);
    }

    /// <summary>Resizes a window of an image.</summary>
    internal static void Window(ReadOnlySpan<float> row, Shape shape, int top, int left, int fromHeight, int fromWidth, int height, int width, Span<float> result, Interpolation interpolation)
    {
        int size = shape[1] * shape[2];
        for (int channel = 0; channel < shape[0]; channel++)
            Data.Image.ResizePlane(row[(channel * size + top * shape[2] + left)..], shape[2], 1, fromHeight, fromWidth, height, width, result.Slice(channel * height * width, height * width), interpolation);
    }
}
