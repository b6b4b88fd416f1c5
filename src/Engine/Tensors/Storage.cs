using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// The memory behind tensors that view it. Each tensor and each value saved for backward holds a reference; when the last lets go, the block
/// returns to the pool at once, and what nobody let go the finaliser returns. <see cref="Version"/> counts changes in place.
/// </summary>
internal sealed class Storage
{
    private MemoryBlock? block;
    private NarrowCopy? narrow;
    private int references = 1;

    public Storage(Device device, long bytes, object? label)
    {
        Device = device;
        block = device.Compute.Memory.Rent(bytes, label);
    }

    ~Storage() => Free();

    public Device Device { get; }

    public int Version
    {
        get;
        set
        {
            field = value;
            StepRecord.Current?.Changed(this);
        }
    }

    /// <summary>A copy in 16 bits, which lives as long as this memory at the most.</summary>
    public NarrowCopy? NarrowCopy
    {
        get => narrow;
        set => Interlocked.Exchange(ref narrow, value)?.Memory.Release();
    }

    /// <summary>Whether one holder alone has it, so that it may be written over.</summary>
    public bool IsExclusive => Volatile.Read(ref references) == 1;

    public MemoryBlock Block => block ?? throw new ObjectDisposedException(nameof(Tensor), "This tensor's memory was given back. Use it before it is disposed, or Keep it in its scope.");

    public Storage Retain()
    {
        Interlocked.Increment(ref references);
        return this;
    }

    public void Release()
    {
        if (Interlocked.Decrement(ref references) == 0)
        {
            Free();
            GC.SuppressFinalize(this);
        }
    }

    private void Free()
    {
        NarrowCopy = null;
        if (Interlocked.Exchange(ref block, null) is { } taken)
            Device.Compute.Memory.Return(taken);
    }
}
