namespace TransferEngine.Data.Transforms;

/// <summary>
/// Changes brightness, contrast, saturation and hue of an image [C, H, W] in 0 to 1, each by an amount drawn uniformly, in an order drawn as well; by
/// torchvision's definitions for tensors. Saturation and hue leave an image of one channel as it is.
/// </summary>
public sealed class ColorJitter : ITransform
{
    private readonly double brightness, contrast, saturation, hue;

    /// <param name="brightness">The factor is drawn from max(0, 1 - brightness) to 1 + brightness.</param>
    /// <param name="contrast">The factor, about the mean of the grey image, is drawn likewise.</param>
    /// <param name="saturation">The factor, about the grey image, is drawn likewise.</param>
    /// <param name="hue">The most turns of the colour circle, either way; from 0 to 0.5.</param>
    /// <exception cref="ArgumentOutOfRangeException">One is negative, or the hue above 0.5.</exception>
    public ColorJitter(double brightness = 0, double contrast = 0, double saturation = 0, double hue = 0)
    {
        Check(nameof(brightness), brightness, double.MaxValue);
        Check(nameof(contrast), contrast, double.MaxValue);
        Check(nameof(saturation), saturation, double.MaxValue);
        Check(nameof(hue), hue, 0.5);
        (this.brightness, this.contrast, this.saturation, this.hue) = (brightness, contrast, saturation, hue);
    }

    /// <inheritdoc/>
    public Shape Output(Shape row) => Transformed.Image("ColorJitter", row).Channels is 1 or 3
        ? row
        : throw new ShapeException($"ColorJitter: {row} has neither 1 channel, grey, nor 3, red, green and blue.");

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        Output(shape);
        row.CopyTo(result);
        foreach (int change in random.Permutation(4))
        {
            // Each draws whether it changes anything or not: amounts do not depend on which of them are 0.
            double drawn = random.NextDouble();
            switch (change)
            {
                case 0 when brightness > 0:
                    Color.Brightness(result, Factor(brightness, drawn));
                    break;
                case 1 when contrast > 0:
                    Color.Contrast(result, shape[0], Factor(contrast, drawn));
                    break;
                case 2 when saturation > 0 && shape[0] == 3:
                    Color.Saturation(result, Factor(saturation, drawn));
                    break;
                case 3 when hue > 0 && shape[0] == 3:
                    Color.Hue(result, (float)((2 * drawn - 1) * hue));
                    break;
            }
        }
    }

    private static float Factor(double amount, double drawn)
    {
        double low = Math.Max(0, 1 - amount);
        return (float)(low + (1 + amount - low) * drawn);
    }

    private static void Check(string name, double value, double most)
    {
        if (!(value >= 0 && value <= most))
            throw new ArgumentOutOfRangeException(name, value, $"ColorJitter: {name} is {(most < 1 ? "between 0 and 0.5" : "not negative")}.");
    }
}

/// <summary>Makes an image [3, H, W] grey: 0.2989 red + 0.587 green + 0.114 blue. A grey one stays as it is.</summary>
public sealed class Grayscale : ITransform
{
    private readonly int channels;

    /// <param name="outputChannels">1, or 3 alike.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is neither.</exception>
    public Grayscale(int outputChannels = 1) => channels = outputChannels is 1 or 3
        ? outputChannels
        : throw new ArgumentOutOfRangeException(nameof(outputChannels), outputChannels, "Grayscale: the result has 1 channel or 3.");

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        var (from, height, width) = Transformed.Image("Grayscale", row);
        return from is 1 or 3 ? [channels, height, width] : throw new ShapeException($"Grayscale: {row} has neither 1 channel nor 3.");
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        int size = shape[1] * shape[2];
        for (int i = 0; i < size; i++)
        {
            float grey = shape[0] == 1 ? row[i] : Color.Grey(row[i], row[size + i], row[2 * size + i]);
            for (int channel = 0; channel < channels; channel++)
                result[channel * size + i] = grey;
        }
    }
}
