namespace TransferEngine.Cli;

/// <summary>
/// Draws digits: the demonstration's source domain. Each is a few strokes in one of several styles, whose points are moved, slanted, turned and scaled at
/// random, drawn with a pen of random width on 32 x 32 pixels, averaged to 8 x 8, and spoilt by blur and noise.
/// </summary>
internal static class DrawnDigits
{
    private const int Fine = 32, Coarse = 8;

    /// <summary>The styles of each digit; a style is its strokes, a stroke its points in a unit square, x to the right and y down.</summary>
    private static readonly (double X, double Y)[][][][] Styles =
    [
        [[Arc(0.5, 0.5, 0.36, 0.48, -90, 270)], [Arc(0.5, 0.5, 0.28, 0.48, -90, 270)], [Arc(0.5, 0.5, 0.40, 0.45, -60, 290)]],
        [[[(0.5, 0.0), (0.5, 1.0)]], [[(0.25, 0.22), (0.55, 0.0), (0.55, 1.0)]], [[(0.25, 0.22), (0.55, 0.0), (0.55, 1.0)], [(0.25, 1.0), (0.82, 1.0)]], [[(0.42, 0.1), (0.52, 0.0), (0.5, 1.0)], [(0.3, 1.0), (0.72, 1.0)]]],
        [[[.. Arc(0.5, 0.27, 0.36, 0.27, -170, 50), (0.1, 1.0), (0.92, 1.0)]], [[.. Arc(0.48, 0.25, 0.32, 0.25, -160, 60), (0.3, 0.75), (0.1, 0.95), (0.35, 0.9), (0.6, 1.0), (0.9, 0.92)]], [[(0.1, 0.08), (0.6, 0.02), .. Arc(0.5, 0.3, 0.35, 0.28, -50, 50), (0.12, 0.98), (0.9, 0.98)]]],
        [[[.. Arc(0.45, 0.25, 0.38, 0.25, -150, 80), .. Arc(0.45, 0.74, 0.42, 0.26, -80, 150)]], [[(0.12, 0.02), (0.82, 0.02), (0.42, 0.4), .. Arc(0.45, 0.7, 0.4, 0.3, -80, 150)]], [[.. Arc(0.4, 0.24, 0.36, 0.24, -130, 85), (0.4, 0.48)], [(0.42, 0.48), .. Arc(0.42, 0.74, 0.42, 0.26, -85, 140)]]],
        [[[(0.62, 0.0), (0.08, 0.66), (0.95, 0.66)], [(0.68, 0.35), (0.66, 1.0)]], [[(0.2, 0.0), (0.12, 0.52), (0.85, 0.52)], [(0.8, 0.02), (0.76, 1.0)]], [[(0.7, 1.0), (0.7, 0.0), (0.08, 0.68), (0.95, 0.68)]], [[(0.3, 0.0), (0.1, 0.45), (0.5, 0.58), (0.85, 0.45)], [(0.82, 0.1), (0.6, 1.0)]]],
        [[[(0.85, 0.0), (0.25, 0.0), (0.2, 0.42), .. Arc(0.45, 0.68, 0.4, 0.31, -110, 145)]], [[(0.3, 0.02), (0.22, 0.45), .. Arc(0.44, 0.7, 0.4, 0.29, -90, 140)], [(0.3, 0.02), (0.9, 0.02)]], [[(0.8, 0.05), (0.35, 0.05), (0.3, 0.45), (0.6, 0.45), .. Arc(0.45, 0.72, 0.36, 0.27, -60, 130)]]],
        [[[(0.7, 0.0), (0.4, 0.2), (0.18, 0.55), .. Arc(0.5, 0.73, 0.35, 0.26, 180, -180)]], [[(0.5, 0.0), (0.2, 0.4), (0.12, 0.7), .. Arc(0.45, 0.75, 0.33, 0.24, 190, -170)]], [[.. Arc(0.55, 0.45, 0.42, 0.45, -60, -190), .. Arc(0.48, 0.74, 0.34, 0.25, 180, -170)]]],
        [[[(0.08, 0.02), (0.92, 0.02), (0.4, 1.0)]], [[(0.1, 0.05), (0.88, 0.03), (0.6, 0.45), (0.45, 1.0)], [(0.25, 0.5), (0.85, 0.5)]], [[(0.12, 0.2), (0.12, 0.04), (0.88, 0.02), (0.5, 0.55), (0.42, 1.0)]]],
        [[Arc(0.5, 0.25, 0.3, 0.25, 90, 450), Arc(0.5, 0.74, 0.36, 0.26, -90, 270)], [[(0.8, 0.12), .. Arc(0.5, 0.24, 0.32, 0.24, -30, -200), (0.5, 0.5), .. Arc(0.5, 0.75, 0.34, 0.25, -20, 200), (0.5, 0.5), (0.8, 0.12)]], [Arc(0.5, 0.22, 0.24, 0.22, 90, 450), Arc(0.5, 0.72, 0.3, 0.28, -90, 270)]],
        [[Arc(0.48, 0.27, 0.34, 0.26, 0, 360), [(0.83, 0.2), (0.8, 0.6), (0.6, 1.0)]], [[.. Arc(0.48, 0.28, 0.34, 0.27, 10, 350), (0.84, 0.25), .. Arc(0.45, 0.62, 0.4, 0.38, 0, 120)]], [Arc(0.45, 0.25, 0.3, 0.24, -20, 340), [(0.76, 0.1), (0.74, 1.0)]]],
    ];

    /// <summary>Draws images, 8 x 8 with ink from 0 to 1, of the digits 0 to 9 in turn; the same for the same seed.</summary>
    public static (float[] Images, int[] Labels) Draw(int count, int seed)
    {
        var random = new Random(seed);
        var images = new float[count * Coarse * Coarse];
        var labels = new int[count];
        for (int i = 0; i < count; i++)
        {
            labels[i] = i % 10;
            var styles = Styles[labels[i]];
            Draw(styles[random.Next(styles.Length)], random, images.AsSpan(i * Coarse * Coarse, Coarse * Coarse));
        }
        return (images, labels);
    }

    private static void Draw((double X, double Y)[][] strokes, Random random, Span<float> image)
    {
        double slant = 0.2 * Normal(random), turn = 0.1 * Normal(random), pen = 1.0 + 1.6 * random.NextDouble(), narrow = 0.6 + 0.4 * random.NextDouble();
        double cos = Math.Cos(turn), sin = Math.Sin(turn);
        var drawn = new (double X, double Y)[strokes.Length][];
        double left = double.MaxValue, right = double.MinValue, top = double.MaxValue, bottom = double.MinValue;
        for (int s = 0; s < strokes.Length; s++)
        {
            // A slow wobble along the stroke rather than noise at each point, which a hand would not draw.
            double phase = random.NextDouble() * Math.Tau, wobble = 0.04 * Normal(random), shiftX = 0.02 * Normal(random), shiftY = 0.02 * Normal(random);
            drawn[s] = [.. strokes[s].Select((point, k) =>
            {
                double along = k / (double)Math.Max(1, strokes[s].Length - 1) * 4 + phase;
                double x = (point.X - 0.5) * narrow + shiftX + wobble * Math.Sin(along), y = point.Y - 0.5 + shiftY + wobble * Math.Cos(1.3 * along);
                x -= slant * y;
                return (x * cos - y * sin, x * sin + y * cos);
            })];
            foreach (var (x, y) in drawn[s])
                (left, right, top, bottom) = (Math.Min(left, x), Math.Max(right, x), Math.Min(top, y), Math.Max(bottom, y));
        }
        // In the middle of the box with a margin, as a program draws that knows nothing of how the target was cropped: scanned digits fill theirs.
        double scale = (Fine - 2 - pen) * (0.68 + 0.1 * random.NextDouble()) / Math.Max(bottom - top, right - left);
        double centreX = Fine / 2.0 + Normal(random) - scale * (left + right) / 2, centreY = Fine / 2.0 + Normal(random) - scale * (top + bottom) / 2;
        Span<float> fine = stackalloc float[Fine * Fine];
        fine.Clear();
        foreach (var stroke in drawn)
        {
            for (int k = 0; k + 1 < stroke.Length; k++)
                Line(fine, stroke[k].X * scale + centreX, stroke[k].Y * scale + centreY, stroke[k + 1].X * scale + centreX, stroke[k + 1].Y * scale + centreY, pen);
        }
        Average(fine, image);
        double blur = 0.15 * random.NextDouble(), noise = 0.1 * random.NextDouble();
        Spoil(image, (float)blur, noise, random);
    }

    /// <summary>Inks the pixels within half the pen's width of a segment, with a soft edge of a pixel.</summary>
    private static void Line(Span<float> fine, double x0, double y0, double x1, double y1, double pen)
    {
        double dx = x1 - x0, dy = y1 - y0, length = Math.Max(dx * dx + dy * dy, 1e-9), reach = pen + 1;
        int firstX = (int)Math.Max(0, Math.Min(x0, x1) - reach), lastX = (int)Math.Min(Fine - 1, Math.Max(x0, x1) + reach);
        int firstY = (int)Math.Max(0, Math.Min(y0, y1) - reach), lastY = (int)Math.Min(Fine - 1, Math.Max(y0, y1) + reach);
        for (int y = firstY; y <= lastY; y++)
        {
            for (int x = firstX; x <= lastX; x++)
            {
                double px = x + 0.5 - x0, py = y + 0.5 - y0, t = Math.Clamp((px * dx + py * dy) / length, 0, 1);
                double distance = Math.Sqrt((px - t * dx) * (px - t * dx) + (py - t * dy) * (py - t * dy));
                fine[y * Fine + x] = Math.Max(fine[y * Fine + x], (float)Math.Clamp(pen - distance + 0.5, 0, 1));
            }
        }
    }

    private static void Average(ReadOnlySpan<float> fine, Span<float> image)
    {
        const int Block = Fine / Coarse;
        for (int y = 0; y < Fine; y++)
        {
            for (int x = 0; x < Fine; x++)
                image[y / Block * Coarse + x / Block] += fine[y * Fine + x] / (Block * Block);
        }
    }

    /// <summary>Mixes each pixel with its neighbours and adds noise, within 0 and 1.</summary>
    private static void Spoil(Span<float> image, float blur, double noise, Random random)
    {
        Span<float> source = stackalloc float[Coarse * Coarse];
        image.CopyTo(source);
        for (int y = 0; y < Coarse; y++)
        {
            for (int x = 0; x < Coarse; x++)
            {
                float around = 0;
                around += y > 0 ? source[(y - 1) * Coarse + x] : 0;
                around += y < Coarse - 1 ? source[(y + 1) * Coarse + x] : 0;
                around += x > 0 ? source[y * Coarse + x - 1] : 0;
                around += x < Coarse - 1 ? source[y * Coarse + x + 1] : 0;
                image[y * Coarse + x] = Math.Clamp((1 - 4 * blur) * source[y * Coarse + x] + blur * around + (float)(noise * Normal(random)), 0, 1);
            }
        }
    }

    /// <summary>Points on an ellipse, from one angle to another in degrees, 0 to the right and 90 down.</summary>
    private static (double X, double Y)[] Arc(double x, double y, double radiusX, double radiusY, double from, double to)
    {
        int steps = Math.Max(6, (int)(Math.Abs(to - from) / 18));
        return [.. Enumerable.Range(0, steps + 1).Select(i => (from + (to - from) * i / steps) * Math.PI / 180).Select(angle => (x + radiusX * Math.Cos(angle), y + radiusY * Math.Sin(angle)))];
    }

    private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(Math.Tau * random.NextDouble());
}
