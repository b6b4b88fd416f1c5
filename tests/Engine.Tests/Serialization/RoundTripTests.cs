using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using TransferEngine.Serialization;

namespace TransferEngine.Tests.Serialization;

public sealed class RoundTripTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static Tensor[] Samples() =>
    [
        Tensor.From<float>([], [0]), Tensor.From<float>([], [3, 0, 2]), Tensor.Scalar(2.5f), Tensor.From([float.NaN, float.PositiveInfinity, -0f, float.Epsilon]),
        Tensor.Scalar(1e300), Tensor.From([1.0, Math.PI], [2, 1]), Tensor.Scalar(-7), Tensor.From([int.MinValue, int.MaxValue, 0], [1, 3]),
        Tensor.Arange(0, 300_000).Reshape(300, 1000), Tensor.Arange(0, 6).Reshape(2, 3).Transpose(0, 1),
    ];

    private static byte[] Bytes(Tensor tensor) => tensor.ElementType switch
    {
        ElementType.Float32 => MemoryMarshal.AsBytes(tensor.ToArray<float>().AsSpan()).ToArray(),
        ElementType.Float64 => MemoryMarshal.AsBytes(tensor.ToArray<double>().AsSpan()).ToArray(),
        ElementType.Float16 => MemoryMarshal.AsBytes(tensor.ToArray<Half>().AsSpan()).ToArray(),
        ElementType.BFloat16 => MemoryMarshal.AsBytes(tensor.ToArray<BFloat16>().AsSpan()).ToArray(),
        _ => MemoryMarshal.AsBytes(tensor.ToArray<int>().AsSpan()).ToArray(),
    };

    private static void Same(Tensor wanted, Tensor got)
    {
        Assert.Equal(wanted.Shape, got.Shape);
        Assert.Equal(wanted.ElementType, got.ElementType);
        Assert.Equal(Bytes(wanted), Bytes(got));
    }

    [Fact]
    public void Safetensors_Keep_Bits_Names_And_Texts()
    {
        var tensors = Samples().Select((tensor, i) => (Name: $"layer.{i}.größe \"q\"", tensor)).ToDictionary(item => item.Name, item => item.tensor);
        string path = folder.File("a.safetensors");
        Safetensors.Save(path, tensors, new Dictionary<string, string> { ["über"] = "a\n\"b\"", [""] = "" });
        var file = Safetensors.Load(path);
        Assert.Equal(tensors.Keys.Order(), file.Tensors.Keys.Order());
        foreach (var (name, tensor) in tensors)
            Same(tensor, file.Tensors[name]);
        Assert.Equal("a\n\"b\"", file.Metadata["über"]);
        Assert.Equal(2, file.Metadata.Count);
        Safetensors.Save(path, new Dictionary<string, Tensor>());
        Assert.Empty(Safetensors.Load(path).Tensors);
        Assert.Equal(["a.safetensors"], Directory.GetFiles(folder.Path).Select(Path.GetFileName));
        Assert.Throws<ArgumentException>(() => Safetensors.Save(path, new Dictionary<string, Tensor> { ["__metadata__"] = Tensor.Scalar(1f) }));
        Assert.Empty(Safetensors.Load(path).Tensors);
    }

    [Fact]
    public void Elements_Of_16_Bits_Are_Kept_Where_Asked()
    {
        var tensors = new Dictionary<string, Tensor>
        {
            ["half"] = Tensor.From([0.1f, float.NaN, 1e9f], [3]).To(ElementType.Float16),
            ["brief"] = Tensor.From([0.1f, -2, 1e9f], [3, 1]).To(ElementType.BFloat16),
            ["wide"] = Tensor.Scalar(2.0),
            ["single"] = Tensor.Scalar(3f),
        };
        string path = folder.File("narrow.safetensors");
        Safetensors.Save(path, tensors);
        var kept = Safetensors.Load(path, keepHalf: true).Tensors;
        var widened = Safetensors.Load(path).Tensors;
        foreach (var (name, tensor) in tensors)
        {
            Same(tensor, kept[name]);
            Same(name == "wide" ? tensor : tensor.To(ElementType.Float32), widened[name]);
        }
        Npy.Save(folder.File("half.npy"), tensors["half"]);
        Same(tensors["half"], Npy.Load(folder.File("half.npy"), keepHalf: true));
        Same(tensors["half"].To(ElementType.Float32), Npy.Load(folder.File("half.npy")));
        Assert.Throws<ElementTypeException>(() => Npy.Save(folder.File("brief.npy"), tensors["brief"]));
        Assert.False(File.Exists(folder.File("brief.npy")));
    }

    [Theory]
    [InlineData("F16", "003c00c0", new[] { 1.0, -2 })]
    [InlineData("BF16", "803f00c0", new[] { 1.0, -2 })]
    [InlineData("I64", "0500000000000000ffffffffffffffff", new[] { 5.0, -1 })]
    [InlineData("I16", "0500ffff", new[] { 5.0, -1 })]
    [InlineData("I8", "05ff", new[] { 5.0, -1 })]
    [InlineData("U8", "05ff", new[] { 5.0, 255 })]
    [InlineData("BOOL", "0100", new[] { 1.0, 0 })]
    public void Safetensors_Of_Other_Types_Are_Widened(string type, string data, double[] wanted)
    {
        byte[] values = Convert.FromHexString(data);
        string header = $"{{\"x\":{{\"dtype\":\"{type}\",\"shape\":[2],\"data_offsets\":[0,{values.Length}]}}}}";
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        var file = Safetensors.Load(folder.Write("b.safetensors", [.. length, .. Encoding.UTF8.GetBytes(header), .. values]));
        Assert.Equal(wanted, Numbers(file.Tensors["x"]));
    }

    [Fact]
    public void Npy_Keeps_Bits_Also_In_Archives()
    {
        var samples = Samples();
        using (var zip = ZipFile.Open(folder.File("all.npz"), ZipArchiveMode.Create))
        {
            for (int i = 0; i < samples.Length; i++)
            {
                string path = folder.File($"{i}.npy");
                Npy.Save(path, samples[i]);
                Assert.Equal(0, (10 + BinaryPrimitives.ReadUInt16LittleEndian(File.ReadAllBytes(path).AsSpan(8))) % 64);
                Same(samples[i], Npy.Load(path));
                zip.CreateEntryFromFile(path, $"{i}.npy", i % 2 == 0 ? CompressionLevel.NoCompression : CompressionLevel.Fastest);
            }
        }
        var arrays = Npy.LoadArchive(folder.File("all.npz"));
        for (int i = 0; i < samples.Length; i++)
            Same(samples[i], arrays[$"{i}"]);
        using (var file = File.OpenRead(folder.File("8.npy")))
        using (var zipped = new GZipStream(File.Create(folder.File("8.npy.gz")), CompressionLevel.Fastest))
            file.CopyTo(zipped);
        Same(samples[8], Npy.Load(folder.File("8.npy.gz")));
    }

    [Theory]
    [InlineData("<f2", "003c00c0", new[] { 1.0, -2 })]
    [InlineData("<i8", "0500000000000000ffffffffffffffff", new[] { 5.0, -1 })]
    [InlineData("<i2", "0500ffff", new[] { 5.0, -1 })]
    [InlineData("<u2", "0500ffff", new[] { 5.0, 65535 })]
    [InlineData("|i1", "05ff", new[] { 5.0, -1 })]
    [InlineData("|u1", "05ff", new[] { 5.0, 255 })]
    [InlineData("|b1", "0100", new[] { 1.0, 0 })]
    public void Npy_Of_Other_Types_Is_Widened(string type, string data, double[] wanted)
    {
        foreach (byte version in (byte[])[1, 2, 3])
        {
            string path = folder.Write("c.npy", NpyBytes(version, $"{{'descr': '{type}', 'fortran_order': False, 'shape': (2,), }}", Convert.FromHexString(data)));
            Assert.Equal(wanted, Numbers(Npy.Load(path)));
        }
    }

    [Theory]
    [InlineData("(2, 3)", new[] { 2, 3 }, new[] { 0, 2, 4, 1, 3, 5 })]
    [InlineData("(1, 6)", new[] { 1, 6 }, new[] { 0, 1, 2, 3, 4, 5 })]
    [InlineData("(6,)", new[] { 6 }, new[] { 0, 1, 2, 3, 4, 5 })]
    [InlineData("(3, 1, 2)", new[] { 3, 1, 2 }, new[] { 0, 3, 1, 4, 2, 5 })]
    public void Npy_In_Fortran_Order_Is_Put_In_Order(string sizes, int[] shape, int[] wanted)
    {
        byte[] data = MemoryMarshal.AsBytes<int>([0, 1, 2, 3, 4, 5]).ToArray();
        using var tensor = Npy.Load(folder.Write("d.npy", NpyBytes(1, $"{{'shape': {sizes}, 'fortran_order': True, 'descr': '<i4'}}", data)));
        Assert.Equal(shape, tensor.Shape);
        Assert.Equal(wanted, tensor.ToArray<int>());
    }

    [Fact]
    public void An_Integer_That_Does_Not_Fit_Is_Named()
    {
        byte[] data = BitConverter.GetBytes(1L << 40);
        var error = Assert.Throws<DataFormatException>(() => Npy.Load(folder.Write("e.npy", NpyBytes(1, "{'descr': '<i8', 'fortran_order': False, 'shape': ()}", data))));
        Assert.Contains((1L << 40).ToString(), error.Message, StringComparison.Ordinal);
        Assert.EndsWith("e.npy", error.File, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new[] { 0 })]
    [InlineData(new int[0])]
    [InlineData(new[] { 2, 3, 4 })]
    public void Idx_Gives_Sizes_And_Bytes(int[] sizes)
    {
        Shape shape = sizes;
        byte[] values = [.. Enumerable.Range(0, shape.Elements).Select(i => (byte)(i * 11))];
        var (gotShape, gotValues) = Idx.Load(folder.Write("f", IdxBytes(sizes, values)));
        Assert.Equal(shape, gotShape);
        Assert.Equal(values, gotValues);
    }

    [Theory]
    [InlineData("1,2\n3,4\n", ',')]
    [InlineData("\uFEFF1;2\r\n\r\n3;4", ';')]
    [InlineData(" \"1\"\t2.0 \r3e0\t+4\n\n", '\t')]
    public void Csv_Takes_Line_Ends_Quotes_And_Marks_As_They_Come(string text, char separator)
    {
        var table = Csv.Load(folder.Write("g.csv", Encoding.UTF8.GetBytes(text)), separator);
        Assert.Equal((2, 2), (table.Rows, table.Columns));
        Assert.Equal([1, 2, 3, 4], table.Values);
    }

    [Fact]
    public void Csv_Names_Columns_And_Mistakes()
    {
        var table = Csv.Load(folder.Write("h.csv", "a,\"b, \"\"c\"\"\"\n1,2\n"u8.ToArray()), hasHeader: true);
        Assert.Equal(["a", "b, \"c\""], table.Names);
        Assert.Equal((1, 2), (table.Rows, table.Columns));
        Assert.Equal((0, 0), (Csv.Load(folder.Write("i.csv", [])).Rows, Csv.Load(folder.File("i.csv")).Columns));
        Assert.Contains("line 2, column 1: 'x'", Assert.Throws<DataFormatException>(() => Csv.Load(folder.Write("j.csv", "1,2\nx,2"u8.ToArray()))).Message, StringComparison.Ordinal);
        Assert.Contains("line 3 has 1 columns, wanted 2", Assert.Throws<DataFormatException>(() => Csv.Load(folder.Write("k.csv", "1,2\n\n3"u8.ToArray()))).Message, StringComparison.Ordinal);
        Assert.Throws<DataFormatException>(() => Csv.Load(folder.Write("l.csv", "1,2\n3,4,5"u8.ToArray())));
        Assert.Throws<DataFormatException>(() => Csv.Load(folder.Write("m.csv", "1,2\n3,4"u8.ToArray()), limit: 6));
        Assert.Throws<ArgumentException>(() => Csv.Load(folder.File("m.csv"), '5'));
    }

    private static double[] Numbers(Tensor tensor) => tensor.ElementType == ElementType.Float32
        ? Array.ConvertAll(tensor.ToArray<float>(), value => (double)value)
        : Array.ConvertAll(tensor.ToArray<int>(), value => (double)value);

    internal static byte[] IdxBytes(int[] sizes, byte[] values) =>
        [0, 0, 8, (byte)sizes.Length, .. sizes.SelectMany(size => new[] { (byte)(size >> 24), (byte)(size >> 16), (byte)(size >> 8), (byte)size }), .. values];

    internal static byte[] NpyBytes(byte version, string header, byte[] data) =>
        [0x93, .. "NUMPY"u8, version, 0, .. version == 1 ? BitConverter.GetBytes((ushort)header.Length) : BitConverter.GetBytes(header.Length), .. Encoding.ASCII.GetBytes(header), .. data];
}
