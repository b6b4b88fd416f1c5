using System.Reflection;
using System.Runtime.InteropServices;
using ILGPU.Runtime.OpenCL;
using TransferEngine.Kernels;

namespace TransferEngine.Tests;

/// <summary>The machines that a kernel is tested on, each opened once for the whole test process.</summary>
internal static partial class TestDevices
{
    private static readonly Dictionary<string, Lazy<(ComputeDevice? Device, string Why)>> Opened = new()
    {
        ["direct"] = new(() => (ComputeDevice.Open(DeviceKind.Cpu, 0), "")),
        ["emulator"] = new(() => (ComputeDevice.OpenEmulator(), "")),
        ["opencl"] = new(() => Open(DeviceKind.OpenCL)),
        ["cuda"] = new(() => Open(DeviceKind.Cuda)),
    };

    /// <summary>The names of all machines, there or not.</summary>
    public static IEnumerable<string> Names => Opened.Keys;

    /// <summary>Theory data: every machine.</summary>
    public static TheoryData<string> All => [.. Names];

    /// <summary>The machine, or a skip with the reason; where REQUIRE_OPENCL is set (in CI), a missing OpenCL device is a failure.</summary>
    public static ComputeDevice Get(string name)
    {
        var (device, why) = Opened[name].Value;
        if (device is null && name == "opencl" && Environment.GetEnvironmentVariable("REQUIRE_OPENCL") == "1")
            Assert.Fail($"OpenCL is required here and is not there: {why}");
        Skip.If(device is null, why);
        return device!;
    }

    /// <summary>The machine opened once more, the caller's to close, or a skip as <see cref="Get"/>'s.</summary>
    public static ComputeDevice OpenAnew(string name)
    {
        var kind = Get(name).Kind;
        return Open(kind) is ({ } device, _) ? device : throw new InvalidOperationException($"{name} could be opened once, but not twice.");
    }

    private static (ComputeDevice? Device, string Why) Open(DeviceKind kind)
    {
        try
        {
            // PoCL 3 lacks the generic address space: its builds define the word away, and ILGPU, which refuses such a device, is told
            // that it is there. For tests only; users get ILGPU's own judgement of their driver.
            if (OperatingSystem.IsLinux())
                _ = SetNativeEnvironment("POCL_EXTRA_BUILD_FLAGS", "-D__generic=__global", 1);
            return (kind == DeviceKind.OpenCL ? ComputeDevice.Open(kind, 0, AllowMissingGenericAddressSpace) : ComputeDevice.Open(kind, 0), "");
        }
        catch (DeviceUnavailableException e)
        {
            return (null, e.Message);
        }
    }

    // Environment.SetEnvironmentVariable does not reach native code on Unix.
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetNativeEnvironment(string name, string value, int overwrite);

    private static void AllowMissingGenericAddressSpace(ILGPU.Runtime.Device device)
    {
        if (device is CLDevice { Capabilities: var capabilities })
            typeof(CLCapabilityContext).GetProperty(nameof(CLCapabilityContext.GenericAddressSpace), BindingFlags.Public | BindingFlags.Instance)!.SetValue(capabilities, true);
    }
}
