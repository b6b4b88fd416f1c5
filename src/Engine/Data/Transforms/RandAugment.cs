using System.Buffers;

namespace TransferEngine.Data.Transforms;

/// <summary>The changes that <see cref="RandAugment"/> draws from, in torchvision's order.</summary>
internal enum Augmentation
{
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

/// <summary>
/// Changes an image [C, H, W] in 0 to 1 a few times, each time in one of 14 ways drawn uniformly, all by one magnitude: Cubuk et al. 2020, with
/// torchvision's ways, magnitudes and defaults. Ways that have two directions, such as a rotation, take either alike.
/// </summary>
/// <remarks>
/// The ways, and what they reach at the greatest magnitude: nothing; shear by 0.3 and translation by 150/331 of the side, both in x and in y; rotation by
/// 30 degrees; brightness, colour, contrast and sharpness changed by 0.9; posterising to 4 bits; solarising from 0; stretching the contrast; equalising the
/// histogram. Moved pixels are the nearest ones. Posterising and equalising take values for the nearest of 256 levels, which decoded images have; the others
/// don't round to them, as torchvision does between the ways: a single way differs from torchvision's of a Pillow image by 2 levels at the most.
/// </remarks>
public sealed class RandAugment : ITransform
{
    private readonly int numOps, magnitude, numMagnitudeBins;
    private readonly float[] fill;

    /// <param name="numOps">How many changes follow each other.</param>
    /// <param name="magnitude">How strong they are, from 0 to <paramref name="numMagnitudeBins"/> - 1.</param>
    /// <param name="numMagnitudeBins">How many magnitudes there are.</param>
    /// <param name="fill">What comes in at the sides of moved images: a value a channel, or one for all; 0 if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative, there are fewer than two magnitudes, or the one given is none of them.</exception>
    /// <exception cref="ArgumentException">The fill is empty.</exception>
    public RandAugment(int numOps = 2, int magnitude = 9, int numMagnitudeBins = 31, IReadOnlyList<float>? fill = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(numOps);
        ArgumentOutOfRangeException.ThrowIfLessThan(numMagnitudeBins, 2);
        if ((uint)magnitude >= (uint)numMagnitudeBins)
            throw new ArgumentOutOfRangeException(nameof(magnitude), magnitude, $"RandAugment: a magnitude is one of {numMagnitudeBins}, 0 to {numMagnitudeBins - 1}.");
        (this.numOps, this.magnitude, this.numMagnitudeBins, this.fill) = (numOps, magnitude, numMagnitudeBins, [.. fill ?? [0]]);
        if (this.fill.Length == 0)
            throw new ArgumentException("RandAugment: the fill is empty. Give a value a channel, one for all, or null for 0.", nameof(fill));
    }

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        int channels = Transformed.Image("RandAugment", row).Channels;
        if (channels is not (1 or 3))
            throw new ShapeException($"RandAugment: {row} has neither 1 channel, grey, nor 3, red, green and blue.");
        return fill.Length == 1 || fill.Length == channels ? row : throw new ShapeException($"RandAugment: {row} has {channels} channels, the fill {fill.Length}. Give one for each, or one for all.");
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        Output(shape);
        row.CopyTo(result);
        result = result[..row.Length];
        float[] held = ArrayPool<float>.Shared.Rent(row.Length);
        for (int i = 0; i < numOps; i++)
        {
            // Each draws a direction whether it has two or not: what comes next does not depend on it.
            var change = (Augmentation)random.NextInteger(0, (int)Augmentation.Equalize + 1);
            int sign = 1 - 2 * random.NextInteger(0, 2);
            Change(change, change < Augmentation.Posterize ? sign * Level(change, shape) : Level(change, shape), result, shape, held);
        }
        ArrayPool<float>.Shared.Return(held);
    }

    /// <summary>How much of a change the magnitude is, in its own unit: a slope, pixels, degrees, a difference of factors from 1, bits, a level of 256.</summary>
    internal double Level(Augmentation change, Shape shape)
    {
        double share = magnitude / (numMagnitudeBins - 1.0);
        return change switch
        {
            Augmentation.ShearX or Augmentation.ShearY => 0.3 * share,
            // Whole pixels; through a float, so that a product that is whole but for rounding stays whole.
            Augmentation.TranslateX => Math.Truncate((float)(150.0 / 331 * shape[2] * share)),
            Augmentation.TranslateY => Math.Truncate((float)(150.0 / 331 * shape[1] * share)),
            Augmentation.Rotate => 30 * share,
            Augmentation.Brightness or Augmentation.Color or Augmentation.Contrast or Augmentation.Sharpness => 0.9 * share,
            Augmentation.Posterize => 8 - Math.Round(4 * share),
            Augmentation.Solarize => 255 * (1 - share),
            _ => 0,
        };
    }

    /// <summary>Changes an image in place; <paramref name="held"/> has room for another.</summary>
    internal void Change(Augmentation change, double level, Span<float> image, Shape shape, Span<float> held)
    {
        int channels = shape[0];
        float factor = (float)(1 + level);
        switch (change)
        {
            case Augmentation.ShearX:
                Move(Affine.Shear(level, 0), image, held);
                break;
            case Augmentation.ShearY:
                Move(Affine.Shear(0, level), image, held);
                break;
            case Augmentation.TranslateX:
                Move(Affine.Translation((int)level, 0), image, held);
                break;
            case Augmentation.TranslateY:
                Move(Affine.Translation(0, (int)level), image, held);
                break;
            case Augmentation.Rotate:
                Move(Affine.Rotation(level, shape[1], shape[2]), image, held);
                break;
            case Augmentation.Brightness:
                Color.Brightness(image, factor);
                break;
            case Augmentation.Color when channels == 3:
                Color.Saturation(image, factor);
                break;
            case Augmentation.Contrast:
                Color.Contrast(image, channels, factor);
                break;
            case Augmentation.Sharpness:
                image.CopyTo(held);
                Color.Sharpness(held[..image.Length], shape, factor, image);
                break;
            case Augmentation.Posterize:
                Color.Posterize(image, (int)level);
                break;
            case Augmentation.Solarize:
                Color.Solarize(image, (float)level / 255);
                break;
            case Augmentation.AutoContrast:
                Color.AutoContrast(image, channels);
                break;
            case Augmentation.Equalize:
                Color.Equalize(image, channels);
                break;
        }

        void Move(Affine from, Span<float> image, Span<float> held)
        {
            image.CopyTo(held);
            Span<float> sides = stackalloc float[channels];
            for (int channel = 0; channel < channels; channel++)
                sides[channel] = fill[fill.Length == 1 ? 0 : channel];
            from.Nearest(held[..image.Length], shape, sides, image);
        }
    }
}
