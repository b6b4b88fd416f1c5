using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Devices;

/// <summary>What goes wrong on a device gets its documented error, and the process goes on.</summary>
public class DeviceFailureTests
{
    [Fact]
    public void A_full_device_gives_the_documented_error_and_goes_on()
    {
        var device = new SmallDevice(1 << 20);
        using var pool = new MemoryPool(device, "a card of 1 MiB");
        var held = pool.Rent(900_000, "weights");
        var error = Assert.Throws<DeviceMemoryException>(() => pool.Rent(900_000, "gradients"));
        Assert.Contains("a card of 1 MiB", error.Message, StringComparison.Ordinal);
        Assert.Contains("weights", error.Message, StringComparison.Ordinal);
        Assert.IsType<InvalidOperationException>(error.InnerException);
        Assert.Equal(held.Bytes, pool.LiveBytes);
        pool.Return(held);
        pool.Return(pool.Rent(1_000_000, "gradients")); // another size: what waited was given back first
        Assert.Equal(0, pool.LiveBytes);
        Assert.InRange(device.Used, 1, 1 << 20);
    }

    [Fact]
    public void Waiting_blocks_are_given_back_before_the_device_is_called_full()
    {
        var device = new SmallDevice(1 << 20);
        using var pool = new MemoryPool(device, "a card of 1 MiB");
        foreach (int bytes in new[] { 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 800_000 })
            pool.Return(pool.Rent(bytes, null));
        Assert.InRange(device.Refusals, 1, 8);
    }

    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void An_impossible_size_leaves_the_device_working(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        Assert.Throws<DeviceMemoryException>(() => device.Memory.Rent(1L << 46, "too much"));
        float[] numbers = [1, 2, 3];
        var slice = new Slice(device.Memory.Rent(64, null), 0, 3, ElementType.Float32);
        device.CopyIn<float>(numbers, slice);
        var got = new float[3];
        device.CopyOut<float>(slice, got);
        Assert.Equal(numbers, got);
    }

    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void A_launch_that_the_driver_refuses_names_the_kernel(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        var slice = new Slice(device.Memory.Rent(64, null), 0, 16, ElementType.Float32);
        var kernel = new KernelCacheTests.Doubled<float>(slice.View<float>());
        device.Launch<float, KernelCacheTests.Doubled<float>>(16, kernel);
        var operand = new MatrixLines<float>(slice.View<float>(), 1, 1, 0);
        var error = Assert.ThrowsAny<Exception>(() => device.LaunchGroups<float, TiledProduct<float, Side16, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>>(
            new(1, 1 << 20), new(new(new(1, 1, 1, 1)), operand, operand, new(slice.View<float>(), 1, 1, default))));
        Assert.IsType<DeviceKernelException>(error);
        Assert.Contains("TiledProduct<Single, Side16", error.Message, StringComparison.Ordinal);
        device.Launch<float, KernelCacheTests.Doubled<float>>(16, kernel);
        device.Synchronize();
    }

    [Fact]
    public void A_missing_driver_is_named()
    {
        if (ComputeDevice.List(DeviceKind.Cuda).Count > 0)
            return;
        var error = Assert.Throws<DeviceUnavailableException>(() => ComputeDevice.Open(DeviceKind.Cuda, 0));
        Assert.Contains("Cuda", error.Message, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>A device of so many bytes.</summary>
    private sealed class SmallDevice(long bytes) : IBlockSource
    {
        public long Used { get; private set; }

        public int Refusals { get; private set; }

        public MemoryBlock Allocate(long size)
        {
            if (Used + size > bytes)
            {
                Refusals++;
                throw new InvalidOperationException("out of memory");
            }
            Used += size;
            return new MemoryBlock(0, null, size);
        }

        public void Free(MemoryBlock block) => Used -= block.Bytes;
    }
}
