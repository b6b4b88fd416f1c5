using System.Buffers.Binary;

namespace TransferEngine.Serialization;

/// <summary>The IDX format of MNIST: two zero bytes, a type, the number of axes, big-endian sizes, and the elements. Names that end in .gz are decompressed.</summary>
public static class Idx
{
    /// <summary>Reads an array of unsigned bytes, the type that images and labels come in.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">The most bytes that the file may have, decompressed.</param>
    /// <returns>The sizes of the axes, and the elements in their order.</returns>
    /// <exception cref="DataFormatException">The file is no IDX file of bytes, or has not as many elements as its sizes say.</exception>
    public static (Shape Shape, byte[] Values) Load(string path, long limit = FileBytes.DefaultLimit)
    {
        ArgumentNullException.ThrowIfNull(path);
        var bytes = FileBytes.Read(path, limit);
        if (bytes.Length < 4 || bytes[0] != 0 || bytes[1] != 0)
            throw new DataFormatException(path, "it does not begin with two zero bytes, a type and a number of axes, as IDX does.");
        if (bytes[2] != 8)
            throw new DataFormatException(path, $"elements of type 0x{bytes[2]:X2}; unsigned bytes, 0x08, are read.");
        int rank = bytes[3], start = 4 + 4 * rank;
        if (rank > 16 || bytes.Length < start)
            throw new DataFormatException(path, $"{rank} axes need a header of {start} bytes, the file has {bytes.Length}; at most 16 axes are read.");
        var sizes = new int[rank];
        for (int axis = 0; axis < rank; axis++)
            sizes[axis] = BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(4 + 4 * axis));
        Shape shape;
        try
        {
            shape = sizes;
        }
        catch (ShapeException e)
        {
            throw new DataFormatException(path, e.Message, e);
        }
        return shape.Elements == bytes.Length - start
            ? (shape, bytes[start..])
            : throw new DataFormatException(path, $"sizes {shape} want {shape.Elements:N0} elements after the header, there are {bytes.Length - start:N0}.");
    }
}
