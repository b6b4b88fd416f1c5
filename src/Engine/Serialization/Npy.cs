using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;

namespace TransferEngine.Serialization;

/// <summary>
/// NumPy's array files, .npy (versions 1 to 3) and .npz (a zip of them). Little-endian f4, f8, i4 as they are; f2 as Float32 unless asked otherwise; i8, i2, i1, u1, u2 and booleans
/// as Int32 (a value that does not fit is an error). Fortran order is put into the order of the axes.
/// </summary>
public static partial class Npy
{
    /// <summary>Reads an array.</summary>
    /// <param name="path">The .npy file.</param>
    /// <param name="device">Where the tensor goes; the CPU if null.</param>
    /// <param name="limit">The most bytes that the file may have.</param>
    /// <param name="keepHalf">Whether f2 stays Float16.</param>
    /// <exception cref="DataFormatException">The file is no NPY file, or of a type that is not read, or has not as many elements as its shape says.</exception>
    public static Tensor Load(string path, Device? device = null, long limit = FileBytes.DefaultLimit, bool keepHalf = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Parse(path, FileBytes.Read(path, limit), device ?? Device.Cpu, keepHalf);
    }

    /// <summary>Reads all arrays of an .npz file.</summary>
    /// <param name="path">The .npz file.</param>
    /// <param name="device">Where the tensors go; the CPU if null.</param>
    /// <param name="limit">The most bytes that the arrays may have together, decompressed.</param>
    /// <param name="keepHalf">Whether f2 stays Float16.</param>
    /// <exception cref="DataFormatException">As for <see cref="Load"/>, or the zip is damaged.</exception>
    public static IReadOnlyDictionary<string, Tensor> LoadArchive(string path, Device? device = null, long limit = FileBytes.DefaultLimit, bool keepHalf = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        using var file = File.OpenRead(path);
        try
        {
            using var zip = new ZipArchive(file, ZipArchiveMode.Read);
            foreach (var entry in zip.Entries)
            {
                using var stream = entry.Open();
                var bytes = FileBytes.ReadAll($"{path}({entry.FullName})", stream, limit);
                limit -= bytes.Length;
                if (FileBytes.Checksum(bytes) != entry.Crc32)
                    throw new DataFormatException(path, $"'{entry.FullName}' is damaged: its checksum is not the one that the archive gives.");
                string name = entry.FullName.EndsWith(".npy", StringComparison.Ordinal) ? entry.FullName[..^4] : entry.FullName;
                if (tensors.ContainsKey(name))
                    throw new DataFormatException(path, $"the archive holds '{entry.FullName}' twice.");
                tensors.Add(name, Parse($"{path}({entry.FullName})", bytes, device ?? Device.Cpu, keepHalf));
            }
            return tensors;
        }
        catch (Exception e)
        {
            foreach (var tensor in tensors.Values)
                tensor.Dispose();
            // What ZipArchive throws at fields that contradict each other: of all these, positions outside the file among them.
            if (e is InvalidDataException or (IOException and not DataFormatException) or NotSupportedException or ArgumentException or OverflowException)
                throw new DataFormatException(path, $"the zip archive is damaged: {e.Message}", e);
            throw;
        }
    }

    /// <summary>Writes an array (version 1), beside the file first, then renamed.</summary>
    /// <param name="path">The .npy file.</param>
    /// <param name="tensor">Of any type but BFloat16, which the format lacks.</param>
    /// <exception cref="ElementTypeException">The elements are BFloat16.</exception>
    public static void Save(string path, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(tensor);
        string type = tensor.ElementType switch
        {
            ElementType.Float32 => "<f4",
            ElementType.Float64 => "<f8",
            ElementType.Float16 => "<f2",
            ElementType.Int32 => "<i4",
            _ => throw new ElementTypeException($"Npy.Save: {tensor.Shape} is {tensor.ElementType}, which NPY has no name for. Convert it with To(ElementType.Float32), or use Safetensors."),
        };
        string shape = string.Join(", ", tensor.Shape.Select(size => size.ToString(CultureInfo.InvariantCulture)));
        string header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({shape}{(tensor.Rank == 1 ? "," : "")}), }}";
        header = header.PadRight((header.Length + 11 + 63) / 64 * 64 - 11) + "\n";
        FileBytes.WriteAtomically(path, stream =>
        {
            stream.Write([.. Mark, 1, 0, (byte)header.Length, (byte)(header.Length >> 8)]);
            stream.Write(Encoding.ASCII.GetBytes(header));
            stream.Write(StoredElements.Bytes(tensor));
        });
    }

    private const int LongestHeader = 65_535, MostAxes = 16;

    private static ReadOnlySpan<byte> Mark => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    private static Tensor Parse(string path, byte[] bytes, Device device, bool keepHalf)
    {
        if (bytes.Length < 10 || !bytes.AsSpan(0, 6).SequenceEqual(Mark))
            throw new DataFormatException(path, "it does not begin with the mark of an NPY file.");
        int major = bytes[6], start = major == 1 ? 10 : 12;
        if (major is < 1 or > 3 || bytes.Length < start)
            throw new DataFormatException(path, $"version {major} of the format; 1 to 3 are read.");
        long length = major == 1 ? BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8)) : BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8));
        if (length > bytes.Length - start || length > LongestHeader)
            throw new DataFormatException(path, $"the header claims {length:N0} bytes; {bytes.Length - start:N0} are there, and a header of at most {LongestHeader:N0} is read.");
        string header = Encoding.UTF8.GetString(bytes, start, (int)length);
        Match type = TypePattern().Match(header), order = OrderPattern().Match(header), sizes = ShapePattern().Match(header);
        if (!type.Success || !order.Success || !sizes.Success)
            throw new DataFormatException(path, "the header does not name descr, fortran_order and shape.");
        if (sizes.Groups[1].ValueSpan.Count(',') > MostAxes)
            throw new DataFormatException(path, $"the shape has more than {MostAxes} axes, the most that are read.");
        int[] shape;
        Shape checkedShape;
        try
        {
            shape = [.. sizes.Groups[1].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(size => int.Parse(size, NumberStyles.None, CultureInfo.InvariantCulture))];
            checkedShape = shape;
        }
        catch (Exception e) when (e is FormatException or OverflowException or ShapeException)
        {
            throw new DataFormatException(path, $"the shape ({sizes.Groups[1].Value}) can't be read: {e.Message}", e);
        }
        var data = bytes.AsSpan(start + (int)length);
        var stored = type.Groups[1].Value switch
        {
            "<f8" => StoredType.Float64,
            "<f4" => StoredType.Float32,
            "<f2" => StoredType.Float16,
            "<i8" => StoredType.Int64,
            "<i4" => StoredType.Int32,
            "<i2" => StoredType.Int16,
            "<u2" => StoredType.UInt16,
            "|i1" => StoredType.Int8,
            "|u1" => StoredType.UInt8,
            "|b1" => StoredType.Bool,
            _ => throw new DataFormatException(path, $"elements of type {type.Groups[1].Value}; little-endian f2, f4, f8, i1, i2, i4, i8, u1, u2 and b1 are read."),
        };
        if (data.Length != (long)checkedShape.Elements * stored.Size() || shape.Length > MostAxes)
            throw new DataFormatException(path, $"{checkedShape} of {stored.Size()} bytes each want {(long)checkedShape.Elements * stored.Size():N0} bytes of data, there are {data.Length:N0}; at most {MostAxes} axes are read.");
        bool fortran = order.Groups[1].Value == "True";
        var tensor = StoredElements.Read(path, "the array", stored, data, fortran ? new Shape([.. shape.Reverse()]) : checkedShape, device, keepHalf);
        if (!fortran || shape.Length < 2)
            return tensor;
        using var columnsFirst = tensor;
        using var view = tensor.Permute([.. Enumerable.Range(0, shape.Length).Reverse()]);
        var ordered = view.Contiguous();
        return ReferenceEquals(ordered, view) ? view.Clone() : ordered;
    }

    [GeneratedRegex("""['"]descr['"]\s*:\s*['"]([^'"]{1,8})['"]""")]
    private static partial Regex TypePattern();

    [GeneratedRegex("""['"]fortran_order['"]\s*:\s*(True|False)""")]
    private static partial Regex OrderPattern();

    [GeneratedRegex("""['"]shape['"]\s*:\s*\(([0-9, ]*)\)""")]
    private static partial Regex ShapePattern();
}
