namespace TransferEngine.Kernels;

/// <summary>
/// The memory of a <see cref="LaunchRecord"/>: blocks that no one else gets before it is closed, so that its launches find them again. While it records, what is
/// given back serves again, by the recording thread's own order of renting and returning alone; at a repetition the same rents get the same blocks.
/// </summary>
internal sealed class MemoryArena(MemoryPool pool)
{
    private readonly Lock gate = new();
    private readonly Dictionary<long, Stack<MemoryBlock>> free = [];
    private readonly List<MemoryBlock> owned = [], rents = [];
    private bool repeats;
    private int place;

    public bool IsClosed { get; private set; }

    /// <summary>Whether a pool's rents may be served from here.</summary>
    public bool Serves(MemoryPool other) => ReferenceEquals(other, pool);

    public void Begin(bool repeats) => (this.repeats, place) = (repeats, 0);

    /// <summary>Hands out a block, to the recording thread.</summary>
    public MemoryBlock Rent(long size, object? label, bool isTable)
    {
        // What was another's before would be that again in a replay, and a table is not written again.
        var block = repeats ? Again(size) : isTable ? Added(size, label) : Taken(size) ?? Added(size, label);
        if (!repeats)
        {
            block.IsTable = isTable;
            rents.Add(block);
        }
        block.IsHeld = true;
        return block;
    }

    /// <summary>Takes back a block. False if the arena is closed and the block is the pool's again.</summary>
    public bool TryReturn(MemoryBlock block)
    {
        lock (gate)
        {
            block.IsHeld = false;
            if (IsClosed)
            {
                block.Arena = null;
                return false;
            }
            // What another thread gives back, such as the one of finalisers, would come at another moment each time. A table is written by the host, but once.
            if (!repeats && !block.IsTable && LaunchRecord.Current?.Arena == this)
            {
                if (!free.TryGetValue(block.Bytes, out var waiting))
                    free[block.Bytes] = waiting = new Stack<MemoryBlock>();
                waiting.Push(block);
            }
            return true;
        }
    }

    private MemoryBlock Again(long size) => place < rents.Count && rents[place].Bytes == size && !rents[place].IsHeld ? rents[place++] : throw new CaptureException(
        "The step differs from the one before: it asks for memory of another size, or a tensor of that step is still held outside of it. Dispose of what a step makes, or don't capture.");

    private MemoryBlock? Taken(long size)
    {
        lock (gate)
            return free.TryGetValue(size, out var waiting) && waiting.TryPop(out var block) ? block : null;
    }

    private MemoryBlock Added(long size, object? label)
    {
        // Not under the lock: the pool may wait for finalisers, which return blocks.
        var block = pool.RentShared(size, label);
        block.Arena = this;
        owned.Add(block);
        return block;
    }

    /// <summary>Gives all blocks back to the pool, those that are held once they are returned.</summary>
    public void Close()
    {
        lock (gate)
        {
            if (IsClosed)
                return;
            IsClosed = true;
            foreach (var block in owned)
            {
                if (block.IsHeld)
                    continue;
                block.Arena = null;
                pool.Return(block);
            }
        }
    }
}
