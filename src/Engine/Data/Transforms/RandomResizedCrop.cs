namespace TransferEngine.Data.Transforms;

/// <summary>
/// Cuts a window of random area and proportions out of an image [C, H, W] and resizes it as <see cref="Resize"/> does: the augmentation of ImageNet
/// (Szegedy et al. 2015, section 6). Ten windows are tried; if none lies in the image, the largest central one of allowed proportions is taken.
/// </summary>
public sealed class RandomResizedCrop : ITransform
{
    private readonly int height, width;
    private readonly (double Low, double High) scale, ratio;

    /// <param name="size">The result's height and width.</param>
    /// <param name="scale">Bounds of the window's share of the image's area; 0.08 to 1 if null.</param>
    /// <param name="ratio">Bounds of its width over its height, drawn evenly in the logarithm; 3/4 to 4/3 if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The size is not positive, or bounds are not positive or in the wrong order.</exception>
    public RandomResizedCrop(int size, (double Low, double High)? scale = null, (double Low, double High)? ratio = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        (height, width) = (size, size);
        (this.scale, this.ratio) = (Bounds(nameof(scale), scale ?? (0.08, 1)), Bounds(nameof(ratio), ratio ?? (3 / 4.0, 4 / 3.0)));
    }

    /// <summary>How the window is resized.</summary>
    public Interpolation Interpolation { get; init; }

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        var (channels, fromHeight, fromWidth) = Transformed.Image("RandomResizedCrop", row);
        return fromHeight > 0 && fromWidth > 0 ? [channels, height, width] : throw new ShapeException($"RandomResizedCrop: {row} has no pixels to make others of.");
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        Output(shape);
        var (top, left, high, wide) = Window(shape[1], shape[2], random);
        Resize.Window(row, shape, top, left, high, wide, height, width, result, Interpolation);
    }

    /// <summary>Draws a window.</summary>
    internal (int Top, int Left, int Height, int Width) Window(int fromHeight, int fromWidth, Generator random)
    {
        double low = Math.Log(ratio.Low), high = Math.Log(ratio.High);
        for (int attempt = 0; attempt < 10; attempt++)
        {
            double area = (scale.Low + (scale.High - scale.Low) * random.NextDouble()) * fromHeight * fromWidth;
            double drawn = Math.Exp(low + (high - low) * random.NextDouble());
            double wide = Math.Round(Math.Sqrt(area * drawn)), tall = Math.Round(Math.Sqrt(area / drawn));
            if (wide >= 1 && wide <= fromWidth && tall >= 1 && tall <= fromHeight)
                return (random.NextInteger(0, fromHeight - (int)tall + 1), random.NextInteger(0, fromWidth - (int)wide + 1), (int)tall, (int)wide);
        }
        double whole = (double)fromWidth / fromHeight;
        int height = whole < ratio.Low ? Math.Clamp((int)Math.Round(fromWidth / ratio.Low), 1, fromHeight) : fromHeight;
        int width = whole > ratio.High ? Math.Clamp((int)Math.Round(fromHeight * ratio.High), 1, fromWidth) : fromWidth;
        return ((fromHeight - height) / 2, (fromWidth - width) / 2, height, width);
    }

    private static (double, double) Bounds(string name, (double Low, double High) bounds) => bounds.Low > 0 && bounds.High >= bounds.Low && double.IsFinite(bounds.High)
        ? bounds
        : throw new ArgumentOutOfRangeException(name, bounds, $"RandomResizedCrop: {name} is from a positive number to one not below it.");
}
