using TransferEngine.Kernels;

namespace TransferEngine.Tests;

/// <summary>The machines of <see cref="TestDevices"/> as the public type.</summary>
internal static class EngineDevices
{
    private static readonly Dictionary<ComputeDevice, Device> Wrapped = [];

    /// <summary>The machine, or a skip with the reason.</summary>
    public static Device Get(string name)
    {
        var compute = TestDevices.Get(name);
        lock (Wrapped)
            return Wrapped.TryGetValue(compute, out var device) ? device : Wrapped[compute] = new Device(compute);
    }
}
