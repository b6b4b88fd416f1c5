using System.Numerics;
using System.Text;

namespace TransferEngine.Kernels;

/// <summary>
/// Hands out and takes back blocks of one device's memory. A returned block waits in the free list of its size class, so that steady work
/// allocates nothing. Work on a device runs in order, so a block may be handed out again while its last reader is still queued.
/// </summary>
internal sealed class MemoryPool(IBlockSource source, string device) : IDisposable
{
    /// <summary>Outstanding bytes past which the pool asks for a collection before it grows, at the least.</summary>
    private const long CollectionFloor = 256L << 20;

    private readonly Lock gate = new();
    private readonly Dictionary<long, Stack<MemoryBlock>> free = [];
    private readonly MemoryBlock head = new(default, null, 0);
    private long collectAt = CollectionFloor;
    private bool disposed;

    /// <summary>Bytes in blocks that are handed out.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>The largest <see cref="LiveBytes"/> since the pool was made or <see cref="ResetPeak"/>.</summary>
    public long PeakBytes { get; private set; }

    /// <summary>Bytes taken from the device, handed out or waiting.</summary>
    public long ReservedBytes { get; private set; }

    /// <summary>The most bytes that may be taken from the device.</summary>
    public long LimitBytes { get; set; } = long.MaxValue;

    public void ResetPeak()
    {
        lock (gate)
            PeakBytes = LiveBytes;
    }

    /// <summary>Hands out a block of at least <paramref name="bytes"/> bytes with undefined contents; <paramref name="label"/> names it in errors.</summary>
    /// <param name="bytes">How many are wanted.</param>
    /// <param name="label">What the block is for.</param>
    /// <param name="isTable">Whether the host itself writes into it, without a copy that the device knows of: a captured step keeps what it wrote.</param>
    public MemoryBlock Rent(long bytes, object? label, bool isTable = false) =>
        LaunchRecord.Current is { } record && record.Arena.Serves(this) ? record.Arena.Rent(SizeClass(bytes), label, isTable) : RentShared(bytes, label);

    /// <summary>Hands out a block that belongs to no arena.</summary>
    public MemoryBlock RentShared(long bytes, object? label)
    {
        long size = SizeClass(bytes);
        if (TryTake(size, label) is { } block)
            return block;
        if (ReservedBytes + size > LimitBytes || LiveBytes + size > collectAt)
        {
            Collect();
            if (TryTake(size, label) is { } collected)
                return collected;
            if (ReservedBytes + size > LimitBytes)
                Trim();
        }
        if (ReservedBytes + size > LimitBytes)
            throw OutOfMemory(bytes, $"its limit of {Bytes(LimitBytes)} is set", null);
        return Grow(bytes, size, label);
    }

    public void Return(MemoryBlock block)
    {
        block.Shipment?.Arrive();
        block.Shipment = null;
        if (block.Arena is { } arena && arena.TryReturn(block))
            return;
        lock (gate)
        {
            block.Unlink();
            block.Label = null;
            LiveBytes -= block.Bytes;
            if (disposed)
            {
                source.Free(block);
                return;
            }
            if (!free.TryGetValue(block.Bytes, out var waiting))
                free[block.Bytes] = waiting = new Stack<MemoryBlock>();
            waiting.Push(block);
        }
    }

    /// <summary>Gives waiting blocks back to the device.</summary>
    public void Trim()
    {
        lock (gate)
        {
            foreach (var waiting in free.Values)
            {
                while (waiting.TryPop(out var block))
                {
                    ReservedBytes -= block.Bytes;
                    source.Free(block);
                }
            }
        }
    }

    public void Dispose()
    {
        Trim();
        lock (gate)
            disposed = true;
    }

    /// <summary>Four classes to an octave, so that at most a fifth of a block is unused.</summary>
    internal static long SizeClass(long bytes)
    {
        if (bytes <= 512)
            return Math.Max(64, (bytes + 63) & ~63L);
        long step = 1L << (BitOperations.Log2((ulong)(bytes - 1)) - 2);
        return (bytes + step - 1) & -step;
    }

    private MemoryBlock? TryTake(long size, object? label)
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            return free.TryGetValue(size, out var waiting) && waiting.TryPop(out var block) ? HandOut(block, label) : null;
        }
    }

    private MemoryBlock Grow(long bytes, long size, object? label)
    {
        MemoryBlock block;
        try
        {
            block = source.Allocate(size);
        }
        catch (Exception)
        {
            // The device is full: what waits here, and what finalisers still hold, may be enough.
            Collect();
            Trim();
            try
            {
                block = source.Allocate(size);
            }
            catch (Exception second)
            {
                throw OutOfMemory(bytes, "the device refuses more", second);
            }
        }
        lock (gate)
        {
            ReservedBytes += size;
            return HandOut(block, label);
        }
    }

    private MemoryBlock HandOut(MemoryBlock block, object? label)
    {
        block.Label = label;
        block.LinkAfter(head);
        LiveBytes += block.Bytes;
        PeakBytes = Math.Max(PeakBytes, LiveBytes);
        return block;
    }

    /// <summary>Lets finalisers return what nobody holds any more.</summary>
    private void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        lock (gate)
            collectAt = Math.Max(CollectionFloor, 2 * LiveBytes);
    }

    private DeviceMemoryException OutOfMemory(long bytes, string why, Exception? inner)
    {
        var text = new StringBuilder($"{device}: no room for {Bytes(bytes)}: {why}; {Bytes(LiveBytes)} are in use, {Bytes(ReservedBytes)} reserved.");
        lock (gate)
        {
            var largest = new List<MemoryBlock>();
            for (var block = head.Next; block is not null; block = block.Next)
                largest.Add(block);
            if (largest.Count > 0)
                text.Append(" Largest: ").AppendJoin(", ", largest.OrderByDescending(b => b.Bytes).Take(5).Select(b => $"{b.Label ?? "work space"} ({Bytes(b.Bytes)})")).Append('.');
        }
        text.Append(" Use smaller batches, run inference under NoGrad, or raise Device.MemoryLimit.");
        return new DeviceMemoryException(text.ToString(), inner);
    }

    private static string Bytes(long bytes) => bytes < 1 << 20 ? $"{bytes:N0} bytes" : $"{bytes / (double)(1 << 20):N1} MiB";
}

/// <summary>Where a pool's blocks come from.</summary>
internal interface IBlockSource
{
    MemoryBlock Allocate(long bytes);

    void Free(MemoryBlock block);
}
