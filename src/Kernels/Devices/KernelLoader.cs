using System.Collections.Concurrent;
using System.Reflection;
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
/// the launcher. Each is loaded once, when it is first asked for or by <see cref="WarmUp"/>; different ones may be loaded at the same time by different threads.
/// </summary>
internal sealed class KernelLoader : IDisposable
{
    /// <summary>Kernels that are translated at once, at most: each translator keeps a compiler's tables.</summary>
    private const int MostTranslators = 8;

    private static readonly MethodInfo CreateLauncher = typeof(Kernel).GetMethod(nameof(Kernel.CreateLauncherDelegate))!;

    private readonly Context context;
    private readonly Accelerator accelerator;
    private readonly string target;
    private readonly ConcurrentDictionary<Type, Lazy<Delegate>> launchers = new();
    private readonly TypeInformationManager types = new();
    private readonly KernelTranslators translators;
    private readonly CancellationTokenSource closing = new();
    private readonly Lock gate = new();
    private Task warmingUp = Task.CompletedTask;
    private KernelCache? cache;
    private KernelList? list;
    private int translated, fromCache;

    public KernelLoader(Context context, Accelerator accelerator)
    {
        (this.context, this.accelerator, target) = (context, accelerator, Target(accelerator));
        translators = new(own => NewBackend(accelerator, own), Math.Min(Environment.ProcessorCount, MostTranslators));
        Cache = KernelCache.Default();
    }

    /// <summary>Where translations are kept, and beside them which were needed; null where they are not.</summary>
    public KernelCache? Cache
    {
        get => cache;
        set => (cache, list) = (value, IsTranslated ? value?.ListOf(Assembly.GetEntryAssembly()?.GetName().Name ?? "", target) : null);
    }

    /// <summary>How many kernels ILGPU translated, and how many came from the cache.</summary>
    public (int Translated, int FromCache) Counts => (translated, fromCache);

    /// <summary>The kernels, closed over their type arguments, that are loaded.</summary>
    public ICollection<Type> Loaded => [.. launchers.Where(item => item.Value.IsValueCreated).Select(item => item.Key)];

    /// <summary>Whether kernels are texts for a driver; ILGPU's CPU accelerator makes .NET methods of them, in its own context and one at a time.</summary>
    private bool IsTranslated => accelerator is CudaAccelerator or CLAccelerator;

    /// <summary>
    /// The launcher of a kernel over the scalar lane of its elements, an action of a stream, an index or a configuration, and the kernel. Waits for whoever is loading it already;
    /// what failed is tried again the next time.
    /// </summary>
    /// <exception cref="DeviceKernelException">It cannot be translated, or the driver refuses it.</exception>
    public Delegate Launcher(Type kernel)
    {
        if (!launchers.TryGetValue(kernel, out var launcher))
            launcher = launchers.GetOrAdd(kernel, static (type, loader) => new Lazy<Delegate>(() => loader.NewLauncher(type)), this);
        try
        {
            return launcher.Value;
        }
        catch
        {
            launchers.TryRemove(new(kernel, launcher));
            throw;
        }
    }

    /// <summary>Loads, on threads of its own, what the program has loaded on such a device before. What fails is left to the launch that needs it, which says why.</summary>
    /// <param name="progress">Hears the part that is done, from 0 to 1.</param>
    /// <param name="cancellation">Looked at before each kernel.</param>
    /// <returns>How many of them are loaded.</returns>
    public Task<int> WarmUp(IProgress<double>? progress, CancellationToken cancellation)
    {
        if (list is not { } known)
            return Task.FromResult(0);
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
            var begun = LoadAll(known, progress, cancellation);
            warmingUp = Task.WhenAll(warmingUp, begun);
            return begun;
        }
    }

    /// <summary>Ends warming up, and waits for what is being loaded.</summary>
    public void Dispose()
    {
        lock (gate)
            closing.Cancel();
        ((IAsyncResult)warmingUp).AsyncWaitHandle.WaitOne(); // however it ended: that is said by the task that was handed out
        translators.Dispose();
        types.Dispose();
        closing.Dispose();
    }

    private async Task<int> LoadAll(KernelList known, IProgress<double>? progress, CancellationToken cancellation)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation, closing.Token);
        var kernels = await OnThread(known.Read).ConfigureAwait(false);
        int next = -1, done = 0, loaded = 0;
        await Task.WhenAll(Enumerable.Range(0, Math.Min(Environment.ProcessorCount, kernels.Count)).Select(_ => OnThread(() =>
        {
            for (int i = Interlocked.Increment(ref next); i < kernels.Count; i = Interlocked.Increment(ref next))
            {
                end.Token.ThrowIfCancellationRequested();
                try
                {
                    Launcher(kernels[i]);
                    Interlocked.Increment(ref loaded);
                }
                catch (DeviceKernelException)
                {
                    // It may never be launched.
                }
                progress?.Report(Interlocked.Increment(ref done) / (double)kernels.Count);
            }
            return true;
        }))).ConfigureAwait(false);
        return loaded;

        // Not the pool's threads, which others need: loading takes long and waits for the driver.
        static Task<T> OnThread<T>(Func<T> work) => Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private Delegate NewLauncher(Type kernel)
    {
        try
        {
            var loaded = Load(kernel);
            var index = KernelEntry.Method(kernel).Name == nameof(KernelEntry.Group) ? typeof(KernelConfig) : typeof(Index1D);
            var launcher = (Delegate)CreateLauncher.MakeGenericMethod(typeof(Action<,,>).MakeGenericType(typeof(AcceleratorStream), index, kernel)).Invoke(loaded, BindingFlags.DoNotWrapExceptions, null, null, null)!;
            list?.Add(kernel);
            return launcher;
        }
        catch (Exception e) when (e is AcceleratorException or InternalCompilerException or NotSupportedException or InvalidOperationException)
        {
            throw new DeviceKernelException($"The kernel {NameOf(kernel)} cannot be loaded on {accelerator.Name}: {(e.InnerException ?? e).Message}", e);
        }
    }

    private Kernel Load(Type kernel)
    {
        var entry = Entry(kernel);
        if (!IsTranslated)
        {
            lock (gate)
                return entry.IndexType == IndexType.KernelConfig ? accelerator.LoadKernel(entry.MethodSource) : accelerator.LoadAutoGroupedKernel(entry.MethodSource);
        }
        string key = KeyOf(kernel, target);
        if (cache?.Find(key) is { } kept)
        {
            try
            {
                var restored = Load(entry, kept);
                Interlocked.Increment(ref fromCache);
                return restored;
            }
            catch (AcceleratorException)
            {
                // The driver has changed its mind about this text: it is translated anew and replaced.
            }
        }
        var text = translators.Translate(kernel);
        var loaded = Load(entry, text);
        Interlocked.Increment(ref translated);
        cache?.Store(key, text);
        return loaded;
    }

    private Kernel Load(in EntryPointDescription entry, in KernelText text)
    {
        var compiled = Restore(context, types, entry, text, accelerator);
        return compiled.IndexType == IndexType.KernelConfig ? accelerator.LoadKernel(compiled) : accelerator.LoadAutoGroupedKernel(compiled);
    }

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

    private static Backend NewBackend(Accelerator accelerator, Context own) => accelerator is CudaAccelerator cuda
        ? new PTXBackend(own, cuda.Capabilities, cuda.Architecture, cuda.InstructionSet, null)
        : new CLBackend(own, ((CLAccelerator)accelerator).Capabilities, ((CLAccelerator)accelerator).Vendor, ((CLAccelerator)accelerator).CLStdVersion);

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
