using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

internal sealed partial class ComputeDevice
{
    private readonly Lock copyGate = new();
    private StagedCopies? launchCopies, ownCopies;
    private StreamMarks? marks;
    private long waits;

    /// <summary>Whether the host goes on while numbers are copied to the device; without effect on the CPU. True on OpenCL, false on CUDA, where it has run on no card yet.</summary>
    public bool AllowAsynchronousCopies { get; set; }

    /// <summary>How often the host waited for the device: for results, at the user's wish, or for room to copy from.</summary>
    public long Waits => Interlocked.Read(ref waits) + (launchCopies?.Waits ?? 0) + (ownCopies?.Waits ?? 0);

    /// <summary>Whether the device was disposed of.</summary>
    public bool IsClosed { get; private set; }

    private StagedCopies? LaunchCopies => Copies(ref launchCopies, static its => its.DefaultStream);

    /// <summary>
    /// Lets what this thread copies to the device go by a stream of its own until the shipment ends; its <see cref="Shipment.Arrive"/> is called before the copied numbers are
    /// used. Null where copies are not asynchronous.
    /// </summary>
    public Shipment? BeginShipment() => Copies(ref ownCopies, static its => its.CreateStream()) is { } copies ? new(this, copies, marks!) : null;

    /// <summary>Waits for all work asked for.</summary>
    public void Synchronize()
    {
        if (accelerator is not null)
            Finish(static device => device.Synchronize());
    }

    /// <summary>Copies numbers to the device. The host waits for it only where copies are not asynchronous.</summary>
    public unsafe void CopyIn<T>(ReadOnlySpan<T> source, Slice destination) where T : unmanaged
    {
        if (source.IsEmpty)
            return;
        if (LaunchRecord.Current is { } record)
        {
            record.Run(this, new RecordedCopyIn<T>(source.ToArray(), destination));
            return;
        }
        if (IsDirect)
        {
            source.CopyTo(new Span<T>(destination.Pointer<T>(), source.Length));
        }
        else if (Shipment.Of(this) is { } shipment)
        {
            shipment.Copy(source, destination);
        }
        else if (LaunchCopies is { } staged)
        {
            staged.Copy(source, destination);
        }
        else
        {
            Interlocked.Increment(ref waits);
            destination.View<T>().CopyFromCPU(LaunchStream, source);
        }
    }

    /// <summary>Reads from the device; waits for it.</summary>
    public unsafe void CopyOut<T>(Slice source, Span<T> destination) where T : unmanaged
    {
        if (destination.IsEmpty)
            return;
        LaunchRecord.Refuse($"Reading {destination.Length:N0} element(s) of {source.Block.Label ?? "a tensor"}");
        if (IsDirect)
        {
            new Span<T>(source.Pointer<T>(), destination.Length).CopyTo(destination);
            return;
        }
        Shipment.Of(this)?.Arrive();
        source.View<T>().CopyToCPU(LaunchStream, destination);
        Finish(static device => device.DefaultStream.Synchronize());
    }

    /// <summary>Copies the bytes of one slice into another of the same type and length on this device.</summary>
    public unsafe void CopyWithin(Slice source, Slice destination)
    {
        long bytes = (long)source.Length * source.Type.Size();
        if (bytes == 0)
            return;
        if (LaunchRecord.Current is { } record)
        {
            record.Run(this, new RecordedCopyWithin(source, destination));
            return;
        }
        if (IsDirect)
        {
            Buffer.MemoryCopy(source.Pointer<byte>() + source.Offset * (source.Type.Size() - 1L), destination.Pointer<byte>() + destination.Offset * (destination.Type.Size() - 1L), bytes, bytes);
            return;
        }
        Shipment.Of(this)?.Arrive();
        Bytes(source, bytes).CopyTo(LaunchStream, Bytes(destination, bytes));

        static ArrayView<byte> Bytes(Slice slice, long count) => slice.Block.View<byte>(slice.Offset * (long)slice.Type.Size(), count);
    }

    private StagedCopies? Copies(ref StagedCopies? copies, Func<Accelerator, AcceleratorStream> stream)
    {
        if (!AllowAsynchronousCopies || accelerator is null)
            return null;
        if (copies is not null)
            return copies;
        lock (copyGate)
        {
            marks ??= StreamMarks.Of(accelerator);
            return marks is null ? null : copies ??= new(accelerator, stream(accelerator), marks);
        }
    }
}
