namespace TransferEngine.Data.Transforms;

/// <summary>Turns an image [C, H, W] about its centre by an angle drawn uniformly; bilinear between pixels, zeros outside.</summary>
public sealed class RandomRotation : ITransform
{
    private readonly double degrees;

    /// <param name="degrees">The most, to both sides; from 0 to 180.</param>
    /// <exception cref="ArgumentOutOfRangeException">The angle is out of range.</exception>
    public RandomRotation(double degrees) => this.degrees = degrees is >= 0 and <= 180
        ? degrees
        : throw new ArgumentOutOfRangeException(nameof(degrees), degrees, "RandomRotation: an angle is between 0 and 180 degrees.");

    /// <inheritdoc/>
    public Shape Output(Shape row)
    {
        Transformed.Image("RandomRotation", row);
        return row;
    }

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        double angle = (2 * random.NextDouble() - 1) * degrees * Math.PI / 180;
        Turn(row, shape, result, (float)Math.Cos(angle), (float)Math.Sin(angle));
    }

    /// <summary>Counterclockwise as the image is looked at, rows going down.</summary>
    internal static void Turn(ReadOnlySpan<float> row, Shape shape, Span<float> result, float cosine, float sine)
    {
        int height = shape[1], width = shape[2], size = height * width;
        float middleY = (height - 1) / 2f, middleX = (width - 1) / 2f;
        for (int y = 0; y < height; y++)
        {
            for (int x = 0; x < width; x++)
            {
                float fromX = middleX + cosine * (x - middleX) - sine * (y - middleY), fromY = middleY + sine * (x - middleX) + cosine * (y - middleY);
                int left = (int)MathF.Floor(fromX), top = (int)MathF.Floor(fromY);
                float right = fromX - left, down = fromY - top;
                for (int start = 0; start < row.Length; start += size)
                {
                    var plane = row.Slice(start, size);
                    result[start + y * width + x] = (1 - down) * ((1 - right) * At(plane, top, left) + right * At(plane, top, left + 1))
                        + down * ((1 - right) * At(plane, top + 1, left) + right * At(plane, top + 1, left + 1));
                }
            }
        }

        float At(ReadOnlySpan<float> plane, int y, int x) => (uint)y < (uint)height && (uint)x < (uint)width ? plane[y * width + x] : 0;
    }
}
