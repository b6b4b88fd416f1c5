using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.IR.Types;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace TransferEngine.Kernels;

/// <summary>
/// Brings kernels to a device of ILGPU's: translated by ILGPU, or from the text that the cache kept of an earlier translation, which saves the translation but for
/// the launcher. Kernels are loaded one at a time.
/// </summary>
internal sealed class KernelLoader(Context context, Accelerator accelerator) : IDisposable
{
    private readonly Lock gate = new();
    private readonly TypeInformationManager types = new();
    private readonly string target = Target(accelerator);

    /// <summary>Where translations are kept; null where they are not.</summary>
    public KernelCache? Cache { get; set; } = KernelCache.Default();

    /// <summary>How many kernels ILGPU translated, and how many came from the cache.</summary>
    public (int Translated, int FromCache) Counts { get; private set; }

    /// <summary>Loads a kernel over the scalar lane of its elements.</summary>
    /// <exception cref="DeviceKernelException">It cannot be translated, or the driver refuses it.</exception>
    public Kernel Load(Type kernel)
    {
        lock (gate)
        {
            try
            {
                return LoadLocked(kernel);
            }
            catch (Exception e) when (e is AcceleratorException or InternalCompilerException or NotSupportedException or InvalidOperationException)
            {
                throw new DeviceKernelException($"The kernel {NameOf(kernel)} cannot be loaded on {accelerator.Name}: {(e.InnerException ?? e).Message}", e);
            }
        }
    }

    private Kernel LoadLocked(Type kernel)
    {
        var entry = Entry(kernel);
        if (accelerator is not (CudaAccelerator or CLAccelerator))
            return entry.IndexType == IndexType.KernelConfig ? accelerator.LoadKernel(entry.MethodSource) : accelerator.LoadAutoGroupedKernel(entry.MethodSource);
        string key = KeyOf(kernel, target);
        if (Cache?.Find(key) is { } kept)
        {
            try
            {
                var restored = Load(Restore(context, types, entry, kept, accelerator));
                Counts = Counts with { FromCache = Counts.FromCache + 1 };
                return restored;
            }
            catch (AcceleratorException)
            {
                // The driver has changed its mind about this text: it is translated anew and replaced.
            }
        }
        var compiled = accelerator is CudaAccelerator cuda ? Compile(cuda.Backend, entry) : ((CLAccelerator)accelerator).Backend.Compile(entry, KernelSpecialization.Empty);
        var loaded = Load(compiled);
        Counts = Counts with { Translated = Counts.Translated + 1 };
        Cache?.Store(key, TextOf(compiled));
        return loaded;
    }

    private Kernel Load(CompiledKernel compiled) => compiled.IndexType == IndexType.KernelConfig ? accelerator.LoadKernel(compiled) : accelerator.LoadAutoGroupedKernel(compiled);

    public void Dispose() => types.Dispose();

    /// <summary>How ILGPU calls a kernel: with groups, or with an index.</summary>
    public static EntryPointDescription Entry(Type kernel)
    {
        var method = KernelEntry.Method(kernel);
        return method.Name == nameof(KernelEntry.Group) ? EntryPointDescription.FromExplicitlyGroupedKernel(method) : EntryPointDescription.FromImplicitlyGroupedKernel(method);
    }

    /// <summary>A kernel's name in messages: its type with its arguments, without their namespaces.</summary>
    public static string NameOf(Type type)
    {
        string name = type.Name.Split('`')[0];
        return type.IsGenericType ? $"{name}<{string.Join(", ", type.GenericTypeArguments.Select(NameOf))}>" : name;
    }

    /// <summary>
    /// All that the text of a kernel depends on, on one line: the kernel with its arguments, the builds of the assemblies that its code comes from, ILGPU's included,
    /// and the target.
    /// </summary>
    public static string KeyOf(Type kernel, string target)
    {
        var assemblies = Parts(kernel).Select(type => type.Assembly).Append(typeof(KernelLoader).Assembly).Append(typeof(Context).Assembly).Distinct();
        var builds = assemblies.Select(assembly => $"{assembly.GetName().Name} {assembly.ManifestModule.ModuleVersionId:N}").Order(StringComparer.Ordinal);
        return string.Join(" | ", [kernel.ToString(), .. builds, target]).ReplaceLineEndings(" ");
    }

    /// <summary>Translates a kernel for CUDA, and spells out what is repeated in its inline assembly.</summary>
    public static PTXCompiledKernel Compile(PTXBackend backend, in EntryPointDescription entry)
    {
        var compiled = (PTXCompiledKernel)backend.Compile(entry, KernelSpecialization.Empty);
        string text = PtxText.Expand(compiled.PTXAssembly);
        return ReferenceEquals(text, compiled.PTXAssembly) ? compiled : RestoreCuda(backend.Context, entry, TextOf(compiled) with { Source = text });
    }

    /// <summary>The text of a compiled kernel.</summary>
    public static KernelText TextOf(CompiledKernel kernel)
    {
        var shared = EntryPointOf(kernel).SharedMemory;
        return new(kernel is PTXCompiledKernel ptx ? ptx.PTXAssembly : ((CLCompiledKernel)kernel).Source, shared.StaticSize, shared.HasDynamicMemory);
    }

    /// <summary>The compiled kernel of a text for CUDA.</summary>
    public static PTXCompiledKernel RestoreCuda(Context context, in EntryPointDescription entry, in KernelText text) =>
        NewCompiledKernel(context, new EntryPoint(entry, new(text.SharedBytes, text.HasDynamicSharedMemory), KernelSpecialization.Empty), null, text.Source);

    private static CompiledKernel Restore(Context context, TypeInformationManager types, in EntryPointDescription entry, in KernelText text, Accelerator accelerator)
    {
        if (accelerator is not CLAccelerator openCL)
            return RestoreCuda(context, entry, text);
        const int FieldsOfView = 2; // as ILGPU's OpenCL backend passes a view
        var point = new SeparateViewEntryPoint(entry, new(text.SharedBytes, text.HasDynamicSharedMemory), KernelSpecialization.Empty, types, FieldsOfView);
        return new CLCompiledKernel(context, point, null, text.Source, openCL.Backend.CLStdVersion);
    }

    private static string Target(Accelerator accelerator) => accelerator switch
    {
        CudaAccelerator { Device: CudaDevice device } cuda => $"CUDA {cuda.Architecture} {cuda.InstructionSet} driver {device.DriverVersion.Major}.{device.DriverVersion.Minor} {device.Name}",
        CLAccelerator { Device: CLDevice device } => $"OpenCL {device.VendorName} {device.Name} {CLAPI.CurrentAPI.GetDeviceInfo(device.DeviceId, CLDeviceInfoType.CL_DRIVER_VERSION)} {device.CLStdVersion}",
        _ => accelerator.Name,
    };

    private static IEnumerable<Type> Parts(Type type) => type.GenericTypeArguments.SelectMany(Parts).Append(type);

    // ILGPU 1.5.3 makes a compiled kernel of PTX only for itself, and shows no entry point: these two reach past that, checked by the tests at the version that is pinned.
    [UnsafeAccessor(UnsafeAccessorKind.Constructor)]
    private static extern PTXCompiledKernel NewCompiledKernel(Context context, EntryPoint entryPoint, CompiledKernel.KernelInfo? info, string assembly);

    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_EntryPoint")]
    private static extern EntryPoint EntryPointOf(CompiledKernel kernel);
}
