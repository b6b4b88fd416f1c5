using System.Globalization;
using System.Runtime.InteropServices;

namespace TransferEngine.Benchmarks;

/// <summary>Where something was measured.</summary>
internal static class Machine
{
    /// <summary>Date, processor and cores, device.</summary>
    public static string Describe(Device device)
    {
        string processor = RuntimeInformation.ProcessArchitecture.ToString();
        if (File.Exists("/proc/cpuinfo"))
            processor = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? processor;
        return string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-dd}, {Environment.ProcessorCount} cores of {processor}, {RuntimeInformation.OSDescription}, {device} {device.Name}");
    }
}
