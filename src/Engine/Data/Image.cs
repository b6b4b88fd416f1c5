using System.Buffers;
using System.Numerics;
using StbImageSharp;
using TransferEngine.Serialization;

namespace TransferEngine.Data;

/// <summary>Decodes JPEG, PNG and BMP and resizes what it decoded. Files are checked before anything of their claimed size is allocated.</summary>
internal static class Image
{
    // A JPEG block of 64 pixels takes a bit at the least, and deflate packs 1,032 bytes of eight 1-bit pixels into one: a file that claims more pixels
    // a byte than this lies.
    private const long MostPixelsPerByte = 10_000;

    /// <summary>Reads one image into <paramref name="result"/>, [channels, height, width] in 0 to 1.</summary>
    /// <exception cref="DataFormatException">The file is no image, is damaged, or claims too many pixels.</exception>
    public static void Read(string path, int channels, int height, int width, long pixelLimit, Span<float> result)
    {
        var image = Decode(path, channels, pixelLimit);
        Resize(image.Data, channels, image.Height, image.Width, height, width, result);
    }

    /// <summary>Reads one image at its own size: [channels, height, width] in 0 to 1, in an array that is at least as long.</summary>
    /// <param name="path">The file.</param>
    /// <param name="channels">1 or 3.</param>
    /// <param name="pixelLimit">The most pixels that its header may claim.</param>
    /// <param name="shape">The image's.</param>
    /// <returns>An array of the shared pool, for the caller to return.</returns>
    /// <exception cref="DataFormatException">The file is no image, is damaged, or claims too many pixels.</exception>
    public static float[] Rent(string path, int channels, long pixelLimit, out Shape shape)
    {
        var image = Decode(path, channels, pixelLimit);
        int size = image.Height * image.Width;
        shape = [channels, image.Height, image.Width];
        float[] values = ArrayPool<float>.Shared.Rent(shape.Elements);
        for (int channel = 0; channel < channels; channel++)
        {
            var plane = values.AsSpan(channel * size, size);
            for (int i = 0; i < plane.Length; i++)
                plane[i] = image.Data[i * channels + channel] / 255f;
        }
        return values;
    }

    /// <summary>Throws what <see cref="Read"/> would, and keeps nothing.</summary>
    public static void Check(string path, int channels, long pixelLimit) => Decode(path, channels, pixelLimit);

    private static ImageResult Decode(string path, int channels, long pixelLimit)
    {
        byte[] bytes = FileBytes.Read(path, FileBytes.DefaultLimit);
        bool jpeg = bytes.AsSpan().StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]);
        if (!jpeg && !bytes.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'P', (byte)'N', (byte)'G']) && !bytes.AsSpan().StartsWith("BM"u8))
            throw new DataFormatException(path, "it is no JPEG, PNG or BMP.");
        try
        {
            using var stream = new MemoryStream(bytes, writable: false);
            var info = ImageInfo.FromStream(stream) ?? throw new DataFormatException(path, "its header can't be read.");
            long pixels = (long)info.Width * info.Height, most = Math.Min(pixelLimit, bytes.Length * MostPixelsPerByte);
            if (info.Width <= 0 || info.Height <= 0 || pixels > most)
                throw new DataFormatException(path, $"its header claims {info.Width} x {info.Height} pixels; from 1 to {most:N0} pixels are read of a file of {bytes.Length:N0} bytes.");
            // The decoder fills up what a truncated JPEG lacks; a photograph with a grey half is no input.
            if (jpeg && !EndsAsJpeg(bytes))
                throw new DataFormatException(path, "the JPEG is truncated: its end is not marked.");
            var image = ImageResult.FromMemory(bytes, channels == 1 ? ColorComponents.Grey : ColorComponents.RedGreenBlue);
            return image.Width == info.Width && image.Height == info.Height && image.Data.Length == pixels * channels
                ? image
                : throw new DataFormatException(path, $"its header claims {info.Width} x {info.Height} pixels, {image.Width} x {image.Height} were decoded.");
        }
        catch (Exception e) when (e is not (DataFormatException or OutOfMemoryException))
        {
            // The decoder throws whatever its bounds checks meet.
            throw new DataFormatException(path, $"the image is damaged: {e.Message}", e);
        }
    }

    /// <summary>Whether the end mark follows the first scan; marks in a thumbnail, which lies in a segment before it, don't count.</summary>
    private static bool EndsAsJpeg(ReadOnlySpan<byte> bytes)
    {
        for (int at = 2; at + 4 <= bytes.Length && bytes[at] == 0xFF;)
        {
            if (bytes[at + 1] == 0xFF)
            {
                at++;
                continue;
            }
            if (bytes[at + 1] == 0xDA)
                return bytes[at..].IndexOf((ReadOnlySpan<byte>)[0xFF, 0xD9]) >= 0;
            at += 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
        }
        // Segments that can't be followed are the decoder's to judge.
        return true;
    }

    /// <summary>Resizes [height, width, channels] bytes to [channels, height, width] in 0 to 1.</summary>
    internal static void Resize(ReadOnlySpan<byte> pixels, int channels, int fromHeight, int fromWidth, int height, int width, Span<float> result)
    {
        result = result[..(channels * height * width)];
        for (int channel = 0; channel < channels; channel++)
            ResizePlane(pixels[channel..], fromWidth * channels, channels, fromHeight, fromWidth, height, width, result.Slice(channel * height * width, height * width));
        // Weights add up to 1 but for rounding.
        foreach (ref float value in result)
            value = Math.Min(value / 255, 1);
    }

    /// <summary>
    /// Resizes one channel, antialiased where it shrinks, since the filter widens with the scale, as in Pillow's and torchvision's resize. A cubic one
    /// overshoots: values are cut to 0 to 1 after each direction, as Pillow cuts to bytes. Lines lie <paramref name="line"/> values apart, pixels <paramref name="step"/>.
    /// </summary>
    internal static void ResizePlane<T>(ReadOnlySpan<T> pixels, int line, int step, int fromHeight, int fromWidth, int height, int width, Span<float> result, Interpolation interpolation = Interpolation.Bilinear)
        where T : unmanaged, INumber<T>
    {
        bool overshoots = interpolation == Interpolation.Bicubic;
        var across = new Taps(fromWidth, width, interpolation);
        var down = new Taps(fromHeight, height, interpolation);
        // One line at a time: narrowed lines of a whole image, of one a pixel wide and millions high, would take many times its size.
        float[] rented = ArrayPool<float>.Shared.Rent(width);
        var narrowed = rented.AsSpan(0, width);
        result.Clear();
        for (int y = 0, low = 0; y < fromHeight; y++)
        {
            while (low < height && down.First[low] + down.Of(low).Length <= y)
                low++;
            var row = pixels.Slice(y * line, (fromWidth - 1) * step + 1);
            for (int x = 0; x < width; x++)
            {
                int first = across.First[x] * step;
                float sum = 0;
                var weights = across.Of(x);
                for (int i = 0; i < weights.Length; i++)
                    sum += weights[i] * float.CreateTruncating(row[first + i * step]);
                narrowed[x] = overshoots ? Math.Clamp(sum, 0, 1) : sum;
            }
            for (int place = low; place < height && down.First[place] <= y; place++)
            {
                var target = result.Slice(place * width, width);
                float weight = down.Of(place)[y - down.First[place]];
                for (int x = 0; x < target.Length; x++)
                    target[x] += weight * narrowed[x];
            }
        }
        ArrayPool<float>.Shared.Return(rented);
        if (!overshoots)
            return;
        foreach (ref float value in result)
            value = Math.Clamp(value, 0, 1);
    }

    /// <summary>For each place of the result, the first place that it is made of and the weights of that and the next ones.</summary>
    private readonly struct Taps
    {
        private readonly float[] weights;
        private readonly int[] counts;
        private readonly int most;

        public Taps(int from, int to, Interpolation interpolation)
        {
            bool cubic = interpolation == Interpolation.Bicubic;
            double scale = (double)from / to, unit = Math.Max(scale, 1), reach = cubic ? 2 * unit : unit;
            most = (int)Math.Ceiling(2 * reach) + 2;
            (First, counts, weights) = (new int[to], new int[to], new float[to * most]);
            for (int place = 0; place < to; place++)
            {
                double centre = (place + 0.5) * scale, sum = 0;
                int low = Math.Max(0, (int)(centre - reach + 0.5)), high = Math.Min(from, (int)(centre + reach + 0.5));
                for (int i = low; i < high; i++)
                    sum += Weight(i);
                for (int i = low; i < high; i++)
                    weights[place * most + i - low] = (float)(Weight(i) / sum);
                (First[place], counts[place]) = (low, high - low);

                double Weight(int i) => cubic ? Cubic((i + 0.5 - centre) / unit) : Triangle((i + 0.5 - centre) / unit);
            }
        }

        public int[] First { get; }

        public ReadOnlySpan<float> Of(int place) => weights.AsSpan(place * most, counts[place]);

        /// <summary>Keys 1981 with a = -1/2, Pillow's.</summary>
        private static double Cubic(double x)
        {
            x = Math.Abs(x);
            return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
        }

        private static double Triangle(double x) => Math.Max(0, 1 - Math.Abs(x));
    }
}
