using System.Runtime.InteropServices;

namespace TransferEngine.Serialization;

/// <summary>Element types as files store them, little-endian.</summary>
internal enum StoredType
{
    Float64, Float32, Float16, BFloat16, Int64, Int32, Int16, UInt16, Int8, UInt8, Bool,
}

/// <summary>Stored elements made into tensors.</summary>
internal static class StoredElements
{
    /// <summary>Bytes of an element.</summary>
    public static int Size(this StoredType type) => type switch
    {
        StoredType.Float64 or StoredType.Int64 => 8,
        StoredType.Float32 or StoredType.Int32 => 4,
        StoredType.Float16 or StoredType.BFloat16 or StoredType.Int16 or StoredType.UInt16 => 2,
        _ => 1,
    };

    /// <summary>A tensor's elements as files store them, in the order of its axes.</summary>
    public static ReadOnlySpan<byte> Bytes(Tensor tensor) => tensor.ElementType switch
    {
        ElementType.Float64 => MemoryMarshal.AsBytes(tensor.ToArray<double>().AsSpan()),
        ElementType.Float32 => MemoryMarshal.AsBytes(tensor.ToArray<float>().AsSpan()),
        ElementType.Float16 => MemoryMarshal.AsBytes(tensor.ToArray<Half>().AsSpan()),
        ElementType.BFloat16 => MemoryMarshal.AsBytes(tensor.ToArray<BFloat16>().AsSpan()),
        _ => MemoryMarshal.AsBytes(tensor.ToArray<int>().AsSpan()),
    };

    /// <summary>A tensor of stored elements: 64- and 32-bit reals and Int32 as they are, narrower reals as Float32 unless <paramref name="keepHalf"/>, other integers as Int32.</summary>
    /// <param name="file">What errors call the file.</param>
    /// <param name="name">What errors call the elements.</param>
    /// <param name="type">Their type in the file.</param>
    /// <param name="bytes">As many as the shape wants.</param>
    /// <param name="shape">The shape.</param>
    /// <param name="device">Where the tensor goes.</param>
    /// <param name="keepHalf">Whether reals of 16 bits stay what they are.</param>
    /// <exception cref="DataFormatException">An integer does not fit Int32.</exception>
    public static Tensor Read(string file, string name, StoredType type, ReadOnlySpan<byte> bytes, Shape shape, Device device, bool keepHalf = false)
    {
        return type switch
        {
            StoredType.Float64 => Tensor.From(MemoryMarshal.Cast<byte, double>(bytes), shape, device),
            StoredType.Float32 => Tensor.From(MemoryMarshal.Cast<byte, float>(bytes), shape, device),
            StoredType.Int32 => Tensor.From(MemoryMarshal.Cast<byte, int>(bytes), shape, device),
            StoredType.Float16 when keepHalf => Tensor.From(MemoryMarshal.Cast<byte, Half>(bytes), shape, device),
            StoredType.BFloat16 when keepHalf => Tensor.From(MemoryMarshal.Cast<byte, BFloat16>(bytes), shape, device),
            StoredType.Float16 => Convert<Half, float>(bytes, value => (float)value),
            StoredType.BFloat16 => Convert<BFloat16, float>(bytes, value => value),
            StoredType.Int64 => Convert<long, int>(bytes, Narrow),
            StoredType.Int16 => Convert<short, int>(bytes, value => value),
            StoredType.UInt16 => Convert<ushort, int>(bytes, value => value),
            StoredType.Int8 => Convert<sbyte, int>(bytes, value => value),
            _ => Convert<byte, int>(bytes, value => value),
        };

        Tensor Convert<TStored, T>(ReadOnlySpan<byte> bytes, Converter<TStored, T> convert) where TStored : unmanaged where T : unmanaged =>
            Tensor.From(Array.ConvertAll(MemoryMarshal.Cast<byte, TStored>(bytes).ToArray(), convert), shape, device);

        int Narrow(long value) => value is >= int.MinValue and <= int.MaxValue
            ? (int)value
            : throw new DataFormatException(file, $"'{name}' holds {value}, which Int32 does not.");
    }
}
