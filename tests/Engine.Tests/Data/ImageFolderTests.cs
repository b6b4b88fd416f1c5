using System.Buffers.Binary;
using System.IO.Compression;
using FsCheck.Xunit;
using TransferEngine.Data;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;

namespace TransferEngine.Tests.Data;

public sealed class ImageFolderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>A 24-bit bitmap, whose lines go upwards and are padded to 4 bytes.</summary>
    private static byte[] Bmp(int width, int height, Func<int, int, (byte R, byte G, byte B)> pixel)
    {
        int line = (width * 3 + 3) / 4 * 4;
        var bytes = new byte[54 + line * height];
        "BM"u8.CopyTo(bytes);
        foreach (var (at, value) in new[] { (2, bytes.Length), (10, 54), (14, 40), (18, width), (22, height), (26, 1 | (24 << 16)), (34, line * height) })
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), value);
        for (int y = 0; y < height; y++)
        {
            for (int x = 0; x < width; x++)
                (bytes[54 + (height - 1 - y) * line + x * 3 + 2], bytes[54 + (height - 1 - y) * line + x * 3 + 1], bytes[54 + (height - 1 - y) * line + x * 3]) = pixel(x, y);
        }
        return bytes;
    }

    /// <summary>A grey PNG of 8 bits; checksums are 0, the decoder does not look.</summary>
    private static byte[] Png(int width, int height, byte[] pixels)
    {
        using var packed = new MemoryStream();
        using (var stream = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            for (int y = 0; y < height && pixels.Length > 0; y++)
                stream.Write([0, .. pixels.AsSpan(y * width, width)]);
        }
        return [0x89, .. "PNG\r\n"u8, 0x1A, 0x0A, .. Chunk("IHDR"u8, [.. Big(width), .. Big(height), 8, 0, 0, 0, 0]), .. Chunk("IDAT"u8, packed.ToArray()), .. Chunk("IEND"u8, [])];

        static byte[] Chunk(ReadOnlySpan<byte> name, byte[] data) => [.. Big(data.Length), .. name, .. data, 0, 0, 0, 0];

        static byte[] Big(int value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];
    }

    [Fact]
    public void Classes_And_Rows_Go_By_Name()
    {
        folder.Write("b/2.bmp", Bmp(2, 2, (x, y) => ((byte)(x * 255), (byte)(y * 255), 51)));
        folder.Write("b/deep/1.PNG", Png(2, 2, [0, 255, 102, 0]));
        folder.Write("a/x.bmp", Bmp(3, 1, (_, _) => (255, 0, 0)));
        folder.Write("a/readme.txt", [1]);
        Directory.CreateDirectory(folder.File("empty"));
        var data = new ImageFolder(folder.Path, new() { Height = 2, Width = 2 });
        Assert.Equal(["a", "b"], data.Classes);
        Assert.Equal([0, 1, 1], data.Labels);
        Assert.Equal(["x.bmp", "2.bmp", "1.PNG"], data.Paths.Select(Path.GetFileName));
        using var batch = data.Read([1, 0], Device.Cpu);
        Assert.Equal([2, 3, 2, 2], batch.Input.Shape);
        Assert.Equal([1, 0], batch.Target.ToArray<int>());
        Assert.Equal([0, 1, 0, 1, 0, 0, 1, 1, 0.2f, 0.2f, 0.2f, 0.2f], batch.Input.ToArray<float>()[..12]);
        using var grey = new ImageFolder(folder.Path, new() { Height = 2, Width = 2, Channels = 1 }).Read([2], Device.Cpu);
        Assert.Equal([0, 1, 0.4f, 0], grey.Input.ToArray<float>());
        Assert.Throws<ArgumentOutOfRangeException>(() => data.Read([3], Device.Cpu));
    }

    [Fact]
    public void Folders_Without_Images_Are_Named()
    {
        Assert.Throws<DataFormatException>(() => new ImageFolder(folder.Path));
        Assert.Throws<DirectoryNotFoundException>(() => new ImageFolder(folder.File("none")));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ImageFolder(folder.Path, new() { Channels = 2 }));
    }

    [Fact]
    public void Resizing_Is_Bilinear_And_Antialiased()
    {
        // By Pillow's definition: pixel centres at halves, a triangle as wide as the scale.
        Assert.Equal([0f, 0.25f, 0.75f, 1f], Resized([0, 255], 1, 2, 1, 4), Near);
        Assert.Equal([(3 * 0 + 3 * 1 + 1 * 0) / 7f, (1 * 1 + 3 * 0 + 3 * 1) / 7f], Resized([0, 255, 0, 255], 1, 4, 1, 2), Near);
        Assert.Equal(Resized([0, 255, 0, 255], 1, 4, 1, 2), Resized([0, 255, 0, 255], 4, 1, 2, 1));
        Assert.All(Resized([.. Enumerable.Repeat((byte)51, 77)], 7, 11, 3, 30), value => Assert.Equal(0.2f, value, 5));

        static bool Near(float a, float b) => Math.Abs(a - b) < 1e-6;

        static float[] Resized(byte[] pixels, int fromHeight, int fromWidth, int height, int width)
        {
            var result = new float[height * width];
            Image.Resize(pixels, 1, fromHeight, fromWidth, height, width, result);
            return result;
        }
    }

    [Fact]
    public void Corrupt_Images_Are_Named_Or_Skipped()
    {
        byte[] sound = Bmp(4, 4, (x, y) => ((byte)x, (byte)y, 0));
        folder.Write("a/1.bmp", sound);
        string truncated = folder.Write("a/2.png", Png(4, 4, [.. Enumerable.Range(0, 16).Select(i => (byte)i)])[..50]);
        folder.Write("a/3.jpg", [1, 2, 3]);
        folder.Write("b/4.png", []);
        folder.Write("b/5.bmp", sound);
        var strict = new ImageFolder(folder.Path, new() { Height = 2, Width = 2 });
        Assert.Equal(truncated, Assert.Throws<DataFormatException>(() => strict.Read([0, 1, 2], Device.Cpu)).File);
        var lenient = new ImageFolder(folder.Path, new() { Height = 2, Width = 2, Corrupt = CorruptImages.Skip });
        Assert.Equal(["1.bmp", "5.bmp"], lenient.Paths.Select(Path.GetFileName));
        Assert.Equal([0, 1], lenient.Labels);
        Assert.Equal(["2.png", "3.jpg", "4.png"], lenient.Skipped.Select(error => Path.GetFileName(error.File)));
    }

    [Fact]
    public void A_Lying_Header_Allocates_Nothing_Large()
    {
        byte[] bmp = Bmp(1, 1, (_, _) => (0, 0, 0));
        BinaryPrimitives.WriteInt32LittleEndian(bmp.AsSpan(18), 20_000);
        BinaryPrimitives.WriteInt32LittleEndian(bmp.AsSpan(22), 20_000);
        foreach (string path in new[] { folder.Write("a/1.bmp", bmp), folder.Write("a/2.png", Png(20_000, 20_000, [])), folder.Write("a/3.png", Png(8_000, 8_000, [])) })
        {
            var result = new float[3];
            long before = GC.GetAllocatedBytesForCurrentThread();
            var error = Assert.Throws<DataFormatException>(() => Image.Read(path, 3, 1, 1, 1 << 26, result));
            Assert.Contains("claims", error.Message, StringComparison.Ordinal);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        }
    }

    [Theory]
    [InlineData(1, 100_000)]
    [InlineData(100_000, 1)]
    public void A_Long_Thin_Image_Allocates_Nothing_Large(int width, int height)
    {
        string path = folder.Write("thin.png", Png(width, height, [.. Enumerable.Repeat((byte)51, width * height)]));
        var result = new float[3 * 224 * 224];
        long before = GC.GetAllocatedBytesForCurrentThread();
        Image.Read(path, 3, 224, 224, 1 << 26, result);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 24);
        Assert.All(result, value => Assert.Equal(0.2f, value, 4));
    }

    [Property(MaxTest = 200)]
    public void Damaged_Images_Are_Read_Or_Named(int seed)
    {
        var random = new Random(seed);
        byte[] bytes = seed % 2 == 0 ? Bmp(9, 7, (x, y) => ((byte)x, (byte)y, 9)) : Png(9, 7, [.. Enumerable.Range(0, 63).Select(i => (byte)i)]);
        for (int flips = random.Next(1, 6); flips > 0; flips--)
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        try
        {
            Image.Read(folder.Write("damaged", random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes), 3, 4, 4, 1 << 26, new float[48]);
        }
        catch (DataFormatException)
        {
        }
    }

    [SkippableFact]
    public void Damaged_Photographs_Are_Read_Or_Named()
    {
        byte[] whole = File.ReadAllBytes(Directory.GetFiles(RealFiles.Find("hymenoptera/val/bees"), "*.jpg").Order(StringComparer.Ordinal).First());
        var random = new Random(1);
        for (int i = 0; i < 60; i++)
        {
            byte[] bytes = [.. whole];
            for (int flips = random.Next(1, 6); flips > 0; flips--)
                bytes[random.Next(i % 2 == 0 ? 700 : bytes.Length)] = (byte)random.Next(256);
            try
            {
                Image.Read(folder.Write("damaged.jpg", bytes), 3, 4, 4, 1 << 26, new float[48]);
            }
            catch (DataFormatException)
            {
            }
        }
    }

    [SkippableFact]
    public void Ants_And_Bees()
    {
        string path = RealFiles.Find("hymenoptera/val");
        var data = new ImageFolder(path, new() { Height = 64, Width = 48 });
        Assert.Equal(["ants", "bees"], data.Classes);
        Assert.Equal([70, 83], data.Labels.CountBy(label => label).OrderBy(item => item.Key).Select(item => item.Value));
        using var batch = data.Read([0, 152, 5], Device.Cpu);
        using var again = data.Read([5], Device.Cpu);
        Assert.Equal([3, 3, 64, 48], batch.Input.Shape);
        Assert.Equal(batch.Input.ToArray<float>()[(2 * 3 * 64 * 48)..], again.Input.ToArray<float>());
        Assert.All(batch.Input.ToArray<float>(), value => Assert.InRange(value, 0f, 1f));
        Assert.InRange(batch.Input.Mean().Item(), 0.1, 0.9);
        byte[] whole = File.ReadAllBytes(data.Paths[0]);
        var error = Assert.Throws<DataFormatException>(() => Image.Read(folder.Write("cut.jpg", whole[..(whole.Length / 2)]), 3, 8, 8, 1 << 26, new float[192]));
        Assert.Contains("truncated", error.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void Mnist_And_A_Table_Become_Data_Sets()
    {
        var digits = TensorDataset.FromIdx(RealFiles.Find("mnist/t10k-images-idx3-ubyte.gz"), RealFiles.Find("mnist/t10k-labels-idx1-ubyte.gz"));
        Assert.Equal([10000, 1, 28, 28], digits.Inputs.Shape);
        Assert.Equal(1, digits.Inputs.Max().Item());
        using var batch = digits.Read([0, 1], Device.Cpu);
        Assert.Equal([7, 2], batch.Target.ToArray<int>());
        var table = TensorDataset.FromCsv(RealFiles.Find("optdigits/digits.csv.gz"));
        Assert.Equal([1797, 64], table.Inputs.Shape);
        Assert.Equal(10, table.Targets.ToArray<int>().Distinct().Count());
    }

    [Fact]
    public void Files_That_Do_Not_Fit_Each_Other_Are_Named()
    {
        string images = folder.Write("images", RoundTripTests.IdxBytes([2, 1, 2], [0, 255, 51, 0])), labels = folder.Write("labels", RoundTripTests.IdxBytes([2], [4, 9]));
        var data = TensorDataset.FromIdx(images, labels);
        Assert.Equal([0, 1, 0.2f, 0], data.Inputs.ToArray<float>());
        Assert.Equal([4, 9], data.Targets.ToArray<int>());
        Assert.Equal(labels, Assert.Throws<DataFormatException>(() => TensorDataset.FromIdx(labels, labels)).File);
        Assert.Equal(images, Assert.Throws<DataFormatException>(() => TensorDataset.FromIdx(images, images)).File);
        string table = folder.Write("t.csv", "1,0,2.5\n3,1,4"u8.ToArray());
        Assert.Equal([1, 2.5f, 3, 4], TensorDataset.FromCsv(table, 1).Inputs.ToArray<float>());
        Assert.Equal([0, 1], TensorDataset.FromCsv(table, -2).Targets.ToArray<int>());
        Assert.Throws<DataFormatException>(() => TensorDataset.FromCsv(table));
        Assert.Throws<DataFormatException>(() => TensorDataset.FromCsv(table, 3));
        Assert.Throws<DataFormatException>(() => TensorDataset.FromCsv(folder.Write("none.csv", [])));
    }
}
