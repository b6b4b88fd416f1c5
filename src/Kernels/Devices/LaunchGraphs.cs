using ILGPU.Runtime.Cuda;

namespace TransferEngine.Kernels;

/// <summary>
/// The launches of a <see cref="LaunchRecord"/> as graphs of the CUDA driver: each stretch of launches whose arguments never change is one graph, noted without being run and
/// launched by a single call. What changes from one replay to the next stays a launch of its own between them: random draws, whose stream goes on, and copies from the host.
/// </summary>
internal sealed class LaunchGraphs : IDisposable
{
    /// <summary>A stretch of fewer launches is not worth a graph.</summary>
    private const int Shortest = 2;

    private readonly ComputeDevice device;
    private readonly IGraphCalls calls;
    private readonly List<Part> parts = [];
    private bool wasLaunched;

    /// <summary>Makes the graphs; nothing runs.</summary>
    /// <exception cref="DeviceKernelException">The driver refuses; what had been made is given back.</exception>
    public LaunchGraphs(ComputeDevice device, IGraphCalls calls, IReadOnlyList<RecordedWork> works)
    {
        (this.device, this.calls) = (device, calls);
        try
        {
            for (int start = 0, end; start < works.Count; start = end)
            {
                for (end = start; end < works.Count && works[end].IsFixed; end++)
                {
                }
                if (end - start >= Shortest)
                {
                    parts.Add(Captured(works, start, end));
                    continue;
                }
                parts.Add(new(works[start], 0, 0));
                end = start + 1;
            }
        }
        catch (EntryPointNotFoundException e)
        {
            Dispose();
            throw new DeviceKernelException($"{device.Description.Name} can't replay a captured step as a graph: its driver is too old ({e.Message}). Install one of CUDA 11.4 or later, or set Device.AllowGraphs to false.", e);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>How many graphs there are.</summary>
    public int Count => parts.Count(part => part.Work is null);

    /// <summary>Launches all, in order. Allocates nothing.</summary>
    public void Launch()
    {
        wasLaunched = true;
        foreach (var part in parts)
        {
            if (part.Work is { } work)
            {
                work.Run(device);
                continue;
            }
            Check(device.LaunchGraph(calls, part.Executable, part.Launches), "cuGraphLaunch");
        }
    }

    /// <summary>Gives the graphs back, once they have run.</summary>
    public void Dispose()
    {
        if (!device.IsClosed)
        {
            if (wasLaunched)
                AwaitEnd();
            foreach (var part in parts)
            {
                if (part.Work is null)
                    calls.DestroyExecutable(part.Executable);
            }
        }
        parts.Clear();
        wasLaunched = false;
    }

    private void AwaitEnd()
    {
        try
        {
            device.Synchronize();
        }
        catch (DeviceKernelException)
        {
            // What failed is said where its results are asked for.
        }
    }

    private Part Captured(IReadOnlyList<RecordedWork> works, int start, int end)
    {
        nint graph = 0;
        int launches = 0;
        using (var capture = device.BeginCapture())
        {
            Check(calls.BeginCapture(capture.Stream), "cuStreamBeginCapture");
            try
            {
                for (int i = start; i < end; i++)
                {
                    works[i].Run(device);
                    launches += works[i].Launches;
                }
            }
            catch
            {
                // The stream must not stay as it is.
                calls.EndCapture(capture.Stream, out graph);
                if (graph != 0)
                    calls.DestroyGraph(graph);
                throw;
            }
            finally
            {
                device.CountLaunches(-launches); // they are counted when they run
            }
            Check(calls.EndCapture(capture.Stream, out graph), "cuStreamEndCapture");
        }
        try
        {
            Check(calls.Instantiate(graph, out nint executable), "cuGraphInstantiateWithFlags");
            return new(null, executable, launches);
        }
        finally
        {
            calls.DestroyGraph(graph);
        }
    }

    private void Check(CudaError error, string call)
    {
        if (error != CudaError.CUDA_SUCCESS)
            throw new DeviceKernelException($"{device.Description.Name} refuses to replay a captured step as a graph: {call} gave {error}. Set Device.AllowGraphs to false to replay it launch by launch.");
    }

    /// <param name="Work">What is launched by itself; null for a graph.</param>
    /// <param name="Executable">The graph.</param>
    /// <param name="Launches">How many launches it is.</param>
    private readonly record struct Part(RecordedWork? Work, nint Executable, int Launches);
}
