using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// A stretch of device memory: an address for the CPU's direct path, an ILGPU buffer elsewhere. On the direct path a view carries its
/// absolute address in units of its element (a block is aligned to 64 bytes), and the SIMD lanes read it there: no buffer is looked up.
/// </summary>
internal sealed class MemoryBlock(nint address, MemoryBuffer? buffer, long bytes)
{
    private MemoryBlock? previous;

    public nint Address { get; } = address;

    public MemoryBuffer? Buffer { get; } = buffer;

    public long Bytes { get; } = bytes;

    /// <summary>What holds the block, for error messages.</summary>
    public object? Label { get; set; }

    /// <summary>The arena that the block belongs to, if any; the other two are its own notes.</summary>
    public MemoryArena? Arena { get; set; }

    /// <summary>Whether somebody holds a block of an arena.</summary>
    public bool IsHeld { get; set; }

    /// <summary>Whether the host has written into a block of an arena.</summary>
    public bool IsTable { get; set; }

    /// <summary>What copied into the block while the device did other work: whoever is handed the block next must find that done.</summary>
    public Shipment? Shipment { get; set; }

    /// <summary>The next block in the pool's list of those handed out.</summary>
    public MemoryBlock? Next { get; private set; }

    public unsafe ArrayView<T> View<T>(long offset, long length) where T : unmanaged =>
        new(Buffer!, Buffer is null ? Address / sizeof(T) + offset : offset, length);

    public void LinkAfter(MemoryBlock head)
    {
        (previous, Next) = (head, head.Next);
        if (Next is not null)
            Next.previous = this;
        head.Next = this;
    }

    public void Unlink()
    {
        if (previous is not null)
            previous.Next = Next;
        if (Next is not null)
            Next.previous = previous;
        previous = Next = null;
    }
}

/// <summary>Elements of a block from an offset on: what a kernel family's entry point takes for each tensor.</summary>
internal readonly record struct Slice(MemoryBlock Block, int Offset, int Length, ElementType Type)
{
    public ArrayView<T> View<T>() where T : unmanaged => Type.IsNarrow() && System.Runtime.CompilerServices.Unsafe.SizeOf<T>() != 2
        ? throw new NotSupportedException($"A kernel over {typeof(T).Name} was given {Type}, which is only moved and converted. Convert it with To(ElementType.Float32).")
        : Block.View<T>(Offset, Length);

    /// <summary>The absolute address of the first element; only on the CPU's direct path.</summary>
    public unsafe T* Pointer<T>() where T : unmanaged => (T*)Block.Address + Offset;
}
