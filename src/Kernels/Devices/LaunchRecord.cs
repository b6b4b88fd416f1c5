namespace TransferEngine.Kernels;

/// <summary>
/// The launches and copies that one thread asks a device for between <see cref="Begin"/> and <see cref="End"/>. They run as they come and are kept, so that
/// <see cref="Replay"/> can run them again on the same memory, without anything being computed on the host. Begun a second time, it compares: what is asked for
/// must be what is kept, launch by launch and number by number, which shows that nothing but memory and random streams changes from one time to the next.
/// </summary>
internal sealed class LaunchRecord(ComputeDevice device) : IDisposable
{
    [ThreadStatic]
    private static LaunchRecord? current;

    private readonly List<RecordedWork> works = [];
    private readonly List<RecordedDraw> draws = [];
    private LaunchGraphs? graphs;
    private int workPlace, drawPlace;

    /// <summary>The record that this thread's launches enter; null where they just run, and inside of launches.</summary>
    public static LaunchRecord? Current => current;

    /// <summary>Where memory comes from as long as it records.</summary>
    public MemoryArena Arena { get; } = new(device.Memory);

    /// <summary>Whether it was ended once, so that what is asked for now is compared.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>Refuses what can't be run again, because its result goes to the host.</summary>
    /// <param name="what">What was asked for.</param>
    public static void Refuse(string what)
    {
        if (current is not null)
            throw new CaptureException($"{what} within a captured step: what the host reads or draws there would not be read or drawn again. Move it out of the step, or don't capture.");
    }

    public void Begin()
    {
        Refuse("Another capture");
        (workPlace, drawPlace) = (0, 0);
        Arena.Begin(repeats: IsComplete);
        current = this;
    }

    /// <summary>Ends recording; called however the work ended.</summary>
    /// <param name="isWhole">Whether all was asked for.</param>
    public void End(bool isWhole)
    {
        current = null;
        bool isShort = IsComplete && (workPlace < works.Count || drawPlace < draws.Count);
        if (isWhole && !isShort)
        {
            IsComplete = true;
            return;
        }
        // Streams are put back to where they were.
        while (drawPlace > 0)
            draws[--drawPlace].PutBack();
        if (isWhole)
            throw Differs($"it ended before {(workPlace < works.Count ? $"{works[workPlace].Name}, launch {workPlace + 1}," : "a random draw")} of {works.Count} launches");
    }

    /// <summary>Keeps some work, and runs it.</summary>
    public void Run(ComputeDevice asked, RecordedWork work)
    {
        if (!ReferenceEquals(asked, device))
            throw new CaptureException($"{work.Name} on {asked.Description.Name} within a captured step of {device.Description.Name}: a step is captured on one device. Move its tensors there first.");
        if (!IsComplete)
            works.Add(work);
        else if (workPlace == works.Count)
            throw Differs($"{work.Name} comes after the last of {works.Count} launches");
        else if (!works[workPlace].IsSame(work))
            throw Differs($"launch {workPlace + 1} is {work.Name}{(works[workPlace].Name == work.Name ? " with other numbers" : $", and was {works[workPlace].Name}")}");
        workPlace++;
        current = null;
        try
        {
            work.Run(device);
        }
        finally
        {
            current = this;
        }
    }

    /// <summary>Keeps a draw from a random stream, and marks the state that it took, by which its launches are known.</summary>
    public PhiloxState Drawn(PhiloxState taken, PhiloxStream source, ulong counters)
    {
        if (!IsComplete)
            draws.Add(new(source, counters));
        else if (drawPlace == draws.Count || !draws[drawPlace].IsSame(source, counters))
            throw Differs("another random stream is drawn from, or more of it");
        var draw = draws[drawPlace++];
        draw.State = taken with { Draw = draw };
        return draw.State;
    }

    /// <summary>Runs all launches again, in order, with new random numbers. Allocates nothing, but the first time by graphs, which makes them.</summary>
    public void Replay()
    {
        if (device.AllowGraphs && device.GraphCalls is { } calls)
            graphs ??= new(device, calls, works);
        else
            DropGraphs();
        foreach (var draw in draws)
            draw.Take();
        if (graphs is not null)
        {
            graphs.Launch();
            return;
        }
        foreach (var work in works)
            work.Run(device);
    }

    /// <summary>Lets the memory go.</summary>
    public void Dispose()
    {
        DropGraphs();
        Arena.Close();
    }

    private void DropGraphs()
    {
        graphs?.Dispose();
        graphs = null;
    }

    private static CaptureException Differs(string how) => new(
        $"The step differs from the one before: {how}. A number of the host that changes from step to step would stay what it was: hand it in as an input tensor, or don't capture.");
}

/// <summary>A draw that is made anew at each replay.</summary>
internal sealed class RecordedDraw(PhiloxStream source, ulong counters)
{
    public PhiloxState State { get; set; }

    public void Take() => State = source.Advance(counters);

    public void PutBack() => source.State = State;

    public bool IsSame(PhiloxStream other, ulong wanted) => ReferenceEquals(source, other) && wanted == counters;
}
