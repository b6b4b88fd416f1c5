namespace TransferEngine.Data.Transforms;

/// <summary>Where the pixel at (x, y) of a result comes from: (XX x + XY y + X, YX x + YY y + Y), in pixels whose centres lie at halves.</summary>
internal readonly record struct Affine(double XX, double XY, double X, double YX, double YY, double Y)
{
    public static Affine Shear(double x, double y) => new(1, x, 0, y, 1, 0);

    /// <summary>Moves to the right and down.</summary>
    public static Affine Translation(int x, int y) => new(1, 0, -x, 0, 1, -y);

    /// <summary>Turns counterclockwise about the middle, rows going down.</summary>
    public static Affine Rotation(double degrees, int height, int width)
    {
        var (sine, cosine) = Math.SinCos(degrees * Math.PI / 180);
        double x = width / 2.0, y = height / 2.0;
        return new(cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y);
    }

    /// <summary>Takes the nearest pixel for each of the result, the fill of its channel outside.</summary>
    public void Nearest(ReadOnlySpan<float> image, Shape shape, ReadOnlySpan<float> fill, Span<float> result)
    {
        int height = shape[1], width = shape[2], size = height * width;
        for (int y = 0; y < height; y++)
        {
            double left = XY * (y + 0.5) + X, top = YY * (y + 0.5) + Y;
            for (int x = 0; x < width; x++)
            {
                double fromX = Math.Floor(XX * (x + 0.5) + left), fromY = Math.Floor(YX * (x + 0.5) + top);
                bool inside = fromX >= 0 && fromX < width && fromY >= 0 && fromY < height;
                int from = inside ? (int)fromY * width + (int)fromX : 0;
                for (int channel = 0; channel < shape[0]; channel++)
                    result[channel * size + y * width + x] = inside ? image[channel * size + from] : fill[channel];
            }
        }
    }
}
