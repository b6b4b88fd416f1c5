using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Devices;

/// <summary>Translated kernels on disk: a second device takes them from there, and nothing in the folder can do harm but by its hash.</summary>
public sealed class KernelCacheTests : IDisposable
{
    private readonly string folder = Path.Combine(Path.GetTempPath(), $"kernels-{Guid.NewGuid():N}");

    public void Dispose()
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void What_is_stored_is_found_under_its_key_alone()
    {
        var cache = new KernelCache(folder);
        var text = new KernelText("a text\nof two lines", 48, true);
        cache.Store("key", text);
        Assert.Equal(text, cache.Find("key"));
        Assert.Null(cache.Find("another"));
        var other = text with { Source = "" };
        cache.Store("key", other);
        Assert.Equal(other, new KernelCache(folder).Find("key"));
        Assert.Single(Directory.GetFiles(folder)); // written beside and renamed: nothing else is left
    }

    [Fact]
    public void Damaged_files_are_as_good_as_none_and_are_replaced()
    {
        var cache = new KernelCache(folder);
        var text = new KernelText("some text that a driver takes", 0, false);
        cache.Store("key", text);
        string file = Assert.Single(Directory.GetFiles(folder));
        byte[] whole = File.ReadAllBytes(file);
        var damages = Enumerable.Range(0, whole.Length).Select(length => whole[..length])
            .Concat(Enumerable.Range(0, whole.Length).Select(at => (byte[])[.. whole[..at], (byte)(whole[at] ^ 1), .. whole[(at + 1)..]]))
            .Append([.. whole, (byte)' ']).Append(new byte[100]);
        foreach (byte[] damage in damages)
        {
            File.WriteAllBytes(file, damage);
            Assert.Null(cache.Find("key"));
        }
        using (var huge = File.OpenWrite(file))
            huge.SetLength(1L << 33); // sparse: looked at, never read
        Assert.Null(cache.Find("key"));
        cache.Store("key", text);
        Assert.Equal(text, cache.Find("key"));
    }

    [Fact]
    public void A_file_of_another_kernel_is_not_taken()
    {
        var cache = new KernelCache(folder);
        cache.Store("one", new("text of one", 0, false));
        string one = Assert.Single(Directory.GetFiles(folder));
        cache.Store("two", new("text of two", 0, false));
        string two = Directory.GetFiles(folder).Single(file => file != one);
        File.Copy(two, one, overwrite: true);
        Assert.Null(cache.Find("one"));
    }

    [Fact]
    public void A_folder_that_cannot_be_made_is_no_error()
    {
        Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, "file");
        File.WriteAllText(file, "");
        var cache = new KernelCache(Path.Combine(file, "below"));
        cache.Store("key", new("text", 0, false));
        Assert.Null(cache.Find("key"));
    }

    [Fact]
    public void Files_unused_for_long_are_deleted_by_the_next_store()
    {
        new KernelCache(folder).Store("old", new("text", 0, false));
        string old = Assert.Single(Directory.GetFiles(folder)), stranger = Path.Combine(folder, "not ours.txt");
        File.WriteAllText(stranger, "");
        foreach (string file in new[] { old, stranger })
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddDays(-61));
        new KernelCache(folder).Store("new", new("text", 0, false));
        Assert.False(File.Exists(old));
        Assert.True(File.Exists(stranger));
    }

    [Fact]
    public void The_key_names_the_kernel_its_arguments_and_the_target()
    {
        string key = KernelLoader.KeyOf(typeof(Doubled<float>), "target");
        Assert.NotEqual(key, KernelLoader.KeyOf(typeof(Doubled<double>), "target"));
        Assert.NotEqual(key, KernelLoader.KeyOf(typeof(Doubled<float>), "other"));
        foreach (var assembly in new[] { typeof(KernelCacheTests).Assembly, typeof(KernelCache).Assembly, typeof(Context).Assembly })
            Assert.Contains($"{assembly.ManifestModule.ModuleVersionId:N}", key, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', key);
    }

    /// <summary>A new device finds what the last one translated, computes the same, and mends what was damaged meanwhile.</summary>
    [SkippableFact]
    public void A_second_device_translates_nothing()
    {
        Assert.Equal((1, 0), Run(out float[] first));
        Assert.Equal((0, 1), Run(out float[] second));
        Assert.Equal(first, second);
        string file = Assert.Single(Directory.GetFiles(folder, "*.kernel"));
        File.WriteAllText(file, File.ReadAllText(file)[..100]);
        Assert.Equal((1, 0), Run(out float[] third));
        Assert.Equal((0, 1), Run(out _));
        Assert.Equal(first, third);
    }

    /// <summary>A text with a true hash that the driver cannot build is translated anew.</summary>
    [SkippableFact]
    public void A_text_that_the_driver_refuses_is_translated_anew()
    {
        Run(out float[] want);
        string file = Assert.Single(Directory.GetFiles(folder, "*.kernel")), key = File.ReadAllText(file).Split('\n')[2];
        new KernelCache(folder).Store(key, new("this is no program", 0, false));
        Assert.Equal((1, 0), Run(out float[] got));
        Assert.Equal((0, 1), Run(out _));
        Assert.Equal(want, got);
    }

    /// <summary>CUDA, as far as it goes without a card: the text restored is the text translated, and its entry point is the kernel's.</summary>
    [Theory]
    [InlineData(typeof(Doubled<float>))]
    [InlineData(typeof(TiledProduct<float, Side16, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>))]
    public void PTX_is_restored_as_it_was(Type kernel)
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_78, null!);
        var compiled = Assert.IsType<PTXCompiledKernel>(backend.Compile(KernelLoader.Entry(kernel), default));
        var cache = new KernelCache(folder);
        cache.Store("key", KernelLoader.TextOf(compiled));
        var restored = Assert.IsType<PTXCompiledKernel>(KernelLoader.RestoreCuda(context, KernelLoader.Entry(kernel), cache.Find("key")!.Value));
        Assert.Equal(compiled.PTXAssembly, restored.PTXAssembly);
        Assert.Equal((compiled.Name, compiled.IndexType, compiled.NumParameters), (restored.Name, restored.IndexType, restored.NumParameters));
        Assert.Equal(KernelLoader.TextOf(compiled), KernelLoader.TextOf(restored));
        Assert.Contains($".entry {restored.Name}", restored.PTXAssembly, StringComparison.Ordinal);
        Assert.Equal(kernel != typeof(Doubled<float>), KernelLoader.TextOf(restored).SharedBytes > 0);
    }

    private (int, int) Run(out float[] results)
    {
        using var device = TestDevices.OpenAnew("opencl");
        device.KernelCache = new(folder);
        float[] numbers = [1, 2, 3, 4, 5];
        var slice = new Slice(device.Memory.Rent(64, null), 0, numbers.Length, ElementType.Float32);
        device.CopyIn<float>(numbers, slice);
        device.Launch<float, Doubled<float>>(numbers.Length, new(slice.View<float>()));
        results = new float[numbers.Length];
        device.CopyOut<float>(slice, results);
        Assert.Equal([2, 4, 6, 8, 10], results);
        return device.KernelCounts;
    }

    internal readonly struct Doubled<T>(ArrayView<T> numbers) : IKernel<T> where T : unmanaged
    {
        private readonly ArrayView<T> numbers = numbers;

        public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
        {
            var x = L.Load(numbers, item * L.Width);
            L.Store(numbers, item * L.Width, x + x);
        }
    }
}
