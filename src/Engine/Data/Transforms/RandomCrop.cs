namespace TransferEngine.Data.Transforms;

/// <summary>Cuts a window of a fixed size out of an image [C, H, W] with zeros around it, at a place drawn uniformly.</summary>
public sealed class RandomCrop : ITransform
{
    private readonly int height, width, padding;

    /// <param name="height">The window's height.</param>
    /// <param name="width">The window's width.</param>
    /// <param name="padding">Zeros at each side of the image, such as 4 around the 32 x 32 of CIFAR.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive or the padding negative.</exception>
    public RandomCrop(int height, int width, int padding = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(height);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegative(padding);
        (this.height, this.width, this.padding) = (height, width, padding);
    }

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        var (channels, fromHeight, fromWidth) = Transformed.Image("RandomCrop", row);
        return height <= fromHeight + 2L * padding && width <= fromWidth + 2L * padding
            ? [channels, height, width]
            : throw new ShapeException($"RandomCrop: {height} x {width} is larger than {row} with {padding} around it. Pad more, or resize the image.");
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        int top = random.NextInteger(0, shape[1] + 2 * padding - height + 1) - padding, left = random.NextInteger(0, shape[2] + 2 * padding - width + 1) - padding;
        Cut(row, shape, result, height, width, top, left);
    }

    /// <summary>Copies the window that begins at a row and a column, which may lie outside: there are zeros.</summary>
    internal static void Cut(ReadOnlySpan<float> image, Shape shape, Span<float> result, int height, int width, int top, int left)
    {
        result.Clear();
        int first = Math.Max(0, -left), end = Math.Min(width, shape[2] - left);
        if (first >= end)
            return;
        for (int channel = 0; channel < shape[0]; channel++)
        {
            for (int y = Math.Max(0, -top); y < Math.Min(height, shape[1] - top); y++)
                image.Slice((channel * shape[1] + top + y) * shape[2] + left + first, end - first).CopyTo(result[((channel * height + y) * width + first)..]);
        }
    }
}

/// <summary>Moves an image [C, H, W] by whole pixels, drawn uniformly and independently for both directions; zeros come in at the sides.</summary>
public sealed class RandomShift : ITransform
{
    private readonly int most;

    /// <param name="most">The most pixels, in each direction.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative.</exception>
    public RandomShift(int most)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(most);
        this.most = most;
    }

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        Transformed.Image("RandomShift", row);
        return row;
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        RandomCrop.Cut(row, shape, result, shape[1], shape[2], random.NextInteger(-most, most + 1), random.NextInteger(-most, most + 1));
    }
}
