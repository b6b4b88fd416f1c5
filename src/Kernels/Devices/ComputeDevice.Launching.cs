using System.Runtime.Intrinsics;
using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

internal sealed partial class ComputeDevice
{
    /// <summary>Elements of one work item of an element-wise kernel on the CPU: long enough to hide the hand-over, short enough to stay in the first cache.</summary>
    private const int DirectChunk = 8192;

    private readonly Lock launchGate = new();
    private long launches;
    private Type? latest;

    /// <summary>Launches so far, of every kind.</summary>
    public long Launches => Interlocked.Read(ref launches);

    /// <summary>What loads kernels through ILGPU; null on the direct path.</summary>
    internal KernelLoader? Loader { get; }

    /// <summary>The kernels, closed over their type arguments, that were loaded through ILGPU.</summary>
    public ICollection<Type> LoadedKernels => Loader?.Loaded ?? [];

    /// <summary>Where translated kernels are kept, null for nowhere; without effect on the CPU.</summary>
    public KernelCache? KernelCache
    {
        get => Loader?.Cache;
        set
        {
            if (Loader is not null)
                Loader.Cache = value;
        }
    }

    /// <summary>How many kernels ILGPU translated, and how many came from the cache.</summary>
    public (int Translated, int FromCache) KernelCounts => Loader?.Counts ?? default;

    /// <summary>Begins to load what the program has launched on such a device before.</summary>
    public Task<int> WarmUp(IProgress<double>? progress, CancellationToken cancellation) => Loader?.WarmUp(progress, cancellation) ?? Task.FromResult(0);

    /// <summary>The elements that one work item of an element-wise kernel over <paramref name="n"/> elements takes.</summary>
    public int ChunkOf(int n) => !IsDirect ? 1 : n <= 4 * DirectChunk ? Math.Max(n, 1) : DirectChunk;

    /// <summary>Runs items 0 to <paramref name="items"/> - 1 of a kernel. Allocates nothing once the kernel is loaded.</summary>
    public void Launch<T, K>(int items, in K kernel) where T : unmanaged where K : struct, IKernel<T>
    {
        if (items <= 0)
            return;
        if (LaunchRecord.Current is { } record)
        {
            record.Run(this, new RecordedLaunch<T, K>(items, kernel));
            return;
        }
        Interlocked.Increment(ref launches);
        if (!IsDirect)
            Guarded(typeof(K), (Action<AcceleratorStream, Index1D, K>)Loader!.Launcher(typeof(K)), items, in kernel);
        else if (Vector512.IsHardwareAccelerated)
            RunDirect<T, K, Simd512<T>>(items, in kernel);
        else if (Vector256.IsHardwareAccelerated)
            RunDirect<T, K, Simd256<T>>(items, in kernel);
        else
            RunDirect<T, K, Simd128<T>>(items, in kernel);
    }

    /// <summary>As <see cref="Launch"/> for a kernel that takes random numbers from a stream's state on.</summary>
    public void LaunchDrawing<T, K>(int items, in K kernel, PhiloxState state) where T : unmanaged where K : struct, IKernel<T>, IDrawing<K>
    {
        if (items > 0 && state.Draw is { } draw && LaunchRecord.Current is { } record)
            record.Run(this, new RecordedDrawing<T, K>(items, kernel, draw));
        else
            Launch<T, K>(items, kernel);
    }

    /// <summary>Runs a kernel of work groups; not on the CPU's direct path, which has SIMD variants of such kernels.</summary>
    public void LaunchGroups<T, K>(KernelConfig groups, in K kernel) where T : unmanaged where K : struct, IGroupKernel<T>
    {
        if (IsDirect)
            throw new NotSupportedException($"{typeof(K).Name} needs barriers, which the CPU's direct path does not have.");
        if (groups.GridDim.Size <= 0)
            return;
        if (LaunchRecord.Current is { } record)
        {
            record.Run(this, new RecordedGroups<T, K>(groups, kernel));
            return;
        }
        Interlocked.Increment(ref launches);
        Guarded(typeof(K), (Action<AcceleratorStream, KernelConfig, K>)Loader!.Launcher(typeof(K)), groups, in kernel);
    }

    /// <summary>Runs CPU work that is no ILGPU kernel, such as a packed matmul, on the team; only on the direct path.</summary>
    public void RunWork<TWork>(int items, ref TWork work) where TWork : struct, IWork
    {
        if (items <= 0)
            return;
        if (LaunchRecord.Current is { } record)
        {
            record.Run(this, new RecordedTeamWork<TWork>(items, work));
            return;
        }
        Interlocked.Increment(ref launches);
        Team.Run(items, ref work);
    }

    /// <summary>Launches, and names the kernel if the driver refuses.</summary>
    private void Guarded<TIndex, K>(Type type, Action<AcceleratorStream, TIndex, K> launch, TIndex items, in K kernel) where K : struct
    {
        latest = type;
        Shipment.Of(this)?.Arrive();
        try
        {
            // OpenCL keeps the arguments in the kernel until it is queued: another thread's must not come in between.
            lock (launchGate)
                launch(LaunchStream, items, kernel);
        }
        catch (Exception e) when (e is AcceleratorException or ArgumentException)
        {
            throw new DeviceKernelException($"{Description.Name} refuses to launch the kernel {KernelLoader.NameOf(type)}: {e.Message}", e);
        }
    }

    /// <summary>Waits for the device, and says which kernel was launched last if one failed as it ran.</summary>
    private void Finish(Action<Accelerator> wait)
    {
        Interlocked.Increment(ref waits);
        try
        {
            wait(accelerator!);
        }
        catch (AcceleratorException e)
        {
            throw new DeviceKernelException($"Work on {Description.Name} failed; {(latest is null ? "no kernel had been launched" : $"the latest kernel launched was {KernelLoader.NameOf(latest)}")}: {e.Message}", e);
        }
    }

    private void RunDirect<T, K, L>(int items, in K kernel) where T : unmanaged where K : struct, IKernel<T> where L : unmanaged, ILane<L, T>
    {
        var work = new LanedWork<T, K, L>(kernel);
        team!.Run(items, ref work);
    }
}
