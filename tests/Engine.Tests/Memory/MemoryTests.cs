using TransferEngine.Modules;
using Xunit;
using Xunit.Abstractions;

namespace TransferEngine.Tests.Memory;

/// <summary>Training for long takes no more memory than training for a while.</summary>
public sealed class MemoryTests(ITestOutputHelper output)
{
    private static (Sequential Model, Optimizer Optimizer, Tensor X, Tensor Y) Setup(Device device)
    {
        var draw = new Generator(1);
        var model = new Sequential(new Linear(16, 32, generator: draw, device: device), new Function(x => x.Relu()), new Linear(32, 4, generator: draw, device: device));
        return (model, new Adam(model.Parameters()), Tensor.Uniform([32, 16], generator: draw, device: device), Tensor.RandomIntegers([32], 0, 4, draw, device));
    }

    [Fact]
    public void Ten_Thousand_Steps_Hold_Device_Bytes_And_Managed_Allocation_Flat()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MaxDegreeOfParallelism = 1; // all work on this thread, so that its allocation is all there is
        var (model, optimizer, x, y) = Setup(device);
        long liveAt = 0, reservedAt = 0;
        var perStep = new List<double>();
        for (int part = 0; part < 10; part++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int step = 0; step < 1000; step++)
            {
                using (var scope = new TensorScope())
                    model.Forward(x).CrossEntropy(y).Backward();
                optimizer.Step();
                optimizer.ZeroGrad();
            }
            perStep.Add((GC.GetAllocatedBytesForCurrentThread() - before) / 1000.0);
            if (part == 0)
                (liveAt, reservedAt) = (device.LiveBytes, device.ReservedBytes);
            Assert.Equal(liveAt, device.LiveBytes);
            Assert.Equal(reservedAt, device.ReservedBytes);
        }
        output.WriteLine($"live {liveAt:N0} bytes, reserved {reservedAt:N0}, managed allocation per step by thousands: {string.Join(", ", perStep.Select(bytes => $"{bytes:N0}"))} bytes");
        // Not to the byte: code that the run-time compiles anew as it gets hot allocates a little differently.
        Assert.InRange(perStep.Skip(1).Max(), 0, perStep.Skip(1).Min() * 1.15 + 64);
    }

    [Fact]
    public void Without_Any_Scope_Live_Bytes_Are_Bounded()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MemoryLimit = 64 << 20;
        var (model, optimizer, x, y) = Setup(device);
        for (int step = 0; step < 10_000; step++)
        {
            model.Forward(x).CrossEntropy(y).Backward();
            optimizer.Step();
            model.ZeroGrad();
        }
        output.WriteLine($"peak {device.PeakBytes:N0} bytes without a scope");
        Assert.InRange(device.PeakBytes, 0, 64 << 20);
    }
}
