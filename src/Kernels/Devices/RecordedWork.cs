using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>One launch or copy with its arguments, which can be run again.</summary>
internal abstract class RecordedWork
{
    /// <summary>What it is, for messages: the kernel and its functions.</summary>
    public abstract string Name { get; }

    /// <summary>Whether each run asks the device for the same with the same arguments, and for nothing of the host's memory: what a graph can hold.</summary>
    public virtual bool IsFixed => true;

    /// <summary>The kernels that it launches.</summary>
    public virtual int Launches => 1;

    public abstract void Run(ComputeDevice device);

    /// <summary>Whether other work is the same to the last argument.</summary>
    public abstract bool IsSame(RecordedWork other);
}

internal sealed class RecordedLaunch<T, K>(int items, K kernel) : RecordedWork where T : unmanaged where K : struct, IKernel<T>
{
    private readonly int items = items;
    private readonly K kernel = kernel;

    public override string Name => KernelLoader.NameOf(typeof(K));

    public override void Run(ComputeDevice device) => device.Launch<T, K>(items, kernel);

    public override bool IsSame(RecordedWork other) => other is RecordedLaunch<T, K> its && its.items == items && EqualityComparer<K>.Default.Equals(its.kernel, kernel);
}

/// <summary>A launch that takes numbers from a random stream: from where it stands at each run.</summary>
internal sealed class RecordedDrawing<T, K>(int items, K kernel, RecordedDraw draw) : RecordedWork where T : unmanaged where K : struct, IKernel<T>, IDrawing<K>
{
    private readonly int items = items;
    private readonly K kernel = kernel;
    private readonly RecordedDraw draw = draw;

    public override bool IsFixed => false;

    public override string Name => KernelLoader.NameOf(typeof(K));

    public override void Run(ComputeDevice device) => device.Launch<T, K>(items, kernel.At(draw.State));

    public override bool IsSame(RecordedWork other) =>
        other is RecordedDrawing<T, K> its && its.items == items && ReferenceEquals(its.draw, draw) && EqualityComparer<K>.Default.Equals(its.kernel.At(default), kernel.At(default));
}

internal sealed class RecordedGroups<T, K>(KernelConfig groups, K kernel) : RecordedWork where T : unmanaged where K : struct, IGroupKernel<T>
{
    private readonly KernelConfig groups = groups;
    private readonly K kernel = kernel;

    public override string Name => KernelLoader.NameOf(typeof(K));

    public override void Run(ComputeDevice device) => device.LaunchGroups<T, K>(groups, kernel);

    public override bool IsSame(RecordedWork other) => other is RecordedGroups<T, K> its && its.groups.Equals(groups) && EqualityComparer<K>.Default.Equals(its.kernel, kernel);
}

/// <summary>Work of the CPU's team. It runs on a copy, as it may change itself.</summary>
internal sealed class RecordedTeamWork<W>(int items, W work) : RecordedWork where W : struct, IWork
{
    private readonly int items = items;
    private readonly W work = work;

    public override bool IsFixed => false;

    public override string Name => KernelLoader.NameOf(typeof(W));

    public override void Run(ComputeDevice device)
    {
        var copy = work;
        device.RunWork(items, ref copy);
    }

    public override bool IsSame(RecordedWork other) => other is RecordedTeamWork<W> its && its.items == items && EqualityComparer<W>.Default.Equals(its.work, work);
}

/// <summary>Numbers that the host put into the device's memory.</summary>
internal sealed class RecordedCopyIn<T>(T[] values, Slice destination) : RecordedWork where T : unmanaged
{
    private readonly T[] values = values;
    private readonly Slice destination = destination;

    public override bool IsFixed => false;

    public override int Launches => 0;

    public override string Name => "a copy of numbers of the host";

    public override void Run(ComputeDevice device) => device.CopyIn<T>(values, destination);

    public override bool IsSame(RecordedWork other) => other is RecordedCopyIn<T> its && its.destination == destination && its.values.AsSpan().SequenceEqual(values);
}

internal sealed class RecordedCopyWithin(Slice source, Slice destination) : RecordedWork
{
    private readonly Slice source = source, destination = destination;

    public override int Launches => 0;

    public override string Name => "a copy within the device";

    public override void Run(ComputeDevice device) => device.CopyWithin(source, destination);

    public override bool IsSame(RecordedWork other) => other is RecordedCopyWithin its && its.source == source && its.destination == destination;
}
