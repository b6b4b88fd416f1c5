using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

internal sealed partial class ComputeDevice
{
    /// <summary>Where this thread's launches go as long as they are noted for a graph.</summary>
    [ThreadStatic]
    private static AcceleratorStream? noted;

    private AcceleratorStream? graphStream;
    private IGraphCalls? graphCalls;

    /// <summary>Whether replays of captured steps go by graphs of the CUDA driver; elsewhere without effect.</summary>
    public bool AllowGraphs { get; set; }

    /// <summary>How graphs are made; null where there are none. Tests give their own.</summary>
    public IGraphCalls? GraphCalls
    {
        get => graphCalls ??= accelerator is CudaAccelerator ? new CudaGraphCalls(accelerator) : null;
        set => graphCalls = value;
    }

    /// <summary>The stream that launches go to: CUDA's default one, which can't be noted, or in place of it one of its own.</summary>
    internal AcceleratorStream LaunchStream => noted is { } stream && ReferenceEquals(stream.Accelerator, accelerator) ? stream : accelerator!.DefaultStream;

    /// <summary>Lets this thread's launches go to a stream that can be noted, until it is disposed of.</summary>
    internal GraphCapture BeginCapture()
    {
        if (accelerator is CudaAccelerator)
            noted = graphStream ??= accelerator.CreateStream();
        return new((noted as CudaStream)?.StreamPtr ?? 0);
    }

    /// <summary>Queues a graph where launches go.</summary>
    internal CudaError LaunchGraph(IGraphCalls calls, nint executable, int kernels)
    {
        Shipment.Of(this)?.Arrive();
        var error = calls.Launch(executable, (accelerator?.DefaultStream as CudaStream)?.StreamPtr ?? 0);
        if (error == CudaError.CUDA_SUCCESS)
            CountLaunches(kernels);
        return error;
    }

    /// <summary>Counts launches that were none of <see cref="Launch"/>, or takes back some that did not run.</summary>
    internal void CountLaunches(int more) => Interlocked.Add(ref launches, more);

    /// <summary>A stretch of launches that are noted.</summary>
    /// <param name="Stream">The driver's pointer to the stream.</param>
    internal readonly record struct GraphCapture(nint Stream) : IDisposable
    {
        public void Dispose() => noted = null;
    }
}
