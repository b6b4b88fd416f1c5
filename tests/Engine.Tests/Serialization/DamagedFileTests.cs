using System.Diagnostics;
using System.IO.Compression;
using System.Text;
using FsCheck.Xunit;
using TransferEngine.Serialization;

namespace TransferEngine.Tests.Serialization;

/// <summary>Whatever the bytes: a valid read or a <see cref="DataFormatException"/>, within a second, and memory in proportion to the file.</summary>
public sealed class DamagedFileTests : IDisposable
{
    private const long Limit = 4 << 20;

    private readonly TemporaryFolder folder = new();
    private readonly Device device = Device.Open("cpu");

    public void Dispose()
    {
        device.Dispose();
        folder.Dispose();
    }

    private static readonly string[] Names = ["a.safetensors", "a.npy", "a.npz", "a.idx", "a.csv", "a.csv.gz", "a.npy.gz", "state.pt", "content.legacy.pth"];

    public static TheoryData<string> Formats => new(Names);

    [Theory]
    [MemberData(nameof(Formats))]
    public void Each_Truncation(string name)
    {
        byte[] sound = Sound(name);
        for (int length = 0; length < sound.Length; length += sound.Length > 600 ? 7 : 1)
            Survives(name, sound[..length]);
        Survives(name, [.. sound, .. sound]);
    }

    [Property(MaxTest = 300)]
    public void Flipped_Bytes(int seed)
    {
        var random = new Random(seed);
        string name = Names[random.Next(Names.Length)];
        byte[] bytes = Sound(name);
        for (int flips = random.Next(1, 6); flips > 0; flips--)
            bytes[random.Next(bytes.Length)] = random.Next(3) == 0 ? (byte)0xFF : (byte)random.Next(256);
        Survives(name, bytes);
    }

    [Property(MaxTest = 200)]
    public void Noise(byte[] bytes)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        foreach (string name in Names)
            Survives(name, bytes);
    }

    [Property(MaxTest = 400)]
    public void Headers_That_Lie(int seed)
    {
        var random = new Random(seed);
        byte[] data = new byte[random.Next(64)];
        string header = $"{{{string.Join(",", Enumerable.Range(0, random.Next(4)).Select(i => $"\"{(char)('a' + random.Next(4))}\":{Entry()}"))}}}";
        Survives("b.safetensors", [.. BitConverter.GetBytes(random.Next(4) == 0 ? Number() : header.Length), .. Encoding.UTF8.GetBytes(header), .. data]);
        string type = Choose("<f4", "<f8", "<i8", "|u1", ">f4", "|O", "<f16", "V80");
        byte version = (byte)random.Next(5);
        Survives("b.npy", RoundTripTests.NpyBytes(version, $"{{'descr': '{type}', 'fortran_order': {Choose("True", "False", "1")}, 'shape': ({Sizes()}), }}", data));
        int[] sizes = [.. Enumerable.Range(0, random.Next(5)).Select(_ => (int)Number())];
        byte[] idx = RoundTripTests.IdxBytes(sizes, data);
        idx[3] = random.Next(3) == 0 ? (byte)random.Next(256) : idx[3];
        Survives("b.idx", idx);

        string Choose(params string[] choices) => choices[random.Next(choices.Length)];
        long Number() => random.Next(8) switch { 0 => long.MaxValue, 1 => long.MinValue, 2 => -1, 3 => int.MaxValue, 4 => 1L << random.Next(63), 5 => uint.MaxValue, _ => random.Next(20) };
        string Sizes() => string.Join(", ", Enumerable.Range(0, random.Next(40)).Select(_ => Number()));
        string Entry() => random.Next(8) switch
        {
            0 => "null",
            1 => "[1, 2]",
            2 => "{\"dtype\":7}",
            _ => $"{{\"dtype\":\"{Choose("F32", "F64", "I64", "U8", "C64")}\",\"shape\":[{Sizes()}],\"data_offsets\":[{Number()}, {(random.Next(9) == 0 ? "1.5" : Number())}]}}",
        };
    }

    [Fact]
    public void Small_Files_That_Claim_Or_Unfold_To_Much()
    {
        Survives("c.safetensors", [.. BitConverter.GetBytes(99_999_999L), .. "{}"u8]);
        Survives("c.safetensors", Deep(100_000));
        Survives("c.npy", RoundTripTests.NpyBytes(2, $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({string.Concat(Enumerable.Repeat("1,", 30_000))})}}", new byte[4]));
        Survives("c.npy", RoundTripTests.NpyBytes(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 65536)}", []));
        Survives("c.idx", RoundTripTests.IdxBytes([int.MaxValue], []));
        using var zipped = new MemoryStream();
        using (var stream = new GZipStream(zipped, CompressionLevel.Fastest, leaveOpen: true))
            stream.Write(new byte[40 << 20]);
        Survives("c.idx.gz", zipped.ToArray());
        Survives("c.csv.gz", zipped.ToArray());
        string path = folder.File("c.npz");
        using (var zip = ZipFile.Open(path, ZipArchiveMode.Create))
        {
            for (int i = 0; i < 4; i++)
            {
                using var stream = zip.CreateEntry($"{i}.npy").Open();
                stream.Write(new byte[3 << 20]);
            }
        }
        Survives("c.npz", File.ReadAllBytes(path));

        static byte[] Deep(int depth) => [.. BitConverter.GetBytes(depth + 5L), .. "{\"a\":"u8, .. Enumerable.Repeat((byte)'[', depth)];
    }

    [Fact]
    public void A_Damaged_Archive_Member_Is_Found_By_Its_Checksum()
    {
        byte[] bytes = Sound("a.npz", CompressionLevel.NoCompression);
        int at = bytes.AsSpan().IndexOf("NUMPY"u8) + 128 - 1;
        bytes[at + 3] ^= 1;
        string path = folder.Write("d.npz", bytes);
        Assert.Contains("checksum", Assert.Throws<DataFormatException>(() => Npy.LoadArchive(path, device)).Message, StringComparison.Ordinal);
        Assert.Equal(0, device.LiveBytes);
    }

    private void Survives(string name, byte[] bytes)
    {
        string path = folder.Write(name, bytes);
        device.ResetPeakBytes();
        long live = device.LiveBytes, before = GC.GetAllocatedBytesForCurrentThread(), began = Stopwatch.GetTimestamp();
        try
        {
            Read(name, path);
        }
        catch (DataFormatException e)
        {
            Assert.StartsWith(path, e.File, StringComparison.Ordinal);
        }
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        // What is compressed may unfold up to the limit, and a buffer that grows holds it up to four times.
        long most = (name.EndsWith('z') ? 5 * Limit : 0) + 24L * bytes.Length + (256 << 10);
        Assert.True(allocated <= most, $"{name}: {allocated:N0} bytes allocated for a file of {bytes.Length:N0}.");
        Assert.True(device.PeakBytes - live <= most, $"{name}: {device.PeakBytes:N0} bytes of tensors for a file of {bytes.Length:N0}.");
        Assert.True(seconds < 1, $"{name}: {seconds} s");
        Assert.Equal(live, device.LiveBytes);
    }

    private void Read(string name, string path)
    {
        if (name.EndsWith(".safetensors", StringComparison.Ordinal))
            Release(Safetensors.Load(path, device, Limit).Tensors.Values);
        else if (name.Contains(".pt", StringComparison.Ordinal))
            Release(PyTorchCheckpoint.Load(path, null, device, Limit).Tensors.Values);
        else if (name.EndsWith(".npz", StringComparison.Ordinal))
            Release(Npy.LoadArchive(path, device, Limit).Values);
        else if (name.Contains(".npy", StringComparison.Ordinal))
            Npy.Load(path, device, Limit).Dispose();
        else if (name.Contains(".idx", StringComparison.Ordinal))
            Idx.Load(path, Limit);
        else
            Csv.Load(path, limit: Limit);
    }

    private static void Release(IEnumerable<Tensor> tensors)
    {
        foreach (var tensor in tensors)
            tensor.Dispose();
    }

    private byte[] Sound(string name, CompressionLevel level = CompressionLevel.Optimal)
    {
        if (name.Contains(".pt", StringComparison.Ordinal))
            return File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Serialization", "Checkpoints", name));
        using var x = Tensor.From([1f, 2, 3, 4, 5, 6], [2, 3]);
        using var y = Tensor.From([1, 2]);
        string npy = folder.File("sound.npy"), file = folder.File("sound.safetensors");
        Npy.Save(npy, x);
        Safetensors.Save(file, new Dictionary<string, Tensor> { ["x"] = x, ["y"] = y }, new Dictionary<string, string> { ["kind"] = "test" });
        return name switch
        {
            "a.safetensors" => File.ReadAllBytes(file),
            "a.npy" => File.ReadAllBytes(npy),
            "a.npy.gz" => Zipped(File.ReadAllBytes(npy)),
            "a.idx" => RoundTripTests.IdxBytes([2, 3], [1, 2, 3, 4, 5, 6]),
            "a.csv" => "1,2,3\n4,5.5,\"6\"\n"u8.ToArray(),
            "a.csv.gz" => Zipped("1,2,3\n4,5.5,\"6\"\n"u8.ToArray()),
            _ => Archive(npy, level),
        };
    }

    private static byte[] Zipped(byte[] bytes)
    {
        using var memory = new MemoryStream();
        using (var stream = new GZipStream(memory, CompressionLevel.Optimal))
            stream.Write(bytes);
        return memory.ToArray();
    }

    private static byte[] Archive(string npy, CompressionLevel level)
    {
        using var memory = new MemoryStream();
        using (var zip = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            zip.CreateEntryFromFile(npy, "x.npy", level);
            zip.CreateEntryFromFile(npy, "y.npy", level);
        }
        return memory.ToArray();
    }
}
