using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>What <see cref="Autocast"/> makes of operands, outside any graph: the derivative of rounding is taken for 1.</summary>
public sealed partial class Tensor
{
    /// <summary>The type of 16 bits that the elements are numbers of already, as those restored from such are; Float32 if nothing is known.</summary>
    private ElementType held;

    /// <summary>The elements from the first to the last in memory, which strides may leave gaps between or walk through several times.</summary>
    private int Run => IsContiguous ? Elements : StridedExtent();

    /// <summary>The same elements in 16 bits. A copy is made at most once, as long as nothing changes this tensor's memory: all who save it share it. The caller disposes it.</summary>
    internal Tensor Narrowed(ElementType type)
    {
        if (Run > Elements)
        {
            using var dense = ContiguousAlias();
            return dense.Narrowed(type);
        }
        // What a captured step finds made before would not be made anew when it is replayed.
        bool isShared = StepRecord.Current is not { } record || record.Owns(Storage);
        if (isShared && Storage.NarrowCopy is { } copy && copy.IsOf(this, Run, type))
            return new(copy.Memory.Retain(), Shape, strides, 0, type);
        var y = WithOwnMemory(type);
        Conversion.Run(Device.Compute, Slice, y.Slice);
        if (isShared)
            Storage.NarrowCopy = new(y.Storage.Retain(), type, Offset, Run, Storage.Version);
        return y;
    }

    /// <summary>The elements rounded to a type of 16 bits, as Float32. The caller disposes it.</summary>
    internal Tensor Rounded(ElementType type)
    {
        if (held == type)
            return Alias();
        if (Run > Elements)
        {
            using var dense = ContiguousAlias();
            return dense.Rounded(type);
        }
        var y = WithOwnMemory(ElementType.Float32);
        Narrowing.RoundTo(Device.Compute, type, Slice, y.Slice);
        y.held = type;
        return y;
    }

    /// <summary>Elements of 16 bits as Float32.</summary>
    internal Tensor Widened()
    {
        var y = WithOwnMemory(ElementType.Float32);
        Conversion.Run(Device.Compute, Slice, y.Slice);
        y.held = ElementType;
        return y;
    }

    private Tensor WithOwnMemory(ElementType type) => new(new Storage(Device, (long)Run * type.Size(), Shape), Shape, strides, 0, type);
}

/// <summary>A copy in 16 bits of a run of elements of some memory, as it was at a version.</summary>
internal sealed record NarrowCopy(Storage Memory, ElementType Type, int Offset, int Run, int Version)
{
    public bool IsOf(Tensor tensor, int run, ElementType type) => type == Type && tensor.Offset == Offset && run == Run && tensor.Storage.Version == Version;
}

/// <summary>An operand of a product, rounded under <see cref="Autocast"/>; for the time of a using.</summary>
internal readonly struct Operand(Tensor tensor) : IDisposable
{
    private readonly Tensor? rounded = Autocast.Current.IsNarrow() && tensor.ElementType == ElementType.Float32 ? tensor.Rounded(Autocast.Current) : null;

    public Tensor Tensor => rounded ?? tensor;

    public void Dispose() => rounded?.Dispose();
}
