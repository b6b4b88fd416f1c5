using System.IO.Compression;

namespace TransferEngine.Serialization;

/// <summary>Reads files whole within a limit, and writes them so that a reader never sees half of one.</summary>
internal static class FileBytes
{
    /// <summary>What a reader takes at the most, decompressed, unless it is told otherwise.</summary>
    public const long DefaultLimit = 1L << 30;

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
        using var stream = new GZipStream(file, CompressionMode.Decompress);
        return ReadAll(path, stream, limit);
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
