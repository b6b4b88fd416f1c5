using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

/// <summary>The CUDA driver's calls that make a graph of launches and launch it; of its own so that tests can stand in for the driver.</summary>
internal interface IGraphCalls
{
    /// <summary>cuStreamBeginCapture: from here on a stream's launches are noted, not run.</summary>
    CudaError BeginCapture(nint stream);

    /// <summary>cuStreamEndCapture: also needed after a failure midway, when there is no graph.</summary>
    CudaError EndCapture(nint stream, out nint graph);

    /// <summary>cuGraphInstantiateWithFlags.</summary>
    CudaError Instantiate(nint graph, out nint executable);

    /// <summary>cuGraphLaunch.</summary>
    CudaError Launch(nint executable, nint stream);

    /// <summary>cuGraphExecDestroy.</summary>
    CudaError DestroyExecutable(nint executable);

    /// <summary>cuGraphDestroy.</summary>
    CudaError DestroyGraph(nint graph);
}

/// <summary>The driver itself. It has run on no card yet.</summary>
internal sealed class CudaGraphCalls(Accelerator accelerator) : IGraphCalls
{
    public CudaError BeginCapture(nint stream)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.StreamBeginCapture(stream, CudaDriver.CaptureOfThisThread);
    }

    public CudaError EndCapture(nint stream, out nint graph)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.StreamEndCapture(stream, out graph);
    }

    public CudaError Instantiate(nint graph, out nint executable)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.GraphInstantiate(out executable, graph, 0);
    }

    public CudaError Launch(nint executable, nint stream)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.GraphLaunch(executable, stream);
    }

    public CudaError DestroyExecutable(nint executable)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.GraphExecDestroy(executable);
    }

    public CudaError DestroyGraph(nint graph)
    {
        using var binding = accelerator.BindScoped();
        return CudaDriver.GraphDestroy(graph);
    }
}
