namespace TransferEngine.Data.Transforms;

/// <summary>Changes of colour, in place, of images [C, H, W] in 0 to 1.</summary>
internal static class Color
{
    public static float Grey(float red, float green, float blue) => 0.2989f * red + 0.587f * green + 0.114f * blue;

    public static void Brightness(Span<float> image, float factor)
    {
        foreach (ref float value in image)
            value = Math.Clamp(value * factor, 0, 1);
    }

    public static void Contrast(Span<float> image, int channels, float factor)
    {
        int size = image.Length / channels;
        double sum = 0;
        for (int i = 0; i < size; i++)
            sum += channels == 1 ? image[i] : Grey(image[i], image[size + i], image[2 * size + i]);
        float mean = (float)(sum / Math.Max(size, 1));
        foreach (ref float value in image)
            value = Blend(value, mean, factor);
    }

    public static void Saturation(Span<float> image, float factor)
    {
        int size = image.Length / 3;
        for (int i = 0; i < size; i++)
        {
            float grey = Grey(image[i], image[size + i], image[2 * size + i]);
            for (int at = i; at < image.Length; at += size)
                image[at] = Blend(image[at], grey, factor);
        }
    }

    /// <summary>Turns the colour circle of hue, saturation and value.</summary>
    public static void Hue(Span<float> image, float turns)
    {
        int size = image.Length / 3;
        for (int i = 0; i < size; i++)
        {
            float red = image[i], green = image[size + i], blue = image[2 * size + i];
            float high = Math.Max(red, Math.Max(green, blue)), spread = high - Math.Min(red, Math.Min(green, blue));
            if (spread <= 0)
                continue;
            float sixth = high == red ? (green - blue) / spread : high == green ? 2 + (blue - red) / spread : 4 + (red - green) / spread;
            float place = sixth + 6 * turns + 12;
            (image[i], image[size + i], image[2 * size + i]) = (Channel(5), Channel(3), Channel(1));

            float Channel(int offset)
            {
                float k = (place + offset) % 6;
                return high - spread * Math.Clamp(Math.Min(k, 4 - k), 0, 1);
            }
        }
    }

    /// <summary>Keeps the highest bits of 8.</summary>
    public static void Posterize(Span<float> image, int bits)
    {
        int mask = 0xFF & -(1 << (8 - bits));
        foreach (ref float value in image)
            value = (Level(value) & mask) / 255f;
    }

    /// <summary>Inverts what is not below a threshold.</summary>
    public static void Solarize(Span<float> image, float threshold)
    {
        foreach (ref float value in image)
            value = value >= threshold ? 1 - value : value;
    }

    /// <summary>Stretches each channel so that it goes from 0 to 1; one of a single value stays.</summary>
    public static void AutoContrast(Span<float> image, int channels)
    {
        for (int size = image.Length / channels, start = 0; start < image.Length; start += size)
        {
            var plane = image.Slice(start, size);
            float low = float.PositiveInfinity, high = float.NegativeInfinity;
            foreach (float value in plane)
                (low, high) = (Math.Min(low, value), Math.Max(high, value));
            if (low == high)
                continue;
            foreach (ref float value in plane)
                value = Math.Clamp((value - low) / (high - low), 0, 1);
        }
    }

    /// <summary>Spreads the 256 levels of each channel such that all are about equally frequent, as Pillow does; one of too few pixels or levels stays.</summary>
    public static void Equalize(Span<float> image, int channels)
    {
        Span<int> counts = stackalloc int[256];
        for (int size = image.Length / channels, start = 0; start < image.Length; start += size)
        {
            var plane = image.Slice(start, size);
            counts.Clear();
            int highest = 0;
            foreach (float value in plane)
            {
                counts[Level(value)]++;
                highest = Math.Max(highest, Level(value));
            }
            int step = (size - counts[highest]) / 255;
            if (step == 0)
                continue;
            // Each level becomes the share of pixels below it.
            for (int level = 0, below = step / 2; level < 256; level++)
                (counts[level], below) = (Math.Min(below / step, 255), below + counts[level]);
            foreach (ref float value in plane)
                value = counts[Level(value)] / 255f;
        }
    }

    /// <summary>Goes away from, or below 1 towards, the means of 3 x 3 pixels of which the middle one weighs 5; the pixels at the border stay.</summary>
    public static void Sharpness(ReadOnlySpan<float> image, Shape shape, float factor, Span<float> result)
    {
        image.CopyTo(result);
        int height = shape[1], width = shape[2];
        for (int channel = 0; channel < shape[0]; channel++)
        {
            for (int y = 1; y < height - 1; y++)
            {
                for (int at = (channel * height + y) * width + 1, end = at + width - 2; at < end; at++)
                {
                    float around = Line(image, at - width) + Line(image, at) + Line(image, at + width);
                    result[at] = Blend(image[at], (around + 4 * image[at]) / 13, factor);
                }
            }
        }

        static float Line(ReadOnlySpan<float> image, int at) => image[at - 1] + image[at] + image[at + 1];
    }

    /// <summary>The nearest of the 256 levels of a byte.</summary>
    private static int Level(float value) => (int)MathF.Round(Math.Clamp(value, 0, 1) * 255);

    private static float Blend(float value, float other, float factor) => Math.Clamp(factor * value + (1 - factor) * other, 0, 1);
}
