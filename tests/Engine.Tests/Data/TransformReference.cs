using System.IO.Compression;
using System.Text.Json;
using TransferEngine.Data.Transforms;

namespace TransferEngine.Tests.Data;

/// <summary>Stored results of Pillow and torchvision, and transforms applied for comparison with them.</summary>
internal static class TransformReference
{
    public static JsonElement Read(string name)
    {
        using var stream = new GZipStream(File.OpenRead(Path.Combine(AppContext.BaseDirectory, "Data", name)), CompressionMode.Decompress);
        return JsonDocument.Parse(stream).RootElement;
    }

    public static float[] Numbers(JsonElement values) => [.. values.EnumerateArray().Select(value => value.GetSingle())];

    /// <summary>Levels of bytes as an image in 0 to 1.</summary>
    public static float[] Levels(JsonElement values) => Array.ConvertAll(Numbers(values), value => value / 255);

    /// <summary>Applies a transform; places of the result that it leaves out are NaN.</summary>
    public static float[] Apply(ITransform transform, float[] row, Shape shape, ulong seed = 0)
    {
        var result = new float[transform.Output(shape).Elements];
        Array.Fill(result, float.NaN);
        transform.Apply(row, shape, result, new Generator(seed));
        return result;
    }

    public static void Near(float[] wanted, float[] given, double tolerance)
    {
        Assert.Equal(wanted.Length, given.Length);
        for (int i = 0; i < wanted.Length; i++)
            Assert.Equal(wanted[i], given[i], tolerance);
    }
}
