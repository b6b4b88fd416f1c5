namespace TransferEngine.Kernels;

/// <summary>A stream that states are taken from, each of which is its taker's own for so many counters. For several threads.</summary>
internal sealed class PhiloxStream(ulong seed)
{
    private readonly Lock gate = new();
    private PhiloxState state = new(seed, 0);

    public PhiloxState State
    {
        get
        {
            lock (gate)
                return state;
        }
        set
        {
            lock (gate)
                state = new(value.Seed, value.Position);
        }
    }

    /// <summary>The state for a kernel; in a captured step each replay takes another.</summary>
    public PhiloxState Take(ulong counters)
    {
        var taken = Advance(counters);
        return LaunchRecord.Current is { } record ? record.Drawn(taken, this, counters) : taken;
    }

    /// <summary>The state for numbers that the host draws, which a captured step can't draw again.</summary>
    /// <param name="method">Who draws, for the message.</param>
    /// <param name="counters">How many it uses.</param>
    public PhiloxState TakeHere(string method, ulong counters)
    {
        LaunchRecord.Refuse(method);
        return Advance(counters);
    }

    /// <summary>The present state; the stream goes on after so many counters.</summary>
    public PhiloxState Advance(ulong counters)
    {
        lock (gate)
        {
            var taken = state;
            state = taken.Advance(counters);
            return taken;
        }
    }
}
