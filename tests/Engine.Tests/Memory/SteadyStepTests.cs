using TransferEngine.Models;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Memory;

/// <summary>What counts the whole process's collections runs when no other test does.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;

/// <summary>A captured training step, once it replays, makes no garbage.</summary>
[Collection(nameof(AloneInTheProcess))]
public sealed class SteadyStepTests
{
    [Fact]
    public void A_Steady_Step_Allocates_Less_Than_A_Kilobyte_And_Nothing_On_The_Device()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MaxDegreeOfParallelism = 1; // all work on this thread, so that its allocation is all there is
        var draw = new Generator(1);
        var model = new LeNet(10, dropout: 0.5, generator: draw, device: device);
        var optimizer = new Adam(model.Parameters());
        var schedule = new ExponentialSchedule(optimizer, 0.999);
        Tensor x = Tensor.Normal([4, 1, 28, 28], generator: draw, device: device), y = Tensor.RandomIntegers([4], 0, 10, draw, device);
        using var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).CrossEntropy(inputs[1]));
        Run(5);
        long live = device.LiveBytes, reserved = device.ReservedBytes, before = GC.GetAllocatedBytesForCurrentThread();
        int collections = GC.CollectionCount(2);
        Run(40);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 40.0, 0, 200);
        Assert.Equal(collections, GC.CollectionCount(2));
        Assert.Equal(live, device.LiveBytes);
        Assert.Equal(reserved, device.ReservedBytes);

        void Run(int steps)
        {
            for (int i = 0; i < steps; i++)
            {
                step.Run(x, y);
                optimizer.Step();
                optimizer.ZeroGrad();
                schedule.Step();
            }
        }
    }
}
