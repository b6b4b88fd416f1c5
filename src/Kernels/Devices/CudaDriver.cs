using System.Runtime.InteropServices;
using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

/// <summary>Calls of the CUDA driver that ILGPU 1.5.3 has not, from the library that it uses. None of them has run on a card yet.</summary>
internal static unsafe class CudaDriver
{
    /// <summary>CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile.</summary>
    public const int CaptureOfThisThread = 1;

    private static readonly Lazy<nint> Library = new(() => NativeLibrary.Load(OperatingSystem.IsWindows() ? "nvcuda" : "libcuda.so.1"));

    /// <summary>Lets what a stream is asked for later wait for an event.</summary>
    public static CudaError StreamWaitEvent(nint stream, nint mark, uint flags) => ((delegate* unmanaged<nint, nint, uint, CudaError>)Call("cuStreamWaitEvent"))(stream, mark, flags);

    /// <summary>Begins to note what a stream, not the default one, is asked for.</summary>
    public static CudaError StreamBeginCapture(nint stream, int mode) => ((delegate* unmanaged<nint, int, CudaError>)Call("cuStreamBeginCapture_v2"))(stream, mode);

    /// <summary>Ends that, and makes a graph of it.</summary>
    public static CudaError StreamEndCapture(nint stream, out nint graph)
    {
        fixed (nint* result = &graph)
            return ((delegate* unmanaged<nint, nint*, CudaError>)Call("cuStreamEndCapture"))(stream, result);
    }

    /// <summary>Makes of a graph what can be launched.</summary>
    public static CudaError GraphInstantiate(out nint executable, nint graph, ulong flags)
    {
        fixed (nint* result = &executable)
            return ((delegate* unmanaged<nint*, nint, ulong, CudaError>)Call("cuGraphInstantiateWithFlags"))(result, graph, flags);
    }

    /// <summary>Queues all that is in a graph.</summary>
    public static CudaError GraphLaunch(nint executable, nint stream) => ((delegate* unmanaged<nint, nint, CudaError>)Call("cuGraphLaunch"))(executable, stream);

    /// <summary>Gives back what was instantiated.</summary>
    public static CudaError GraphExecDestroy(nint executable) => ((delegate* unmanaged<nint, CudaError>)Call("cuGraphExecDestroy"))(executable);

    /// <summary>Gives a graph back.</summary>
    public static CudaError GraphDestroy(nint graph) => ((delegate* unmanaged<nint, CudaError>)Call("cuGraphDestroy"))(graph);

    private static nint Call(string name) => NativeLibrary.GetExport(Library.Value, name);
}
