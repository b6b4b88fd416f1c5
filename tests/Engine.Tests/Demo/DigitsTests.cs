using TransferEngine.Cli;

namespace TransferEngine.Engine.Tests.Demo;

public class DigitsTests
{
    [Fact]
    public void Optdigits_are_all_there()
    {
        var (images, labels) = OptDigits.Load();
        Assert.Equal(1797, labels.Length);
        Assert.Equal(1797 * 64, images.Length);
        Assert.All(images, ink => Assert.InRange(ink, 0, 1));
        Assert.Equal([178, 182, 177, 183, 181, 182, 181, 179, 174, 180], Enumerable.Range(0, 10).Select(digit => labels.Count(label => label == digit)));
    }

    [Fact]
    public void Drawn_digits_repeat_for_a_seed_and_differ_between_digits()
    {
        var (images, labels) = DrawnDigits.Draw(1000, 3);
        Assert.Equal(images, DrawnDigits.Draw(1000, 3).Images);
        Assert.NotEqual(images, DrawnDigits.Draw(1000, 4).Images);
        Assert.All(images, ink => Assert.InRange(ink, 0, 1));
        // Each digit's mean image is nearer to itself drawn anew than to any other's.
        var (others, otherLabels) = DrawnDigits.Draw(1000, 5);
        double[][] first = Means(images, labels), second = Means(others, otherLabels);
        for (int digit = 0; digit < 10; digit++)
            Assert.Equal(digit, Enumerable.Range(0, 10).MinBy(other => first[digit].Zip(second[other], (a, b) => (a - b) * (a - b)).Sum()));
    }

    private static double[][] Means(float[] images, int[] labels) => [.. Enumerable.Range(0, 10).Select(digit =>
    {
        int[] rows = [.. Enumerable.Range(0, labels.Length).Where(row => labels[row] == digit)];
        return Enumerable.Range(0, 64).Select(pixel => rows.Average(row => (double)images[row * 64 + pixel])).ToArray();
    })];
}
