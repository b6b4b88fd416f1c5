using System.IO.Compression;
using TransferEngine.Serialization;

namespace TransferEngine.Cli;

/// <summary>The handwritten digits of UCI optdigits that the program carries (ATTRIBUTION.md): the demonstration's target domain.</summary>
internal static class OptDigits
{
    /// <summary>All 1,797 images of 8 x 8, with ink from 0 to 1, and their digits.</summary>
    public static (float[] Images, int[] Labels) Load()
    {
        using var resource = typeof(OptDigits).Assembly.GetManifestResourceStream("optdigits.csv.gz")!;
        using var text = new GZipStream(resource, CompressionMode.Decompress);
        var table = Csv.Read(text, "optdigits.csv.gz");
        var images = new float[table.Rows * 64];
        var labels = new int[table.Rows];
        for (int row = 0; row < table.Rows; row++)
        {
            for (int pixel = 0; pixel < 64; pixel++)
                images[row * 64 + pixel] = table.Values[row * 65 + pixel] / 16;
            labels[row] = (int)table.Values[row * 65 + 64];
        }
        return (images, labels);
    }
}
