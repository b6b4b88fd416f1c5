using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Devices;

/// <summary>Copies that the host doesn't wait for bring what was asked for, in order, wherever they are queued.</summary>
public class CopyTests
{
    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void The_host_goes_on_and_may_change_what_it_gave(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        device.AllowAsynchronousCopies = true;
        var slices = Enumerable.Range(0, 50).Select(i => new Slice(device.Memory.Rent(4L << i % 12, null), 0, 1 << i % 12, ElementType.Float32)).ToArray();
        var numbers = new float[1 << 12];
        for (int i = 0; i < slices.Length; i++)
        {
            Array.Fill(numbers, i);
            device.CopyIn<float>(numbers.AsSpan(0, slices[i].Length), slices[i]);
            Array.Fill(numbers, -1);
        }
        Assert.Equal(0, device.Waits);
        for (int i = 0; i < slices.Length; i++)
            Assert.All(Read(device, slices[i]), x => Assert.Equal(i, x));
        Assert.Equal(slices.Length, device.Waits);
        device.AllowAsynchronousCopies = false;
        device.CopyIn<float>([5], slices[0]);
        Assert.Equal(slices.Length + 1, device.Waits);
        Assert.Null(device.BeginShipment());
    }

    /// <summary>More than all stretches hold, in pieces that begin and end anywhere.</summary>
    [SkippableFact]
    public void Long_copies_go_by_several_stretches()
    {
        using var context = Context.Create(builder => builder.CPU(CPUDeviceKind.Default));
        using var accelerator = context.GetCPUDevice(0).CreateAccelerator(context);
        using var memory = accelerator.Allocate1D<byte>(4096);
        var marks = new WrittenMarks();
        float[] want = [.. Enumerable.Range(0, 1000).Select(i => (float)i)];
        using (var copies = new StagedCopies(accelerator, accelerator.DefaultStream, marks, bytes: 60, most: 3))
        {
            var block = new MemoryBlock(0, memory, 4096);
            copies.Copy<float>(want.AsSpan(0, 1), new(block, 0, 1, ElementType.Float32));
            copies.Copy<float>(want.AsSpan(1, 600), new(block, 1, 600, ElementType.Float32));
            copies.Copy<float>(want.AsSpan(601), new(block, 601, 399, ElementType.Float32));
            // 15 numbers a stretch: the first three are new, each further one waits for the oldest.
            Assert.Equal((66, 64), (marks.Made, copies.Waits));
            marks.AreReached = true;
            copies.Copy<float>(want.AsSpan(0, 30), new(block, 0, 30, ElementType.Float32));
            Assert.Equal(64, copies.Waits);
            Assert.Equal(want, block.View<float>(0, 1000).GetAsArray());
        }
        Assert.Equal(0, marks.Open);
    }

    /// <summary>Memory that launches still write to is given to a shipment, and what was transferred to memory that launches are given next: each must see its own numbers.</summary>
    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void Shipments_and_launches_share_memory_in_order(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        device.AllowAsynchronousCopies = true;
        const int n = 1 << 16;
        var numbers = new float[n];
        for (int round = 0; round < 30; round++)
        {
            var busy = Rent();
            Fill(busy, -1); // long under way when its memory is wanted again
            device.Memory.Return(busy.Block);
            var shipment = device.BeginShipment()!;
            var copied = Rent();
            Assert.Same(busy.Block, copied.Block);
            Array.Fill(numbers, round);
            device.CopyIn<float>(numbers, copied);
            var unused = Rent();
            device.CopyIn<float>(numbers, unused);
            shipment.End();
            device.Memory.Return(unused.Block); // arrives
            var next = Rent();
            Assert.Same(unused.Block, next.Block);
            Fill(next, -2);
            shipment.Arrive();
            Double(copied);
            Assert.All(Read(device, copied), x => Assert.Equal(2 * round, x));
            Assert.All(Read(device, next), x => Assert.Equal(-2, x));
            device.Memory.Return(next.Block);
            device.Memory.Return(copied.Block);
        }

        Slice Rent() => new(device.Memory.Rent(4 * n, null), 0, n, ElementType.Float32);

        void Fill(Slice slice, float value)
        {
            for (int i = 0; i < 10; i++)
                Movement.Fill(device, slice, value);
        }

        void Double(Slice slice) => device.Launch<float, KernelCacheTests.Doubled<float>>(n, new(slice.View<float>()));
    }

    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void A_launch_by_the_thread_that_transfers_sees_what_it_copied(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        device.AllowAsynchronousCopies = true;
        var slice = new Slice(device.Memory.Rent(4 << 16, null), 0, 1 << 16, ElementType.Float32);
        var copy = new Slice(device.Memory.Rent(4 << 16, null), 0, 1 << 16, ElementType.Float32);
        var numbers = new float[1 << 16];
        for (int round = 1; round < 10; round++)
        {
            Array.Fill(numbers, round);
            using var shipment = device.BeginShipment();
            device.CopyIn<float>(numbers, slice);
            device.Launch<float, KernelCacheTests.Doubled<float>>(slice.Length, new(slice.View<float>()));
            device.CopyWithin(slice, copy);
            device.CopyIn<float>(numbers, slice);
            Assert.All(Read(device, slice), x => Assert.Equal(round, x));
            Assert.All(Read(device, copy), x => Assert.Equal(2 * round, x));
        }
        using (device.BeginShipment())
            Assert.NotNull(Shipment.Of(device));
        Assert.Null(Shipment.Of(device));
    }

    /// <summary>OpenCL keeps a kernel's arguments in the kernel: threads that launch the same one must not mix them.</summary>
    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void Threads_launch_one_kernel_at_once_each_on_its_own_memory(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        const int rounds = 2000;
        var slices = Enumerable.Range(0, 4).Select(_ => new Slice(device.Memory.Rent(64, null), 0, 16, ElementType.Float32)).ToArray();
        foreach (var slice in slices)
            Movement.Fill(device, slice, 0);
        using var together = new Barrier(slices.Length);
        var threads = slices.Select((slice, i) => new Thread(() =>
        {
            together.SignalAndWait();
            for (int round = 0; round < rounds; round++)
                Elementwise.Map(device, new Affine(1, 1), slice with { Length = i + 1 }, slice with { Length = i + 1 });
        })).ToArray();
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        for (int i = 0; i < slices.Length; i++)
            Assert.Equal([.. Enumerable.Repeat((float)rounds, i + 1), .. Enumerable.Repeat(0f, 15 - i)], Read(device, slices[i]));
    }

    /// <summary>What is given back while numbers are under way to it is handed out at once: they must not come after those of its next holder.</summary>
    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void Memory_given_back_before_its_numbers_came_keeps_those_of_its_next_holder(string machine)
    {
        using var device = TestDevices.OpenAnew(machine);
        device.AllowAsynchronousCopies = true;
        const int n = 1 << 18;
        var numbers = new float[n];
        Slice large = new(device.Memory.Rent(4 * n, null), 0, n, ElementType.Float32), small = Rent();
        Movement.Fill(device, small, 0);
        device.Synchronize();
        for (int round = 0; round < 10; round++)
        {
            var shipment = device.BeginShipment()!;
            for (int i = 0; i < 20; i++)
                device.CopyIn<float>(numbers, large);
            device.CopyIn<float>(numbers.AsSpan(0, small.Length), small);
            shipment.End();
            device.Memory.Return(small.Block);
            var next = Rent();
            Assert.Same(small.Block, next.Block);
            Movement.Fill(device, next, -2);
            small = next;
            device.Synchronize();
            Assert.All(Read(device, small), x => Assert.Equal(-2, x));
        }

        Slice Rent() => new(device.Memory.Rent(4096, null), 0, 1024, ElementType.Float32);
    }

    private static float[] Read(ComputeDevice device, Slice slice)
    {
        var numbers = new float[slice.Length];
        device.CopyOut<float>(slice, numbers);
        return numbers;
    }

    /// <summary>Marks that are reached when the test says so.</summary>
    private sealed class WrittenMarks : StreamMarks
    {
        public bool AreReached { get; set; }

        public int Made { get; private set; }

        public int Open { get; private set; }

        public override nint Set(AcceleratorStream stream)
        {
            Open++;
            return ++Made;
        }

        public override void Wait(AcceleratorStream stream, nint mark) => throw new NotSupportedException("Copies on one stream wait for no other.");

        public override bool IsReached(nint mark) => AreReached;

        public override void Await(nint mark) => Assert.False(AreReached);

        public override void Release(nint mark) => Open--;
    }
}
