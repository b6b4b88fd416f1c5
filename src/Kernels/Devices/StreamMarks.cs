using System.Runtime.CompilerServices;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace TransferEngine.Kernels;

/// <summary>Places in a stream's work that another stream, or the host, can wait for: events of the driver, which ILGPU 1.5.3 has for profiling alone. Safe from several threads.</summary>
internal abstract class StreamMarks
{
    /// <summary>Marks the end of what a stream was asked for so far, and lets it begin on that.</summary>
    public abstract nint Set(AcceleratorStream stream);

    /// <summary>Lets what a stream is asked for later wait for a mark; the host goes on.</summary>
    public abstract void Wait(AcceleratorStream stream, nint mark);

    /// <summary>Whether the work before a mark is done.</summary>
    public abstract bool IsReached(nint mark);

    /// <summary>Makes the host wait for a mark.</summary>
    public abstract void Await(nint mark);

    /// <summary>Gives a mark back, also one that streams still wait for.</summary>
    public abstract void Release(nint mark);

    /// <summary>The marks of a device; null for ILGPU's CPU accelerator.</summary>
    public static StreamMarks? Of(Accelerator accelerator) => accelerator switch
    {
        CLAccelerator => new OpenCLMarks(),
        CudaAccelerator => new CudaMarks(accelerator),
        _ => null,
    };
}

/// <summary>Events of barriers; ILGPU has the calls, but not in public (checked by the tests at the version that is pinned).</summary>
internal sealed unsafe class OpenCLMarks : StreamMarks
{
    private static readonly CLAPI Api = CLAPI.CurrentAPI;

    public override nint Set(AcceleratorStream stream)
    {
        nint mark = 0, queue = ((CLStream)stream).CommandQueue;
        CLException.ThrowIfFailed(EnqueueBarrierWithWaitList(Api, queue, [], &mark));
        CLException.ThrowIfFailed(Api.FlushCommandQueue(queue)); // other queues may wait for what was handed over alone
        return mark;
    }

    public override void Wait(AcceleratorStream stream, nint mark) => CLException.ThrowIfFailed(EnqueueBarrierWithWaitList(Api, ((CLStream)stream).CommandQueue, [mark], null));

    public override bool IsReached(nint mark)
    {
        int status;
        CLException.ThrowIfFailed(GetEventInfo(Api, mark, CLEventInfo.CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(int), &status));
        return status <= 0; // done, or failed
    }

    public override void Await(nint mark)
    {
        ReadOnlySpan<nint> marks = [mark];
        CLException.ThrowIfFailed(WaitForEvents(Api, marks));
    }

    public override void Release(nint mark) => CLException.ThrowIfFailed(ReleaseEvent(Api, mark));

    [UnsafeAccessor(UnsafeAccessorKind.Method)]
    private static extern CLError EnqueueBarrierWithWaitList(CLAPI api, nint queue, nint[] waitEvents, nint* resultEvent);

    [UnsafeAccessor(UnsafeAccessorKind.Method)]
    private static extern CLError GetEventInfo(CLAPI api, nint mark, CLEventInfo what, nint size, void* value);

    [UnsafeAccessor(UnsafeAccessorKind.Method)]
    private static extern CLError WaitForEvents(CLAPI api, ReadOnlySpan<nint> events);

    [UnsafeAccessor(UnsafeAccessorKind.Method)]
    private static extern CLError ReleaseEvent(CLAPI api, nint mark);
}

/// <summary>Events of CUDA. It has run on no card yet.</summary>
internal sealed class CudaMarks(Accelerator accelerator) : StreamMarks
{
    private static readonly CudaAPI Api = CudaAPI.CurrentAPI;

    public override nint Set(AcceleratorStream stream)
    {
        using var binding = accelerator.BindScoped();
        CudaException.ThrowIfFailed(Api.CreateEvent(out nint mark, CudaEventFlags.CU_EVENT_DISABLE_TIMING));
        CudaException.ThrowIfFailed(Api.RecordEvent(mark, ((CudaStream)stream).StreamPtr));
        return mark;
    }

    public override void Wait(AcceleratorStream stream, nint mark)
    {
        using var binding = accelerator.BindScoped();
        CudaException.ThrowIfFailed(CudaDriver.StreamWaitEvent(((CudaStream)stream).StreamPtr, mark, 0));
    }

    public override bool IsReached(nint mark)
    {
        using var binding = accelerator.BindScoped();
        var state = Api.QueryEvent(mark);
        if (state == CudaError.CUDA_ERROR_NOT_READY)
            return false;
        CudaException.ThrowIfFailed(state);
        return true;
    }

    public override void Await(nint mark)
    {
        using var binding = accelerator.BindScoped();
        CudaException.ThrowIfFailed(Api.SynchronizeEvent(mark));
    }

    public override void Release(nint mark)
    {
        using var binding = accelerator.BindScoped();
        CudaException.ThrowIfFailed(Api.DestroyEvent(mark));
    }
}
