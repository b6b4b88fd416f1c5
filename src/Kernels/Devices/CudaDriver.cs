using System.Runtime.InteropServices;
using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

/// <summary>Calls of the CUDA driver that ILGPU 1.5.3 has not, from the library that it uses. None of them has run on a card yet.</summary>
internal static unsafe class CudaDriver
{
    private static readonly Lazy<nint> Library = new(() => NativeLibrary.Load(OperatingSystem.IsWindows() ? "nvcuda" : "libcuda.so.1"));

    /// <summary>Lets what a stream is asked for later wait for an event.</summary>
    public static CudaError StreamWaitEvent(nint stream, nint mark, uint flags) => ((delegate* unmanaged<nint, nint, uint, CudaError>)Call("cuStreamWaitEvent"))(stream, mark, flags);

    private static nint Call(string name) => NativeLibrary.GetExport(Library.Value, name);
}
