using System.Globalization;
using System.IO.Compression;
using System.Text;
using TransferEngine.Serialization;

namespace TransferEngine.Tests.Serialization;

/// <summary>What torch.save wrote (make_checkpoints.py), in its two formats and two protocols, and pickles that want more than they may.</summary>
public sealed class CheckpointFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly Device device = Device.Open("cpu");

    public void Dispose()
    {
        device.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData("state.pt")]
    [InlineData("state.legacy.pth")]
    [InlineData("content.pt")]
    [InlineData("content.legacy.pth")]
    [InlineData("protocol4.pt")]
    public void Every_Type_And_Layout(string name)
    {
        var file = WeightFile.Load(Sample(name), device);
        string[] order = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "scalar", "empty", "transposed", "part", "tied", "again", "parameter"];
        Assert.Equal(order, file.Tensors.Keys);
        Holds<double>("float64", [3], [1, 2, 3]);
        Holds<float>("float32", [2, 3], [2, 3, 4, 5, 6, 7]);
        Holds<float>("float16", [5], [3, 4, 5, 6, 7]);
        Holds<float>("bfloat16", [4], [4, 5, 6, 7]);
        Holds("int64", [2], [-5, -4]);
        Holds("int32", [2], [6, 7]);
        Holds("int16", [2], [-7, -6]);
        Holds("int8", [2], [-8, -7]);
        Holds("uint8", [2], [249, 250]);
        Holds("bool", [2], [1, 0]);
        Holds<float>("scalar", [], [11]);
        Holds<float>("empty", [0, 3], []);
        Holds("transposed", [6, 4], Enumerable.Range(0, 24).Select(i => (float)(i % 4 * 6 + i / 4)).ToArray());
        Holds<float>("part", [2, 3], [6, 8, 10, 12, 14, 16]);
        Holds("tied", [4, 6], Enumerable.Range(0, 24).Select(i => (float)i).ToArray());
        Holds<float>("parameter", [2, 2], [13, 14, 15, 16]);
        Assert.Same(file.Tensors["tied"], file.Tensors["again"]);
        if (name.StartsWith("content", StringComparison.Ordinal))
            Assert.Equal(["arch=net", "best=0.5", "device=cpu", "epoch=7"], file.Metadata.Select(item => $"{item.Key}={item.Value}").Order());
        foreach (var tensor in file.Tensors.Values)
            tensor.Dispose();
        Assert.Equal(0, device.LiveBytes);

        void Holds<T>(string tensor, int[] shape, T[] values) where T : unmanaged
        {
            Assert.Equal(shape, file.Tensors[tensor].Shape);
            Assert.Equal(values, file.Tensors[tensor].ToArray<T>());
        }
    }

    [Fact]
    public void A_Key_Chooses_Among_Several()
    {
        string path = Sample("two.pt");
        Assert.Contains("'student', 'teacher'", Refused(path), StringComparison.Ordinal);
        Assert.Contains("'pupil'", Assert.Throws<DataFormatException>(() => PyTorchCheckpoint.Load(path, "pupil")).Message, StringComparison.Ordinal);
        using var scope = new TensorScope();
        Assert.Equal(17, PyTorchCheckpoint.Load(path, "teacher").Tensors.Count);
    }

    [Theory]
    [InlineData("model.pt")]
    [InlineData("model.legacy.pth")]
    public void A_Whole_Module_Is_Refused_By_Its_Name(string name) => Assert.Contains("'torch.nn.modules.linear.Linear'", Refused(Sample(name)), StringComparison.Ordinal);

    [Theory]
    [InlineData("cos\nsystem\n(X\u0002\0\0\0lstR.", "os.system")]
    [InlineData("cbuiltins\neval\n(X\u0002\0\0\0lstR.", "builtins.eval")]
    [InlineData("c__builtin__\ngetattr\n.", "__builtin__.getattr")]
    [InlineData("ctorch\nload\n.", "torch.load")]
    [InlineData("ctorch.hub\nload\n.", "torch.hub.load")]
    [InlineData("cnumpy.core.multiarray\n_reconstruct\n.", "numpy.core.multiarray._reconstruct")]
    [InlineData("(ctorch._utils\n_rebuild_tensor_v2\nti.", "0x69")]
    [InlineData("}(X\u0001\0\0\0au.", "a key has no value")]
    [InlineData("}X\u0001\0\0\0a.", "2 values")]
    [InlineData("X\u00ff\u00ff\0\0a.", "bytes are wanted")]
    [InlineData("h\u0007.", "value 7")]
    [InlineData("]b.", "a value is wanted")]
    [InlineData("ccollections\nOrderedDict\nK\u0001R.", "arguments")]
    [InlineData("X\u0001\0\0\0a.", "no dictionary at its top")]
    [InlineData("}.", "no dictionary of tensors")]
    [InlineData("X\u0001\0\0\0aQ.", "a storage has no type")]
    public void A_Pickle_That_Wants_More_Is_Refused(string pickle, string reason) => Assert.Contains(reason, Refused(Archive([0x80, 2, .. Encoding.Latin1.GetBytes(pickle)])), StringComparison.Ordinal);

    /// <summary>Views that lie about their storage, each of eight Float32.</summary>
    [Theory]
    [InlineData(8, 0, "8", "1", null)]
    [InlineData(8, 1, "8", "1", "does not lie in its storage")]
    [InlineData(8, 0, "2 1000000000", "0 0", "does not lie in its storage")]
    [InlineData(8, 0, "2 8", "1 1", "does not lie in its storage")]
    [InlineData(8, 0, "2147483647 2147483647 2147483647", "0 0 0", "elements")]
    [InlineData(8, -1, "2", "1", "does not lie in its storage")]
    [InlineData(8, 0, "2", "-1", "the stride -1")]
    [InlineData(8, 0, "-2", "1", "the size -2")]
    [InlineData(8, 0, "2 2", "1", "2 sizes and 1 strides")]
    [InlineData(9, 0, "8", "1", "'x/data/0' has 32 bytes, wanted 36")]
    [InlineData(400000000, 0, "8", "1", "wanted 1,600,000,000")]
    [InlineData(400000000, 0, "400000000", "1", "more than the")]
    [InlineData(2000000000, 0, "8", "1", "an array of .NET")]
    public void A_Tensor_Outside_Its_Storage_Is_Refused(int elements, int offset, string sizes, string strides, string? reason)
    {
        byte[] pickle =
        [
            0x80, 2, .. "}X\u0001\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\u0007\0\0\0storagectorch\nFloatStorage\nX\u0001\0\0\00X\u0003\0\0\0cpu"u8,
            .. Number(elements), .. "tQ"u8, .. Number(offset), .. Numbers(sizes), .. Numbers(strides), .. "N}tRs."u8,
        ];
        string path = Archive(pickle);
        if (reason is null)
        {
            using var scope = new TensorScope();
            Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], WeightFile.Load(path, device).Tensors["a"].ToArray<float>());
        }
        else
        {
            Assert.Contains(reason, Refused(path), StringComparison.Ordinal);
        }
        Assert.Equal(0, device.LiveBytes);

        static byte[] Number(int value) => [(byte)'J', .. BitConverter.GetBytes(value)];
        static byte[] Numbers(string values) => [(byte)'(', .. values.Split(' ').SelectMany(value => Number(int.Parse(value, CultureInfo.InvariantCulture))), (byte)'t'];
    }

    [Fact]
    public void A_Hail_Of_Values_Is_Refused_Within_Bounds()
    {
        byte[] hail = [0x80, 2, .. Enumerable.Repeat((byte)']', 6 << 20)];
        Assert.Contains("values", Refused(Archive(hail)), StringComparison.Ordinal);
    }

    [Fact]
    public void What_Is_No_Checkpoint_Says_So()
    {
        Assert.Contains("neither", Assert.Throws<DataFormatException>(() => PyTorchCheckpoint.Load(folder.Write("a.pt", [1, 2, 3]))).Message, StringComparison.Ordinal);
        Assert.Contains("data.pkl", Refused(Zip([("x/other", [1])])), StringComparison.Ordinal);
        Assert.Contains("byte order", Refused(Zip([("x/data.pkl", "}."u8.ToArray()), ("x/byteorder", "bigger"u8.ToArray())])), StringComparison.Ordinal);
    }

    private static string Sample(string name) => Path.Combine(AppContext.BaseDirectory, "Serialization", "Checkpoints", name);

    private string Refused(string path) => Assert.Throws<DataFormatException>(() => WeightFile.Load(path, device)).Message;

    private string Archive(byte[] pickle) => Zip([("x/data.pkl", pickle), ("x/data/0", [.. Enumerable.Range(0, 8).SelectMany(i => BitConverter.GetBytes((float)i))])]);

    private string Zip((string Name, byte[] Bytes)[] members)
    {
        using var memory = new MemoryStream();
        using (var zip = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, bytes) in members)
            {
                using var stream = zip.CreateEntry(name, CompressionLevel.NoCompression).Open();
                stream.Write(bytes);
            }
        }
        return folder.Write("a.pt", memory.ToArray());
    }
}
