using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// An open device, on which tensors live and operators run. Several may be open at once and used from several threads; work on one device
/// runs in the order in which it was asked for. Tensors of different devices never mix silently: <see cref="Tensor.To(Device)"/> moves them.
/// </summary>
public sealed class Device : IDisposable
{
    private static readonly Lazy<Device> SharedCpu = new(() => new Device(ComputeDevice.Open(DeviceKind.Cpu, 0)));

    internal Device(ComputeDevice compute) => Compute = compute;

    /// <summary>The CPU: opened at first use, shared by the process, the default of every method that makes a tensor.</summary>
    public static Device Cpu => SharedCpu.Value;

    /// <summary>Which kind of machine this is.</summary>
    public DeviceKind Kind => Compute.Kind;

    /// <summary>The place among the devices of its kind, from 0.</summary>
    public int Index => Compute.Description.Index;

    /// <summary>The name that the driver gives.</summary>
    public string Name => Compute.Description.Name;

    /// <summary>The device's memory, in bytes.</summary>
    public long MemoryBytes => Compute.Description.MemoryBytes;

    /// <summary>Bytes that tensors and work space hold at present.</summary>
    public long LiveBytes => Compute.Memory.LiveBytes;

    /// <summary>The most that <see cref="LiveBytes"/> has been since the device was opened or <see cref="ResetPeakBytes"/>.</summary>
    public long PeakBytes => Compute.Memory.PeakBytes;

    /// <summary>Bytes taken from the device: live ones and those that wait to be used again.</summary>
    public long ReservedBytes => Compute.Memory.ReservedBytes;

    /// <summary>
    /// The most bytes that may be reserved; without a limit at first. An allocation past it first lets the garbage collector return what
    /// nobody holds, then throws <see cref="DeviceMemoryException"/>.
    /// </summary>
    public long MemoryLimit
    {
        get => Compute.Memory.LimitBytes;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            Compute.Memory.LimitBytes = value;
        }
    }

    /// <summary>The most threads that the CPU device uses at once, the caller's included: at first one a core. Results do not depend on it.</summary>
    /// <exception cref="NotSupportedException">The device is not the CPU.</exception>
    public int MaxDegreeOfParallelism
    {
        get => Compute.Team.MaxDegreeOfParallelism;
        set => Compute.Team.MaxDegreeOfParallelism = value;
    }

    /// <summary>
    /// Whether float32 convolutions of 3 x 3 taps and stride 1, and their gradients, may run by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, 2016) on
    /// the CPU: a quarter of the multiplications. Its relative error against float64, the norm of the difference over the norm of the result, stays below 1e-4 (about
    /// 1e-6 is usual, against 1e-7 of plain sums), and a number that is not finite spreads over its tile of 4 x 4. True by default; elsewhere without effect.
    /// </summary>
    public bool AllowWinograd
    {
        get => Compute.AllowWinograd;
        set => Compute.AllowWinograd = value;
    }

    /// <summary>
    /// What float32 matrix products and convolutions, with their gradients, compute with on CUDA, from compute capability 8.0 on and where every size of the product is at least 16:
    /// at first <see cref="MatMulPrecision.Float32"/>; PyTorch's is so for products, and TensorFloat32 for convolutions. Elsewhere without effect. The kernels of the other settings have run on no card yet, only through an interpreter
    /// of their compiled code.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is none of the enumeration.</exception>
    public MatMulPrecision MatMulPrecision
    {
        get => Compute.MatMulPrecision;
        set => Compute.MatMulPrecision = Enum.IsDefined(value) ? value : throw new ArgumentOutOfRangeException(nameof(value), value, "Use Float32, TensorFloat32, BFloat16 or Float16.");
    }

    /// <summary>
    /// Whether float32 matrix products and convolutions on CUDA that keep to <see cref="MatMulPrecision.Float32"/> may run by a kernel tuned for compute capability 8.0 and later. False at
    /// first, as that kernel has run on no card yet; elsewhere without effect.
    /// </summary>
    public bool AllowTunedMatMul
    {
        get => Compute.AllowTunedMatMul;
        set => Compute.AllowTunedMatMul = value;
    }

    /// <summary>
    /// Whether the host goes on while numbers are copied to the device: they are put into memory of the host that the driver reads from later, page-locked on CUDA, and what a
    /// <see cref="Data.DataLoader"/> reads ahead is copied on a stream of its own beside the device's other work. True at first on OpenCL; false on CUDA, as it has run
    /// on no card yet; on the CPU without effect.
    /// </summary>
    public bool AllowAsynchronousCopies
    {
        get => Compute.AllowAsynchronousCopies;
        set => Compute.AllowAsynchronousCopies = value;
    }

    /// <summary>
    /// Whether a <see cref="Training.CapturedStep"/> is replayed by graphs of the CUDA driver, one for each stretch of launches between random draws, in place of launch by launch.
    /// False at first, as it has run on no card yet; elsewhere without effect.
    /// </summary>
    public bool AllowGraphs
    {
        get => Compute.AllowGraphs;
        set => Compute.AllowGraphs = value;
    }

    /// <summary>
    /// The folder in which translated kernels are kept, so that the next process need not translate them again; null for nowhere. At first the folder that the environment
    /// variable <c>TRANSFERENGINE_KERNEL_CACHE</c> names, nowhere if it says <c>off</c>, else <c>TransferEngine/kernels</c> in the user's folder for local data. A file holds
    /// one kernel for one device, driver and version of this library; damaged files are replaced, files unused for 60 days deleted. On the CPU always null, and without effect.
    /// </summary>
    public string? KernelCacheFolder
    {
        get => Compute.KernelCache?.Folder;
        set => Compute.KernelCache = value is null ? null : new KernelCache(value);
    }

    /// <summary>
    /// Begins to load, in the background and several at a time, the kernels that this program launched on such a device when it ran before, so that its first step need not load
    /// them one by one as it comes to them: call it right after opening the device. A launch waits for the kernel that it needs and for no other. Which they are is kept beside the
    /// translations in <see cref="KernelCacheFolder"/>; without that folder, in a first process, and on the CPU there is nothing to do. A kernel that can't be loaded is passed
    /// over, and the launch that needs it says why.
    /// </summary>
    /// <param name="progress">Hears the part that is done, from 0 to 1.</param>
    /// <param name="cancellation">Ends it before the next kernel.</param>
    /// <returns>How many kernels are loaded, when all are. Closing the device cancels it.</returns>
    /// <exception cref="ObjectDisposedException">The device is closed.</exception>
    public Task<int> WarmUpAsync(IProgress<double>? progress = null, CancellationToken cancellation = default) => Compute.WarmUp(progress, cancellation);

    /// <summary>How many kernels were launched so far: what a test of frozen layers counts.</summary>
    public long Launches => Compute.Launches;

    internal ComputeDevice Compute { get; }

    /// <summary>Lists the devices of all kinds that this machine offers, the best first: CUDA, OpenCL graphics processors, the CPU, other OpenCL devices.</summary>
    public static IReadOnlyList<DeviceInfo> List() =>
        [.. new[] { DeviceKind.Cuda, DeviceKind.OpenCL, DeviceKind.Cpu }.SelectMany(List).OrderBy(info => info.Rank)];

    /// <summary>Lists the devices of one kind without probing the drivers of others.</summary>
    /// <param name="kind">The kind.</param>
    public static IReadOnlyList<DeviceInfo> List(DeviceKind kind) => [.. ComputeDevice.List(kind).Select(description => new DeviceInfo(description))];

    /// <summary>Opens the first device of <see cref="List()"/>: CUDA, then an OpenCL graphics processor, then the CPU.</summary>
    public static Device OpenBest()
    {
        foreach (var kind in new[] { DeviceKind.Cuda, DeviceKind.OpenCL })
        {
            if (List(kind).FirstOrDefault(info => info.IsGraphicsProcessor) is not { } info)
                continue;
            try
            {
                return Open(kind, info.Index);
            }
            catch (DeviceUnavailableException)
            {
                // A driver that lists a device and then refuses it: the next kind serves.
            }
        }
        return Open(DeviceKind.Cpu);
    }

    /// <summary>Opens a device by name: <c>cpu</c>, <c>cuda</c> or <c>opencl</c>, with <c>:index</c> for another than the first.</summary>
    /// <param name="name">For instance <c>cuda:1</c>.</param>
    /// <exception cref="ArgumentException">The name has another form.</exception>
    /// <exception cref="DeviceUnavailableException">There is no such device.</exception>
    public static Device Open(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string[] parts = name.Split(':');
        DeviceKind? kind = parts[0].ToLowerInvariant() switch { "cpu" => DeviceKind.Cpu, "cuda" => DeviceKind.Cuda, "opencl" => DeviceKind.OpenCL, _ => null };
        int index = 0;
        if (kind is null || parts.Length > 2 || (parts.Length == 2 && (!int.TryParse(parts[1], out index) || index < 0)))
            throw new ArgumentException($"'{name}' names no device. Use cpu, cuda or opencl, with :index for another than the first, such as cuda:1.", nameof(name));
        return Open(kind.Value, index);
    }

    /// <summary>Opens a device. Each call opens it anew, with its own memory pool.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="index">Which of that kind, in the order of <see cref="List(DeviceKind)"/>.</param>
    /// <exception cref="DeviceUnavailableException">There is no such device.</exception>
    public static Device Open(DeviceKind kind, int index = 0) => new(ComputeDevice.Open(kind, index));

    /// <summary>Waits until all work asked for is done.</summary>
    public void Synchronize() => Compute.Synchronize();

    /// <summary>Starts <see cref="PeakBytes"/> anew from what is live.</summary>
    public void ResetPeakBytes() => Compute.Memory.ResetPeak();

    /// <summary>Gives memory that waits to be used again back to the device.</summary>
    public void TrimMemory() => Compute.Memory.Trim();

    /// <summary>Closes the device; its tensors can't be used afterwards. The shared <see cref="Cpu"/> stays open.</summary>
    public void Dispose()
    {
        if (!SharedCpu.IsValueCreated || !ReferenceEquals(this, SharedCpu.Value))
            Compute.Dispose();
    }

    /// <summary>The form that <see cref="Open(string)"/> takes, such as <c>cuda:0</c>.</summary>
    public override string ToString() => $"{Kind.ToString().ToLowerInvariant()}:{Index}";
}

/// <summary>What is known of a device before it is opened.</summary>
public sealed class DeviceInfo
{
    internal DeviceInfo(DeviceDescription description) => (Kind, Index, Name, MemoryBytes, IsGraphicsProcessor, Units) =
        (description.Kind, description.Index, description.Name, description.MemoryBytes, description.IsGraphicsProcessor, description.Units);

    /// <summary>The kind.</summary>
    public DeviceKind Kind { get; }

    /// <summary>The place among the devices of its kind.</summary>
    public int Index { get; }

    /// <summary>The name that the driver gives.</summary>
    public string Name { get; }

    /// <summary>The memory, in bytes.</summary>
    public long MemoryBytes { get; }

    /// <summary>Whether it is a graphics processor; an OpenCL driver may also offer the CPU.</summary>
    public bool IsGraphicsProcessor { get; }

    /// <summary>Multiprocessors or cores.</summary>
    public int Units { get; }

    internal int Rank => Kind == DeviceKind.Cuda ? 0 : Kind == DeviceKind.OpenCL && IsGraphicsProcessor ? 1 : Kind == DeviceKind.Cpu ? 2 : 3;

    /// <summary>The name to open it by, and what the driver calls it.</summary>
    public override string ToString() => $"{Kind.ToString().ToLowerInvariant()}:{Index} {Name}";
}
