using TransferEngine.Kernels;

namespace TransferEngine.Tests.Tensors;

/// <summary>Several devices at once, several threads, and memory with a limit.</summary>
public class DeviceTests
{
    [Fact]
    public void Devices_keep_their_own_memory_and_their_own_settings()
    {
        using Device a = Device.Open(DeviceKind.Cpu), b = Device.Open("cpu:0");
        a.MaxDegreeOfParallelism = 1;
        b.MaxDegreeOfParallelism = 2;
        using var x = Tensor.Ones([1000], a);
        Assert.True(a.LiveBytes >= 4000);
        Assert.Equal(0, b.LiveBytes);
        Assert.Equal((1, 2), (a.MaxDegreeOfParallelism, b.MaxDegreeOfParallelism));
        using var moved = x.To(b);
        Assert.Same(b, moved.Device);
        Assert.True(b.LiveBytes >= 4000);
    }

    [Fact]
    public void Devices_are_used_from_several_threads_at_once()
    {
        using Device a = Device.Open(DeviceKind.Cpu), b = Device.Open(DeviceKind.Cpu);
        a.MaxDegreeOfParallelism = b.MaxDegreeOfParallelism = 2;
        double[] results = new double[8];
        var threads = Enumerable.Range(0, results.Length).Select(i => new Thread(() => results[i] = Descend(i % 2 == 0 ? a : b))).ToArray();
        foreach (var thread in threads)
            thread.Start();
        foreach (var thread in threads)
            thread.Join();
        Assert.All(results, result => Assert.Equal(results[0], result)); // the same bits, whoever shared the team
        Assert.InRange(results[0], 0, 1);

        static double Descend(Device device)
        {
            var draw = new Generator(3);
            var x = Tensor.Uniform([64, 40], generator: draw, device: device);
            var w = Tensor.Uniform([40, 1], generator: draw, device: device);
            w.RequiresGrad = true;
            double loss = 0;
            for (int step = 0; step < 50; step++)
            {
                using var scope = new TensorScope();
                var error = (x.MatMul(w) - 1).Square().Mean();
                error.Backward();
                using (new NoGrad())
                    w.AddInPlace(w.Grad!, -0.01);
                w.Grad = null;
                loss = error.Item();
            }
            return loss;
        }
    }

    [Fact]
    public void Operands_of_two_devices_are_an_error_that_names_both()
    {
        using Device a = Device.Open(DeviceKind.Cpu), b = Device.Open(DeviceKind.Cpu);
        Tensor x = Tensor.Ones([2, 3], a), y = Tensor.Ones([3, 2], b);
        var e = Assert.Throws<DeviceMismatchException>(() => x.MatMul(y));
        Assert.Contains("MatMul", e.Message, StringComparison.Ordinal);
        Assert.Contains("[2, 3]", e.Message, StringComparison.Ordinal);
        Assert.Contains("[3, 2]", e.Message, StringComparison.Ordinal);
        Assert.Contains("To(", e.Message, StringComparison.Ordinal);
        Assert.Throws<DeviceMismatchException>(() => x + y.Transpose());
        Assert.Throws<DeviceMismatchException>(() => Tensor.Concat([x, y.Transpose()]));
        Assert.Equal(Tensor.Full([2, 2], 3).ToArray<float>(), x.MatMul(y.To(a)).ToArray<float>());
    }

    [Fact]
    public void A_gradient_flows_back_from_another_device()
    {
        using Device a = Device.Open(DeviceKind.Cpu), b = Device.Open(DeviceKind.Cpu);
        var x = Tensor.From([1f, 2, 3], a);
        x.RequiresGrad = true;
        x.To(b).Square().Sum().Backward();
        Assert.Same(a, x.Grad!.Device);
        Assert.Equal([2f, 4, 6], x.Grad.ToArray<float>());
    }

    [Theory]
    [InlineData("")]
    [InlineData("gpu")]
    [InlineData("cpu:")]
    [InlineData("cpu:-1")]
    [InlineData("cpu:0:0")]
    public void A_name_of_another_form_is_refused(string name) => Assert.Throws<ArgumentException>(() => Device.Open(name));

    [Fact]
    public void A_device_that_is_not_there_is_refused() => Assert.Throws<DeviceUnavailableException>(() => Device.Open("cpu:7"));

    [Fact]
    public void Past_the_limit_what_nobody_holds_is_collected_first()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MemoryLimit = 8 << 20;
        for (int i = 0; i < 100; i++)
            _ = Tensor.Zeros([1 << 20], device); // 4 MiB each, never disposed: at most two fit
        Assert.InRange(device.PeakBytes, 4 << 20, 8 << 20);
    }

    [Fact]
    public void Past_the_limit_waiting_blocks_of_other_sizes_are_given_back()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MemoryLimit = 8 << 20;
        Tensor.Zeros([3 << 18], device).Dispose();
        Tensor.Zeros([1 << 20], device).Dispose();
        using var large = Tensor.Zeros([7 << 18], device);
        Assert.InRange(device.ReservedBytes, 7 << 20, 8 << 20);
    }

    [Fact]
    public void What_never_fits_is_an_error_that_names_sizes_and_the_largest_tensors_and_work_goes_on()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MemoryLimit = 8 << 20;
        using Tensor held = Tensor.Ones([3, 1 << 18], device), small = Tensor.Ones([10], device);
        var e = Assert.Throws<DeviceMemoryException>(() => Tensor.Zeros([7, 1 << 18], device));
        Assert.Contains("7.0 MiB", e.Message, StringComparison.Ordinal); // asked for
        Assert.Contains("8.0 MiB", e.Message, StringComparison.Ordinal); // the limit
        Assert.Contains($"[3, {1 << 18}] (3.0 MiB), [10] (64 bytes)", e.Message, StringComparison.Ordinal);
        using var fits = held + 1;
        Assert.Equal(2, fits.Max().Item());
        device.MemoryLimit = 64 << 20;
        using var now = Tensor.Zeros([7, 1 << 18], device);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.MemoryLimit = -1);
    }

    [Fact]
    public void Launching_a_kernel_allocates_no_managed_memory()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        foreach (int n in new[] { 1000, 300_000 }) // one item on this thread, and many on the team
        {
            using Tensor x = Tensor.Ones([n], device), y = Tensor.Zeros([n], device);
            Assert.Equal(0, Measure(100));

            long Measure(int launches)
            {
                long least = long.MaxValue;
                for (int round = 0; round < 5; round++) // the first rounds compile
                {
                    long before = GC.GetAllocatedBytesForCurrentThread();
                    for (int i = 0; i < launches; i++)
                    {
                        Elementwise.Map(device.Compute, default(Relu), x.Slice, y.Slice);
                        Elementwise.Zip(device.Compute, default(Add), x.Slice, y.Slice, y.Slice);
                    }
                    least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
                }
                return least;
            }
        }
    }

    [Fact]
    public void Peak_bytes_start_anew_and_waiting_blocks_are_given_back()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        Tensor.Zeros([100_000], device).Dispose();
        Assert.Equal(0, device.LiveBytes);
        Assert.True(device.PeakBytes >= 400_000 && device.ReservedBytes >= 400_000);
        device.ResetPeakBytes();
        device.TrimMemory();
        Assert.Equal((0L, 0L), (device.PeakBytes, device.ReservedBytes));
    }

    [Fact]
    public void A_closed_device_refuses_new_tensors()
    {
        var device = Device.Open(DeviceKind.Cpu);
        device.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Tensor.Zeros([1], device));
        Device.Cpu.Dispose(); // the shared one stays open
        Assert.Equal(1, Tensor.Ones([1]).Item());
    }

    [SkippableFact]
    public async Task A_device_warms_up_and_works_meanwhile()
    {
        Assert.Equal(0, await Device.Cpu.WarmUpAsync());
        string folder = Path.Combine(Path.GetTempPath(), $"warm-{Guid.NewGuid():N}");
        double Step(Device device)
        {
            var x = Tensor.From([1f, 2, 3], device);
            x.RequiresGrad = true;
            (x.Exp() * x).Sum().Backward();
            return x.Grad!.Sum().Item();
        }
        try
        {
            using (var first = new Device(TestDevices.OpenAnew("opencl")) { KernelCacheFolder = folder })
            {
                Step(first);
                Assert.True(first.Compute.KernelCounts.Translated > 2);
            }
            using var second = new Device(TestDevices.OpenAnew("opencl")) { KernelCacheFolder = folder };
            var warming = second.WarmUpAsync();
            Assert.Equal(Math.E * 2 + Math.Exp(2) * 3 + Math.Exp(3) * 4, Step(second), 1e-4);
            Assert.Equal((0, await warming), second.Compute.KernelCounts); // each was loaded once, by whoever came first
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void What_only_cards_heed_is_kept_and_checked()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        Assert.Equal((MatMulPrecision.Float32, false), (device.MatMulPrecision, device.AllowTunedMatMul));
        device.MatMulPrecision = MatMulPrecision.BFloat16;
        Assert.Equal(MatMulPrecision.BFloat16, device.MatMulPrecision);
        Assert.Contains("TensorFloat32", Assert.Throws<ArgumentOutOfRangeException>(() => device.MatMulPrecision = (MatMulPrecision)9).Message, StringComparison.Ordinal);
        Assert.Equal(MatMulPrecision.BFloat16, device.MatMulPrecision);
        device.KernelCacheFolder = "nowhere";
        Assert.Null(device.KernelCacheFolder); // the CPU translates no kernels
    }
}
