using System.Buffers.Binary;
using System.IO.Compression;

namespace TransferEngine.Serialization;

/// <summary>
/// Files that torch.save wrote (.pt, .pth, .th): the zip format of PyTorch 1.6 and later, and the one before it. Nothing in a file is run: its pickle may hold
/// tensors, containers, numbers and texts, and anything else is an error that names it.
/// </summary>
/// <remarks>
/// The weights are the dictionary of tensors by name that the file holds: at its top, or under one of its keys, as training scripts keep it beside their epoch
/// and optimiser. A prefix <c>module.</c> that all names share, from DataParallel, is left out. Element types become what <see cref="Safetensors"/> makes of them.
/// </remarks>
public static class PyTorchCheckpoint
{
    private const int LongestPickle = 64 << 20;

    /// <summary>The first pickle of a file in the older format: a long number.</summary>
    private static ReadOnlySpan<byte> LegacyMark => [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, (byte)'.'];

    private static ReadOnlySpan<byte> ZipMark => "PK\u0003\u0004"u8;

    /// <summary>Reads the weights of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="key">The key that the dictionary of weights stands under; null finds it.</param>
    /// <param name="device">Where the tensors go; the CPU if null.</param>
    /// <param name="limit">The most bytes that the file may have.</param>
    /// <returns>The tensors, which are one where the file has two names for the same, and the numbers and texts at the file's top as metadata.</returns>
    /// <exception cref="DataFormatException">The file is no checkpoint of PyTorch, contradicts itself, holds no weights or several, or asks for something that is neither tensor nor container.</exception>
    public static WeightFile Load(string path, string? key = null, Device? device = null, long limit = WeightFile.DefaultLimit)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = WeightFile.Open(path, limit);
        Span<byte> mark = stackalloc byte[LegacyMark.Length];
        int read = file.ReadAtLeast(mark, mark.Length, throwOnEndOfStream: false);
        file.Position = 0;
        if (mark[..read].StartsWith(ZipMark))
            return LoadZip(path, file, key, device ?? Device.Cpu);
        return mark.SequenceEqual(LegacyMark)
            ? LoadLegacy(path, file, key, device ?? Device.Cpu)
            : throw new DataFormatException(path, "it begins neither as a zip archive nor with PyTorch's mark: it is no checkpoint that torch.save wrote, or from before PyTorch 0.2.");
    }

    /// <summary>Whether a file begins as a checkpoint does.</summary>
    internal static bool Begins(string path)
    {
        using var file = File.OpenRead(path);
        Span<byte> mark = stackalloc byte[LegacyMark.Length];
        int read = file.ReadAtLeast(mark, mark.Length, throwOnEndOfStream: false);
        return mark[..read].StartsWith(ZipMark) || mark.SequenceEqual(LegacyMark);
    }

    /// <summary>An archive of a pickle and a member for each storage, none of them compressed.</summary>
    private static WeightFile LoadZip(string path, FileStream file, string? key, Device device)
    {
        try
        {
            using var zip = new ZipArchive(file, ZipArchiveMode.Read, leaveOpen: true);
            var pickled = zip.Entries.FirstOrDefault(entry => entry.FullName.EndsWith("/data.pkl", StringComparison.Ordinal))
                ?? throw new DataFormatException(path, "the archive has no data.pkl, which a checkpoint of PyTorch has.");
            string folder = pickled.FullName[..^"data.pkl".Length];
            if (zip.GetEntry(folder + "byteorder") is { } order && !Member(order, 6).AsSpan().SequenceEqual("little"u8))
                throw OtherByteOrder(path);
            var pickle = new Pickle(path, Member(pickled, pickled.Length <= LongestPickle ? pickled.Length : throw new DataFormatException(path, $"data.pkl has {pickled.Length:N0} bytes, at most {LongestPickle:N0} are read.")));
            return new CheckpointContent(path, pickle.Load(), key, file.Length).Read(device, storage =>
                Member(zip.GetEntry($"{folder}data/{storage.Key}") ?? throw new DataFormatException(path, $"the archive has no data/{storage.Key}, which the pickle names."), storage.Bytes));
        }
        catch (Exception e) when (e is InvalidDataException or (IOException and not DataFormatException) or NotSupportedException or ArgumentException or OverflowException)
        {
            throw new DataFormatException(path, $"the zip archive is damaged: {e.Message}", e);
        }

        byte[] Member(ZipArchiveEntry entry, long length)
        {
            if (entry.Length != length || length > file.Length)
                throw new DataFormatException(path, $"'{entry.FullName}' has {entry.Length:N0} bytes, wanted {length:N0}, and no more than the file's {file.Length:N0}.");
            var bytes = new byte[length];
            using var stream = entry.Open();
            return stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) == bytes.Length && FileBytes.Checksum(bytes) == entry.Crc32
                ? bytes
                : throw new DataFormatException(path, $"'{entry.FullName}' is damaged: its length or checksum is not the one that the archive gives.");
        }
    }

    /// <summary>Pickles of a mark, a version, the machine, the content and the storages' keys; then each storage after its length.</summary>
    private static WeightFile LoadLegacy(string path, FileStream file, string? key, Device device)
    {
        var head = new byte[Math.Min(file.Length, LongestPickle)];
        if (file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
            throw Shrank(path);
        var pickle = new Pickle(path, head);
        pickle.Load();
        if (pickle.Load() is not 1001L)
            throw new DataFormatException(path, "it is of a version other than 1001, the only one that torch.save ever wrote.");
        if (pickle.Load() is not PickledMapping machine || machine.Exists(item => item is { Key: "little_endian", Value: false }))
            throw OtherByteOrder(path);
        var content = new CheckpointContent(path, pickle.Load(), key, file.Length);
        var known = pickle.Storages;
        if (pickle.Load() is not PickledSequence keys)
            throw new DataFormatException(path, "no list of storages follows the content.");
        long position = pickle.Position;
        var places = new Dictionary<PickledStorage, long>();
        Span<byte> length = stackalloc byte[8];
        foreach (object? name in keys)
        {
            if (name is not string text || !known.TryGetValue(text, out var storage))
                throw new DataFormatException(path, $"storage '{name}' belongs to nothing in the file.");
            file.Position = position;
            if (file.ReadAtLeast(length, 8, throwOnEndOfStream: false) < 8 || BinaryPrimitives.ReadInt64LittleEndian(length) != storage.Elements || storage.Bytes > file.Length - position - 8)
                throw new DataFormatException(path, $"storage '{text}' of {storage.Elements:N0} elements does not stand whole at byte {position:N0}.");
            if (!places.TryAdd(storage, position + 8))
                throw new DataFormatException(path, $"storage '{text}' comes twice.");
            position += 8 + storage.Bytes;
        }
        return content.Read(device, storage =>
        {
            file.Position = places.TryGetValue(storage, out long place) ? place : throw new DataFormatException(path, $"storage '{storage.Key}' is named and not there.");
            var bytes = new byte[storage.Bytes];
            return file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) == bytes.Length ? bytes : throw Shrank(path);
        });
    }

    private static DataFormatException Shrank(string path) => new(path, "the file shrank while it was read.");

    private static DataFormatException OtherByteOrder(string path) => new(path, "it was written on a machine of another byte order; little-endian files are read.");
}
