using System.Buffers.Binary;
using System.Text.Json;
using TransferEngine.Kernels;

namespace TransferEngine.Serialization;

/// <summary>
/// The safetensors format: an 8-byte little-endian header length, a JSON header that names type, shape and place of each tensor, and the data, without gaps.
/// </summary>
/// <remarks>
/// Reads F32, F64 and I32 as they are, F16 and BF16 as Float32 unless asked otherwise, and I64, I16, I8, U8 and BOOL as Int32 (a value that does not fit is an error). A header may
/// be 100 MB at the most, as in the reference implementation.
/// </remarks>
public static class Safetensors
{
    private const int LongestHeader = 100_000_000;

    /// <summary>Writes tensors beside the file and renames it, so that no reader sees half of one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Of any type, on any device.</param>
    /// <param name="metadata">Texts to keep with them.</param>
    public static void Save(string path, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tensors);
        // Wide elements first, so that each begins at a multiple of its size.
        var ordered = tensors.OrderByDescending(item => item.Value.ElementType.Size()).ThenBy(item => item.Key, StringComparer.Ordinal).ToArray();
        using var header = new MemoryStream();
        using (var json = new Utf8JsonWriter(header))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (name, text) in metadata.OrderBy(item => item.Key, StringComparer.Ordinal))
                    json.WriteString(name, text);
                json.WriteEndObject();
            }
            long offset = 0;
            foreach (var (name, tensor) in ordered)
            {
                if (name == "__metadata__")
                    throw new ArgumentException("A tensor can't be named __metadata__: the format keeps its texts there.", nameof(tensors));
                long size = (long)tensor.Elements * tensor.ElementType.Size();
                json.WriteStartObject(name);
                json.WriteString("dtype", tensor.ElementType switch
                {
                    ElementType.Float32 => "F32",
                    ElementType.Float64 => "F64",
                    ElementType.Float16 => "F16",
                    ElementType.BFloat16 => "BF16",
                    _ => "I32",
                });
                json.WriteStartArray("shape");
                foreach (int length in tensor.Shape)
                    json.WriteNumberValue(length);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += size);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (header.Length % 8 != 0)
            header.WriteByte((byte)' ');
        FileBytes.WriteAtomically(path, stream =>
        {
            Span<byte> length = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
            stream.Write(length);
            header.WriteTo(stream);
            foreach (var (_, tensor) in ordered)
                stream.Write(StoredElements.Bytes(tensor));
        });
    }

    /// <summary>Reads a file whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where the tensors go; the CPU if null.</param>
    /// <param name="limit">The most bytes that the file may have.</param>
    /// <param name="keepHalf">Whether F16 and BF16 stay Float16 and BFloat16.</param>
    /// <exception cref="DataFormatException">The file is no safetensors file, or contradicts itself.</exception>
    public static WeightFile Load(string path, Device? device = null, long limit = WeightFile.DefaultLimit, bool keepHalf = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = WeightFile.Open(path, limit);
        Span<byte> prefix = stackalloc byte[8];
        if (file.ReadAtLeast(prefix, 8, throwOnEndOfStream: false) < 8)
            throw new DataFormatException(path, $"{file.Length} bytes, too few for the 8 that give the length of a safetensors header.");
        long length = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (length < 2 || length > LongestHeader || length > file.Length - 8)
            throw new DataFormatException(path, $"the header claims {length:N0} bytes; the file has {file.Length - 8:N0} after the length, and a header is 2 to {LongestHeader:N0} bytes long.");
        var header = new byte[length];
        file.ReadExactly(header);
        var (entries, metadata) = ReadHeader(path, header, file.Length - 8 - length);
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        try
        {
            foreach (var entry in entries)
            {
                var bytes = new byte[entry.End - entry.Begin];
                file.Position = 8 + length + entry.Begin;
                if (file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) < bytes.Length)
                    throw new DataFormatException(path, $"the file shrank while '{entry.Name}' was read.");
                tensors.Add(entry.Name, StoredElements.Read(path, entry.Name, entry.Type, bytes, entry.Shape, device ?? Device.Cpu, keepHalf));
            }
            return new(tensors, metadata);
        }
        catch
        {
            foreach (var tensor in tensors.Values)
                tensor.Dispose();
            throw;
        }
    }

    private static (List<Entry> Entries, Dictionary<string, string> Metadata) ReadHeader(string path, byte[] header, long dataLength)
    {
        var entries = new List<Entry>();
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        try
        {
            using var json = JsonDocument.Parse(header, new JsonDocumentOptions { MaxDepth = 8 });
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw new DataFormatException(path, $"the header is a JSON {json.RootElement.ValueKind}, wanted an object.");
            var names = new HashSet<string>(StringComparer.Ordinal);
            foreach (var item in json.RootElement.EnumerateObject())
            {
                if (!names.Add(item.Name))
                    throw new DataFormatException(path, $"the header names '{item.Name}' twice.");
                if (item.Name == "__metadata__")
                {
                    foreach (var text in item.Value.EnumerateObject())
                        metadata[text.Name] = text.Value.GetString() ?? throw new DataFormatException(path, $"the metadata '{text.Name}' is null, wanted a text.");
                }
                else
                {
                    entries.Add(ReadEntry(path, item, dataLength));
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or KeyNotFoundException or OverflowException)
        {
            throw new DataFormatException(path, $"the header is not that of a safetensors file: {e.Message}", e);
        }
        // Every byte belongs to one tensor: neither gap nor overlap can hide anything.
        long at = 0;
        foreach (var entry in entries.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End))
        {
            if (entry.Begin != at)
                throw new DataFormatException(path, $"'{entry.Name}' begins at byte {entry.Begin:N0} of the data, wanted {at:N0}: tensors follow each other without gap or overlap.");
            at = entry.End;
        }
        return at == dataLength
            ? (entries, metadata)
            : throw new DataFormatException(path, $"the tensors end at byte {at:N0} of the data, which has {dataLength:N0}.");
    }

    private static Entry ReadEntry(string path, JsonProperty item, long dataLength)
    {
        string dtype = item.Value.GetProperty("dtype").GetString() ?? "null";
        var type = dtype switch
        {
            "F64" => StoredType.Float64,
            "F32" => StoredType.Float32,
            "F16" => StoredType.Float16,
            "BF16" => StoredType.BFloat16,
            "I64" => StoredType.Int64,
            "I32" => StoredType.Int32,
            "I16" => StoredType.Int16,
            "I8" => StoredType.Int8,
            "U8" => StoredType.UInt8,
            "BOOL" => StoredType.Bool,
            _ => throw new DataFormatException(path, $"'{item.Name}' is of type {dtype}; F64, F32, F16, BF16, I64, I32, I16, I8, U8 and BOOL are read."),
        };
        var offsets = item.Value.GetProperty("data_offsets");
        if (offsets.GetArrayLength() != 2)
            throw new DataFormatException(path, $"'{item.Name}' has {offsets.GetArrayLength()} data offsets, wanted 2.");
        long begin = offsets[0].GetInt64(), end = offsets[1].GetInt64();
        var axes = item.Value.GetProperty("shape");
        if (axes.GetArrayLength() > 16)
            throw new DataFormatException(path, $"'{item.Name}' has {axes.GetArrayLength()} axes, at most 16 are read.");
        int[] sizes = [.. axes.EnumerateArray().Select(axis => axis.GetInt32())];
        Shape shape;
        try
        {
            shape = sizes;
        }
        catch (ShapeException e)
        {
            throw new DataFormatException(path, $"'{item.Name}': {e.Message}", e);
        }
        if (begin < 0 || end < begin || end > dataLength || end - begin != (long)shape.Elements * type.Size() || end - begin > Array.MaxLength)
            throw new DataFormatException(path, $"'{item.Name}', {dtype} {shape}, claims bytes {begin:N0} to {end:N0} of {dataLength:N0}; wanted {(long)shape.Elements * type.Size():N0} bytes inside the data.");
        return new(item.Name, type, shape, begin, end);
    }

    private sealed record Entry(string Name, StoredType Type, Shape Shape, long Begin, long End);
}
