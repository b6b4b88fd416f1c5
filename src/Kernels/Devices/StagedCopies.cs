using System.Runtime.InteropServices;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// Copies to a device, on one stream, that the host doesn't wait for: the numbers are put into memory of the host that the driver may read later, page-locked where there is such
/// (CUDA), and the copy from there is queued. The memory is a few large stretches, filled one after the other and used again once the stream has passed; only when all
/// are in use does the host wait for the oldest. Safe from several threads.
/// </summary>
/// <param name="accelerator">The device.</param>
/// <param name="stream">Where the copies are queued.</param>
/// <param name="marks">The device's marks.</param>
/// <param name="bytes">The length of a stretch.</param>
/// <param name="most">How many stretches there may be.</param>
internal sealed class StagedCopies(Accelerator accelerator, AcceleratorStream stream, StreamMarks marks, int bytes = 4 << 20, int most = 32) : IDisposable
{
    private readonly Lock gate = new();
    private readonly Queue<(PageLockedArray1D<byte> Memory, nint Mark)> used = new();
    private PageLockedArray1D<byte>? current;
    private int filled, made;

    /// <summary>Where the copies are queued.</summary>
    public AcceleratorStream Stream => stream;

    /// <summary>How often the host had to wait.</summary>
    public long Waits { get; private set; }

    /// <summary>Queues a copy of the numbers, which may change as soon as this returns.</summary>
    public void Copy<T>(ReadOnlySpan<T> source, Slice destination) where T : unmanaged
    {
        var rest = MemoryMarshal.AsBytes(source);
        long to = destination.Offset * (long)destination.Type.Size();
        lock (gate)
        {
            while (!rest.IsEmpty)
            {
                if (current is null || filled == bytes)
                    Next();
                int part = Math.Min(rest.Length, bytes - filled);
                var own = current!.Span.Slice(filled, part);
                rest[..part].CopyTo(own);
                destination.Block.View<byte>(to, part).CopyFromCPUUnsafeAsync(stream, ref MemoryMarshal.GetReference(own), part);
                filled += part;
                rest = rest[part..];
                to += part;
            }
        }
    }

    /// <summary>Gives the memory back; the stream has ended.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            while (used.TryDequeue(out var item))
            {
                marks.Release(item.Mark);
                item.Memory.Dispose();
            }
            current?.Dispose();
            current = null;
        }
    }

    /// <summary>Turns to the next stretch: the oldest if the stream has passed it, else a new one.</summary>
    private void Next()
    {
        if (current is not null)
            used.Enqueue((current, marks.Set(stream)));
        (current, filled) = (null, 0);
        if (used.TryPeek(out var oldest) && (made == most || marks.IsReached(oldest.Mark)))
        {
            if (!marks.IsReached(oldest.Mark))
            {
                Waits++;
                marks.Await(oldest.Mark);
            }
            used.Dequeue();
            marks.Release(oldest.Mark);
            current = oldest.Memory;
            return;
        }
        current = accelerator.AllocatePageLocked1D<byte>(bytes, uninitialized: true);
        made++;
    }
}
