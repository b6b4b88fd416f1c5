using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace TransferEngine.Kernels;

/// <summary>What a machine of this process offers, found without opening it.</summary>
internal sealed record DeviceDescription(DeviceKind Kind, int Index, string Name, long MemoryBytes, bool IsGraphicsProcessor, int Units);

/// <summary>
/// An open device: its memory pool, its launches (in the file Launching) and its copies (in Copying). Work on one device runs in the order in which it was asked for.
/// The CPU is served directly, without ILGPU's context or compiler; <see cref="OpenEmulator"/> opens ILGPU's own CPU accelerator, for tests.
/// </summary>
internal sealed partial class ComputeDevice : IBlockSource, IDisposable
{
    private readonly Context? context;
    private readonly Accelerator? accelerator;
    private readonly WorkerTeam? team;

    private ComputeDevice(DeviceDescription description, Context? context, Accelerator? accelerator)
    {
        Description = description;
        this.context = context;
        this.accelerator = accelerator;
        Loader = accelerator is null ? null : new KernelLoader(context!, accelerator);
        if (accelerator is null)
        {
            Direct.CheckLayout();
            team = new WorkerTeam(Environment.ProcessorCount);
        }
        Memory = new MemoryPool(this, description.Name);
        AllowAsynchronousCopies = Kind == DeviceKind.OpenCL;
    }

    public DeviceDescription Description { get; }

    public DeviceKind Kind => Description.Kind;

    public MemoryPool Memory { get; }

    /// <summary>Whether kernels are called directly, with SIMD lanes, and slices have addresses.</summary>
    public bool IsDirect => accelerator is null;

    /// <summary>Whether this is ILGPU's CPU accelerator, where barriers are slow and groups small.</summary>
    public bool IsEmulated => accelerator is CPUAccelerator;

    /// <summary>Whether 3 x 3 convolutions may run by minimal filtering, which rounds more than plain sums.</summary>
    public bool AllowWinograd { get; set; } = true;

    /// <summary>The arithmetic of float32 products on CUDA, those of convolutions among them.</summary>
    public MatMulPrecision MatMulPrecision { get; set; }

    /// <summary>Whether plain float32 products on CUDA, those of convolutions among them, may run by the tuned kernel.</summary>
    public bool AllowTunedMatMul { get; set; }

    /// <summary>Whether this is an NVIDIA processor whose copies can pass the registers by and whose tensor cores know TensorFloat32: compute capability 8.0.</summary>
    public bool HasAsynchronousCopies => accelerator is CudaAccelerator { Architecture: var architecture } && architecture >= CudaArchitecture.SM_80;

    /// <summary>The CPU's threads; only on the direct path.</summary>
    public WorkerTeam Team => team ?? throw new NotSupportedException($"{Description.Name} has no worker team: only the CPU device has.");

    /// <summary>The vector width of the direct path in bits: 512, 256 or 128.</summary>
    public static int VectorBits => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;

    /// <summary>Lists the devices of one kind, probing no other.</summary>
    public static IReadOnlyList<DeviceDescription> List(DeviceKind kind)
    {
        if (kind == DeviceKind.Cpu)
            return [new DeviceDescription(DeviceKind.Cpu, 0, $"CPU ({RuntimeInformation.ProcessArchitecture}, {VectorBits}-bit vectors)", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, false, Environment.ProcessorCount)];
        using var probed = Probe(kind);
        return probed is null ? [] : [.. Devices(probed, kind).Select(Describe)];
    }

    /// <param name="kind">Which kind.</param>
    /// <param name="index">Which of that kind, in the order of <see cref="List"/>.</param>
    /// <param name="prepare">What tests do to ILGPU's device before it is opened.</param>
    public static ComputeDevice Open(DeviceKind kind, int index, Action<Device>? prepare = null)
    {
        if (kind == DeviceKind.Cpu)
        {
            return index == 0
                ? new ComputeDevice(List(DeviceKind.Cpu)[0], null, null)
                : throw new DeviceUnavailableException($"cpu:{index} is not there: the CPU is one device, cpu:0. Set its number of threads with MaxDegreeOfParallelism.");
        }
        var context = Probe(kind) ?? throw new DeviceUnavailableException($"No {kind} driver was found on this machine. Install one, or open the CPU.");
        try
        {
            var devices = Devices(context, kind).ToList();
            if (index < 0 || index >= devices.Count)
                throw new DeviceUnavailableException($"{kind.ToString().ToLowerInvariant()}:{index} is not there: {devices.Count} such device(s) were found{string.Concat(devices.Select((d, i) => $"; {i}: {d.Name}"))}.");
            prepare?.Invoke(devices[index]);
            return new ComputeDevice(Describe(devices[index], index), context, devices[index].CreateAccelerator(context));
        }
        catch (Exception e)
        {
            context.Dispose();
            throw e as DeviceUnavailableException ?? new DeviceUnavailableException($"{kind} device {index} could not be opened: {e.Message}", e);
        }
    }

    /// <summary>Opens ILGPU's CPU accelerator, which emulates a GPU: far too slow for work, exact for tests of the kernels that GPUs run.</summary>
    public static ComputeDevice OpenEmulator()
    {
        var context = Context.Create(builder => Configure(builder).CPU(CPUDeviceKind.Default));
        var device = context.GetCPUDevice(0);
        return new ComputeDevice(new DeviceDescription(DeviceKind.Cpu, 0, "ILGPU's CPU accelerator", device.MemorySize, false, 1), context, device.CreateAccelerator(context));
    }

    /// <summary>A context with no device, for compiling kernels to PTX where there is no GPU.</summary>
    public static Context CompilerContext() => Context.Create(builder => Configure(builder).CPU(CPUDeviceKind.Default));

    public MemoryBlock Allocate(long bytes)
    {
        unsafe
        {
            if (accelerator is null)
                return new MemoryBlock((nint)NativeMemory.AlignedAlloc((nuint)bytes, 64), null, bytes);
        }
        return new MemoryBlock(0, accelerator.Allocate1D<byte>(bytes), bytes);
    }

    public void Free(MemoryBlock block)
    {
        if (block.Buffer is { } buffer)
        {
            buffer.Dispose();
            return;
        }
        unsafe
        {
            NativeMemory.AlignedFree((void*)block.Address);
        }
    }

    public void Dispose()
    {
        try
        {
            Synchronize();
        }
        catch (DeviceKernelException)
        {
            // What failed was reported, or would have been, where its results were asked for; the device is closed all the same.
        }
        IsClosed = true;
        launchCopies?.Dispose();
        ownCopies?.Dispose();
        Memory.Dispose();
        team?.Dispose();
        Loader?.Dispose();
        accelerator?.Dispose();
        context?.Dispose();
    }

    private static Context.Builder Configure(Context.Builder builder) => builder.Optimize(OptimizationLevel.O1);

    private static Context? Probe(DeviceKind kind)
    {
        try
        {
            return Context.Create(builder =>
            {
                Configure(builder);
                if (kind == DeviceKind.Cuda)
                    builder.Cuda();
                else
                    builder.OpenCL(_ => true);
            });
        }
        catch (Exception e) when (e is DllNotFoundException or TypeInitializationException or EntryPointNotFoundException or CLException or CudaException)
        {
            return null;
        }
    }

    private static IEnumerable<Device> Devices(Context context, DeviceKind kind) =>
        context.Devices.Where(d => d.AcceleratorType == (kind == DeviceKind.Cuda ? AcceleratorType.Cuda : AcceleratorType.OpenCL));

    private static DeviceDescription Describe(Device device, int index) => new(
        device is CudaDevice ? DeviceKind.Cuda : DeviceKind.OpenCL, index, device.Name, device.MemorySize,
        device is CudaDevice || device is CLDevice { DeviceType: CLDeviceType.CL_DEVICE_TYPE_GPU }, device.NumMultiprocessors);
}
