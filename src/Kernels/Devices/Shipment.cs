namespace TransferEngine.Kernels;

/// <summary>
/// Copies to a device that the thread which began it asks for, on the device's stream for copies, while the stream of launches goes on. They wait for what had been launched
/// before, whose memory they may be given; launches wait for them from <see cref="Arrive"/> on, which whoever uses the copied numbers calls first. A launch or a
/// copy by the thread itself arrives by itself, and so does memory that is given back.
/// </summary>
internal sealed class Shipment : IDisposable
{
    [ThreadStatic]
    private static Shipment? current;

    private readonly ComputeDevice device;
    private readonly StagedCopies copies;
    private readonly StreamMarks marks;
    private readonly Shipment? outer;
    private readonly Lock gate = new();
    private bool isOpen = true, isUnderway;
    private nint end;

    public Shipment(ComputeDevice device, StagedCopies copies, StreamMarks marks)
    {
        (this.device, this.copies, this.marks, outer) = (device, copies, marks, current);
        current = this;
    }

    /// <summary>The one that this thread's copies to a device belong to, if any.</summary>
    public static Shipment? Of(ComputeDevice device) => current is { } shipment && ReferenceEquals(shipment.device, device) ? shipment : null;

    public void Copy<T>(ReadOnlySpan<T> source, Slice destination) where T : unmanaged
    {
        lock (gate)
        {
            // Each copy anew: the memory may have been in use a moment ago.
            nint before = marks.Set(device.LaunchStream);
            marks.Wait(copies.Stream, before);
            marks.Release(before);
            (isUnderway, destination.Block.Shipment) = (true, this);
            copies.Copy(source, destination);
        }
    }

    /// <summary>Ends it; the thread's further copies are ordinary ones. What was copied is ready for launches once it has arrived.</summary>
    public void End()
    {
        lock (gate)
        {
            if (!isOpen)
                return;
            (isOpen, current) = (false, outer);
            if (isUnderway)
                end = marks.Set(copies.Stream);
        }
    }

    /// <summary>Lets launches from now on wait for the copies so far; the host goes on. Nothing if they arrived already, or the device is closed.</summary>
    public void Arrive()
    {
        lock (gate)
        {
            if (!isUnderway || device.IsClosed)
                return;
            nint mark = isOpen ? marks.Set(copies.Stream) : end;
            marks.Wait(device.LaunchStream, mark);
            marks.Release(mark);
            isUnderway = false;
        }
    }

    /// <summary>Ends it if its work failed midway, and lets all arrive.</summary>
    public void Dispose()
    {
        End();
        Arrive();
    }
}
