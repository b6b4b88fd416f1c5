using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Devices;

/// <summary>Kernels are loaded once each, several at a time, and before they are needed if a process of the program needed them before.</summary>
public sealed class WarmUpTests : IDisposable
{
    private readonly string folder = Path.Combine(Path.GetTempPath(), $"warm-{Guid.NewGuid():N}");

    public void Dispose()
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    [SkippableFact]
    public async Task A_second_device_loads_what_the_first_launched_before_it_is_launched()
    {
        using (var first = Open())
        {
            Assert.Equal(0, await first.WarmUp(null, default)); // nothing is known yet
            Assert.Equal([3, 6, 9], Run<Times<Three>>(first));
            Assert.Equal([4, 8, 12], Run<Times<Four>>(first));
            Assert.Equal((2, 0), first.KernelCounts);
        }
        using var second = Open();
        var parts = new Heard();
        Assert.Equal(2, await second.WarmUp(parts, default));
        Assert.Equal([0.5, 1], parts.Values.Order());
        Assert.Equal([typeof(Times<Four>), typeof(Times<Three>)], second.LoadedKernels.OrderBy(type => type.ToString()));
        Assert.Equal((0, 2), second.KernelCounts);
        Assert.Equal([3, 6, 9], Run<Times<Three>>(second));
        Assert.Equal([4, 8, 12], Run<Times<Four>>(second));
        Assert.Equal(2, await second.WarmUp(null, default));
        Assert.Equal((0, 2), second.KernelCounts); // not loaded again
    }

    [SkippableFact]
    public void Threads_that_ask_for_one_kernel_at_once_load_it_once()
    {
        using var device = Open();
        var loader = new Delegate[8];
        using var together = new Barrier(loader.Length);
        var threads = loader.Select((_, i) => new Thread(() =>
        {
            together.SignalAndWait();
            loader[i] = device.Loader!.Launcher(typeof(Times<Three>));
        })).ToArray();
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.Equal((1, 0), device.KernelCounts);
        Assert.Single(loader.Distinct());
    }

    [SkippableFact]
    public void Different_kernels_are_loaded_by_different_threads_at_once()
    {
        using var device = Open();
        Type[] kernels = [typeof(Times<Three>), typeof(Times<Four>), typeof(KernelCacheTests.Doubled<float>), typeof(KernelCacheTests.Doubled<double>)];
        Parallel.ForEach(kernels, kernel => device.Loader!.Launcher(kernel));
        Assert.Equal((kernels.Length, 0), device.KernelCounts);
        Assert.Equal([3, 6, 9], Run<Times<Three>>(device));
        Assert.Equal([4, 8, 12], Run<Times<Four>>(device));
        Assert.Equal(kernels.Length, Directory.GetFiles(folder, "*.kernel").Length);
    }

    /// <summary>Two translations wait for each other: were they made by turns, neither would end.</summary>
    [Fact]
    public void Translators_work_at_the_same_time_and_no_more_than_allowed()
    {
        using var together = new Barrier(2);
        int made = 0;
        using var translators = new KernelTranslators(
            context =>
            {
                if (Interlocked.Increment(ref made) <= 2)
                    Assert.True(together.SignalAndWait(TimeSpan.FromMinutes(1)), "The second translator did not come while the first was at work.");
                return Ptx(context);
            },
            most: 2);
        Type[] kernels = [typeof(Times<Three>), typeof(Times<Four>), typeof(KernelCacheTests.Doubled<float>), typeof(KernelCacheTests.Doubled<double>)];
        var texts = new KernelText[kernels.Length];
        Parallel.For(0, kernels.Length, new() { MaxDegreeOfParallelism = kernels.Length }, i => texts[i] = translators.Translate(kernels[i]));
        Assert.Equal(2, made);
        Assert.All(texts, text => Assert.Contains(".entry", text.Source, StringComparison.Ordinal));
    }

    /// <summary>CUDA, as far as it goes without a card: several threads translate to what one does.</summary>
    [Fact]
    public void PTX_does_not_depend_on_who_translates_it()
    {
        Type[] kernels =
        [
            typeof(Times<Three>), typeof(KernelCacheTests.Doubled<float>), typeof(MapKernel<float, Relu>), typeof(MapKernel<float, Rsqrt>), typeof(MapKernel<double, Rsqrt>),
            typeof(TiledProduct<float, Side16, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>),
        ];
        using var one = new KernelTranslators(Ptx, 1);
        var want = kernels.Select(one.Translate).ToArray();
        using var many = new KernelTranslators(Ptx, 4);
        Parallel.For(0, 4 * kernels.Length, new() { MaxDegreeOfParallelism = 4 }, i => Assert.Equal(Plain(want[i % kernels.Length]), Plain(many.Translate(kernels[i % kernels.Length]))));

        // Functions are numbered as they come.
        static KernelText Plain(KernelText text) => text with { Source = System.Text.RegularExpressions.Regex.Replace(text.Source, "(?<=[A-Za-z])_?[0-9]+", "#") };
    }

    [SkippableFact]
    public async Task What_cannot_be_loaded_is_passed_over_and_the_launch_that_needs_it_says_why()
    {
        using (var first = Open())
        {
            Assert.Equal([3, 6, 9], Run<Times<Three>>(first));
            for (int time = 0; time < 2; time++)
                Assert.Contains("Untranslatable", Assert.Throws<DeviceKernelException>(() => Run<Untranslatable>(first)).Message, StringComparison.Ordinal);
            Assert.Equal([4, 8, 12], Run<Times<Four>>(first)); // the loader goes on
        }
        File.AppendAllLines(ListFile, [KernelList.NameOf(typeof(Untranslatable))]);
        using var second = Open();
        Assert.Equal(2, await second.WarmUp(null, default));
        Assert.Throws<DeviceKernelException>(() => Run<Untranslatable>(second));
    }

    [SkippableFact]
    public async Task It_ends_when_the_device_is_closed_or_it_is_cancelled()
    {
        using (var first = Open())
            Run<Times<Three>>(first);
        var device = Open();
        var warming = device.WarmUp(null, default);
        device.Dispose();
        Assert.True(warming.IsCompleted);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => device.WarmUp(null, default));
        using var another = Open();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => another.WarmUp(null, new(canceled: true)));
        Assert.Equal(1, await another.WarmUp(null, default));
    }

    [Fact]
    public async Task Without_a_compiler_or_a_folder_there_is_nothing_to_do()
    {
        using var cpu = ComputeDevice.Open(DeviceKind.Cpu, 0);
        Assert.Equal(0, await cpu.WarmUp(null, default));
        using var emulator = ComputeDevice.OpenEmulator();
        Assert.Equal(0, await emulator.WarmUp(null, default));
    }

    [Fact]
    public void Names_stand_for_kernels_alone()
    {
        foreach (var kernel in new[] { typeof(Times<Three>), typeof(KernelCacheTests.Doubled<double>), typeof(TiledProduct<float, Side16, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>) })
            Assert.Equal(kernel, KernelList.Resolve(KernelList.NameOf(kernel)));
        string map = KernelList.NameOf(typeof(MapKernel<float, Relu>)), open = typeof(MapKernel<,>).FullName!;
        Assert.Equal(typeof(MapKernel<float, Relu>), KernelList.Resolve(map));
        string[] strangers =
        [
            "", " ", "[", "]", "[]", ",", map[..^1], map + "]", map + "x", " " + map, map + "\0", map.ToUpperInvariant(), open, $"{open}[]", $"{open}[System.Single]",
            $"{open}[System.Single,{open}]", $"{open}[System.Single,System.Single]", $"{open}[System.String,TransferEngine.Kernels.Relu]", $"{open}[System.Single,TransferEngine.Kernels.Relu,System.Single]",
            "System.Single", "System.Diagnostics.Process", typeof(ComputeDevice).FullName!, typeof(Relu).FullName!, typeof(WarmUpTests).FullName!, typeof(IKernel<>).FullName!, "TransferEngine.Kernels.IKernel`1[System.Single]",
            typeof(MapKernel<float, Relu>).AssemblyQualifiedName!, $"{map}, TransferEngine.Kernels", map + new string('x', 5000), string.Concat(Enumerable.Repeat($"{open}[System.Single,", 200)),
            $"{typeof(Times<>).FullName}[{string.Concat(Enumerable.Repeat($"{typeof(Times<>).FullName}[", 30))}{typeof(Three).FullName}{new string(']', 31)}",
        ];
        Assert.All(strangers, name => Assert.Null(KernelList.Resolve(name)));
    }

    [Fact]
    public void A_damaged_list_gives_what_is_whole()
    {
        Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, "some.list");
        Assert.Empty(new KernelList(file).Read());
        var list = new KernelList(file);
        list.Add(typeof(Times<Three>));
        list.Add(typeof(Times<Three>));
        list.Add(typeof(Times<Four>));
        Assert.Equal([typeof(Times<Three>), typeof(Times<Four>)], new KernelList(file).Read());
        string whole = File.ReadAllText(file);
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllText(file, whole[..length]);
            Assert.All(new KernelList(file).Read(), kernel => Assert.Contains(kernel, new[] { typeof(Times<Three>), typeof(Times<Four>) }));
        }
        File.WriteAllText(file, whole[..^5]);
        new KernelList(file).Add(typeof(Times<Four>));
        Assert.Equal([typeof(Times<Three>), typeof(Times<Four>)], new KernelList(file).Read());
        File.WriteAllBytes(file, [.. Enumerable.Range(0, 4096).Select(i => (byte)(i * 31))]);
        Assert.Empty(new KernelList(file).Read());
        using (var huge = File.OpenWrite(file))
            huge.SetLength(1L << 33); // sparse: looked at, never read
        var again = new KernelList(file);
        Assert.Empty(again.Read());
        again.Add(typeof(Times<Three>));
        Assert.Equal([typeof(Times<Three>)], new KernelList(file).Read());
        new KernelList(Path.Combine(file, "below")).Add(typeof(Times<Three>)); // no folder can be made there: no error
    }

    [Fact]
    public void A_list_unused_for_long_is_deleted_by_the_next_store()
    {
        var cache = new KernelCache(folder);
        cache.ListOf("program", "target").Add(typeof(Times<Three>));
        Assert.Equal([typeof(Times<Three>)], cache.ListOf("program", "target").Read());
        Assert.Empty(cache.ListOf("another", "target").Read());
        Assert.Empty(cache.ListOf("program", "another").Read());
        File.SetLastWriteTimeUtc(ListFile, DateTime.UtcNow.AddDays(-61));
        cache.Store("key", new("text", 0, false));
        Assert.Empty(Directory.GetFiles(folder, "*.list"));
    }

    private string ListFile => Assert.Single(Directory.GetFiles(folder, "*.list"));

    private static PTXBackend Ptx(Context context) => new(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_78, null!);

    private ComputeDevice Open()
    {
        var device = TestDevices.OpenAnew("opencl");
        device.KernelCache = new(folder);
        return device;
    }

    private static float[] Run<K>(ComputeDevice device) where K : struct, IKernel<float>, IOver
    {
        float[] numbers = [1, 2, 3];
        var slice = new Slice(device.Memory.Rent(64, null), 0, numbers.Length, ElementType.Float32);
        device.CopyIn<float>(numbers, slice);
        device.Launch<float, K>(numbers.Length, (K)K.Of(slice.View<float>()));
        device.CopyOut<float>(slice, numbers);
        return numbers;
    }

    private sealed class Heard : IProgress<double>
    {
        private readonly List<double> values = [];

        public double[] Values
        {
            get
            {
                lock (values)
                    return [.. values];
            }
        }

        public void Report(double value)
        {
            lock (values)
                values.Add(value);
        }
    }

    internal interface IOver
    {
        static abstract object Of(ArrayView<float> numbers);
    }

    internal interface IFactor
    {
        static abstract int Value { get; }
    }

    internal readonly struct Three : IFactor
    {
        public static int Value => 3;
    }

    internal readonly struct Four : IFactor
    {
        public static int Value => 4;
    }

    internal readonly struct Times<F>(ArrayView<float> numbers) : IKernel<float>, IOver where F : struct, IFactor
    {
        private readonly ArrayView<float> numbers = numbers;

        public static object Of(ArrayView<float> numbers) => new Times<F>(numbers);

        public void Execute<L>(int item) where L : unmanaged, ILane<L, float> => L.Store(numbers, item * L.Width, L.Load(numbers, item * L.Width) * L.Splat(F.Value));
    }

    /// <summary>It asks for the name of a type, which no kernel can.</summary>
    internal readonly struct Untranslatable(ArrayView<float> numbers) : IKernel<float>, IOver
    {
        private readonly ArrayView<float> numbers = numbers;

        public static object Of(ArrayView<float> numbers) => new Untranslatable(numbers);

        public void Execute<L>(int item) where L : unmanaged, ILane<L, float> => L.Store(numbers, item, L.Splat(typeof(L).Name.Length));
    }
}
