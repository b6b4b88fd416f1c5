using System.Buffers.Binary;
using System.IO.Compression;

namespace TransferEngine.Serialization;

/// <summary>Reads files whole within a limit, and writes them so that a reader never sees half of one.</summary>
internal static class FileBytes
{
    /// <summary>What a reader takes at the most, decompressed, unless it is told otherwise.</summary>
    public const long DefaultLimit = 1L << 30;

    /// <summary>A gzip header, an empty block and the trailer.</summary>
    private const int ShortestGzip = 18;

    private static readonly uint[] ChecksumSteps = [.. Enumerable.Range(0, 256).Select(i =>
    {
        uint rest = (uint)i;
        for (int bit = 0; bit < 8; bit++)
            rest = (rest >> 1) ^ (0xEDB88320u & (0u - (rest & 1)));
        return rest;
    })];

    /// <summary>The bytes of a file, of its contents where its name ends in .gz; more than <paramref name="limit"/> are an error before they are held.</summary>
    public static byte[] Read(string path, long limit)
    {
        limit = Math.Min(limit, Array.MaxLength);
        using var file = File.OpenRead(path);
        if (!path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
        {
            if (file.Length > limit)
                throw TooLong(path, limit);
            var whole = new byte[file.Length];
            int read = file.ReadAtLeast(whole, whole.Length, throwOnEndOfStream: false);
            return read == whole.Length ? whole : throw new DataFormatException(path, $"it shrank from {whole.Length:N0} to {read:N0} bytes while it was read.");
        }
        Span<byte> trailer = stackalloc byte[8];
        file.Position = Math.Max(0, file.Length - trailer.Length);
        if (file.Length < ShortestGzip || file.ReadAtLeast(trailer, trailer.Length, throwOnEndOfStream: false) < trailer.Length)
            throw new DataFormatException(path, $"{file.Length} bytes, fewer than the {ShortestGzip} of an empty gzip file.");
        file.Position = 0;
        using var stream = new GZipStream(file, CompressionMode.Decompress);
        var bytes = ReadAll(path, stream, limit);
        // The stream takes a missing end for the end: the checksum and length that close the file (of its last member) tell a truncated one.
        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(trailer), length = BinaryPrimitives.ReadUInt32LittleEndian(trailer[4..]);
        return length <= bytes.Length && Checksum(bytes.AsSpan(bytes.Length - (int)length)) == checksum
            ? bytes
            : throw new DataFormatException(path, "the compressed data is truncated or damaged: it does not match the checksum and length that end it.");
    }

    /// <summary>All that a stream gives, growing with what arrives, not with what a header claims.</summary>
    public static byte[] ReadAll(string path, Stream stream, long limit)
    {
        limit = Math.Min(limit, Array.MaxLength);
        try
        {
            using var buffer = new MemoryStream();
            var part = new byte[81920];
            for (int n = stream.Read(part); n > 0; n = stream.Read(part))
            {
                if (buffer.Length + n > limit)
                    throw TooLong(path, limit);
                buffer.Write(part, 0, n);
            }
            return buffer.ToArray();
        }
        catch (InvalidDataException e)
        {
            throw new DataFormatException(path, $"the compressed data is damaged: {e.Message}", e);
        }
    }

    /// <summary>The CRC-32 of gzip and zip, which the library's readers do not always compare.</summary>
    public static uint Checksum(ReadOnlySpan<byte> bytes)
    {
        uint rest = uint.MaxValue;
        foreach (byte value in bytes)
            rest = ChecksumSteps[(byte)(rest ^ value)] ^ (rest >> 8);
        return ~rest;
    }

    /// <summary>Writes beside the file and renames: it is the old one or the new one, whatever happens.</summary>
    public static void WriteAtomically(string path, Action<Stream> write)
    {
        string full = Path.GetFullPath(path), beside = $"{full}.{Guid.NewGuid():N}.partial";
        try
        {
            using (var stream = new FileStream(beside, FileMode.CreateNew, FileAccess.Write))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(beside, full, overwrite: true);
        }
        catch
        {
            File.Delete(beside);
            throw;
        }
    }

    private static DataFormatException TooLong(string path, long limit) =>
        new(path, $"more than {limit:N0} bytes. Raise the limit if the file is to be trusted.");
}
