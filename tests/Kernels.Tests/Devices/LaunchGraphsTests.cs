using ILGPU.Runtime.Cuda;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Devices;

/// <summary>The order of the driver's calls, and what is given back whichever of them fails: by a driver that only writes down, as there is no card.</summary>
public sealed class LaunchGraphsTests : IDisposable
{
    private readonly ComputeDevice device = ComputeDevice.Open(DeviceKind.Cpu, 0);
    private readonly List<string> log = [];

    public void Dispose() => device.Dispose();

    [Fact]
    public void Stretches_of_fixed_launches_are_graphs_and_all_else_runs_between_them()
    {
        var driver = Driver();
        using var record = Recorded("a b | draw c | draw d e f | copy | g");
        record.Replay();
        log.Clear();
        record.Replay();
        Assert.Equal("launch 2, draw, c, draw, launch 4, copy, g", string.Join(", ", log));
        record.Dispose();
        Assert.Equal("launch 2, draw, c, draw, launch 4, copy, g, drop 2, drop 4", string.Join(", ", log));
        Assert.Equal(0, driver.Open);
    }

    [Fact]
    public void The_first_replay_makes_the_graphs_without_running_anything_before_all_are_made()
    {
        var driver = Driver();
        using var record = Recorded("a b | draw c d");
        long before = device.Launches;
        Assert.Equal("begin, a, b, end 1, make 2 of 1, destroy 1, begin, c, d, end 3, make 4 of 3, destroy 3, launch 2, draw, launch 4", string.Join(", ", Calls(record.Replay)));
        Assert.Equal(5, device.Launches - before); // noted ones don't count, those of graphs do
        Assert.Equal("launch 2, draw, launch 4", string.Join(", ", Calls(record.Replay)));
        device.AllowGraphs = false;
        Assert.Equal("drop 2, drop 4, a, b, draw, c, d", string.Join(", ", Calls(record.Replay)));
        Assert.Equal(0, driver.Open);
        device.AllowGraphs = true;
        Assert.StartsWith("begin, a, b", string.Join(", ", Calls(record.Replay)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("begin", 1, "begin")]
    [InlineData("end", 1, "begin, a, b, end 0")]
    [InlineData("make", 1, "begin, a, b, end 1, make 0 of 1, destroy 1")]
    [InlineData("begin", 2, "begin, a, b, end 1, make 2 of 1, destroy 1, begin, drop 2")]
    [InlineData("end", 2, "begin, a, b, end 1, make 2 of 1, destroy 1, begin, c, d, end 0, drop 2")]
    [InlineData("make", 2, "begin, a, b, end 1, make 2 of 1, destroy 1, begin, c, d, end 3, make 0 of 3, destroy 3, drop 2")]
    public void What_was_made_is_given_back_when_a_call_fails(string call, int time, string want)
    {
        var driver = Driver();
        (driver.Refused, driver.Time) = (call, time);
        using var record = Recorded("a b | draw c d");
        long before = device.Launches;
        var error = Assert.Throws<DeviceKernelException>(record.Replay);
        Assert.Contains("AllowGraphs", error.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(CudaError.CUDA_ERROR_OUT_OF_MEMORY), error.Message, StringComparison.Ordinal);
        Assert.Equal(want, string.Join(", ", log));
        Assert.Equal((0, false), (driver.Open, driver.IsCapturing));
        Assert.Equal(before, device.Launches);
        driver.Refused = "";
        log.Clear();
        record.Replay(); // it can be made again
        Assert.EndsWith("draw, launch", string.Join(", ", log)[..^2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, "begin, a, end 1, destroy 1")]
    [InlineData(false, "begin, a, end 0")]
    public void A_launch_that_fails_while_it_is_noted_ends_the_capture(bool givesGraph, string want)
    {
        var driver = Driver();
        if (!givesGraph)
            (driver.Refused, driver.Time) = ("end", 1);
        using var record = Recorded("a bad c");
        long before = device.Launches;
        Assert.Equal("bad", Assert.Throws<DeviceKernelException>(record.Replay).Message);
        Assert.Equal(want, string.Join(", ", log));
        Assert.Equal((0, false), (driver.Open, driver.IsCapturing));
        Assert.Equal(before, device.Launches);
    }

    [Fact]
    public void A_graph_that_cannot_be_launched_is_named_and_given_back()
    {
        var driver = Driver();
        using (var record = Recorded("a b"))
        {
            record.Replay();
            (driver.Refused, driver.Time) = ("launch", 1);
            Assert.Contains("cuGraphLaunch", Assert.Throws<DeviceKernelException>(record.Replay).Message, StringComparison.Ordinal);
        }
        Assert.Equal(0, driver.Open);
    }

    [Fact]
    public void A_closed_device_has_taken_its_graphs_along()
    {
        var driver = Driver();
        var record = Recorded("a b");
        record.Replay();
        device.Dispose();
        log.Clear();
        record.Dispose();
        Assert.Empty(log);
        Assert.Equal(1, driver.Open);
    }

    /// <summary>What must pass on a card before graphs may be chosen by default; elsewhere both ways are launch by launch.</summary>
    [SkippableTheory, InlineData("direct"), InlineData("opencl"), InlineData("cuda")]
    public void Replays_by_graphs_have_the_bits_of_replays_launch_by_launch(string machine)
    {
        using var card = TestDevices.OpenAnew(machine);
        float[] want = Replayed(false);
        Assert.Equal(want, Replayed(true));
        Assert.True(want.Distinct().Count() > 100); // random numbers are in it, new ones at each replay
        Assert.All(want, x => Assert.InRange(x, 3, 8));

        float[] Replayed(bool graphs)
        {
            card.AllowGraphs = graphs;
            var stream = new PhiloxStream(5);
            using var record = new LaunchRecord(card);
            Slice sum = Rent(), drawn = Rent(), copy = Rent();
            Movement.Fill(card, sum, 0.5); // five times 1 and a number from -0.5 to 0.5 are added
            record.Begin();
            Elementwise.Map(card, new Affine(1, 1), sum, sum);
            Elementwise.Map(card, new Affine(1, 0.5), sum, sum);
            Sampling.Uniform(card, stream.Take(Sampling.Counters(sum.Length, sum.Type)), -0.5, 0.5, drawn);
            Elementwise.Zip(card, default(Add), sum, drawn, sum);
            card.CopyWithin(sum, copy);
            card.CopyIn<float>([-1], drawn with { Length = 1 });
            Elementwise.Map(card, new Affine(1, -0.5), copy, sum);
            record.End(isWhole: true);
            for (int time = 0; time < 4; time++)
                record.Replay();
            var result = new float[sum.Length];
            card.CopyOut<float>(sum, result);
            return result;
        }

        Slice Rent() => new(card.Memory.Rent(4096, null), 0, 1000, ElementType.Float32);
    }

    [Fact]
    public void An_old_driver_is_named()
    {
        var driver = Driver();
        driver.IsOld = true;
        using var record = Recorded("a b");
        Assert.Contains("11.4", Assert.Throws<DeviceKernelException>(record.Replay).Message, StringComparison.Ordinal);
        Assert.Equal((0, false), (driver.Open, driver.IsCapturing));
    }

    /// <summary>Elsewhere there are no graphs, whatever is allowed.</summary>
    [Fact]
    public void Without_CUDA_nothing_changes()
    {
        device.AllowGraphs = true;
        Assert.Null(device.GraphCalls);
        using var record = Recorded("a b");
        Assert.Equal(["a", "b"], Calls(record.Replay));
    }

    private Written Driver()
    {
        var driver = new Written(log);
        (device.GraphCalls, device.AllowGraphs) = (driver, true);
        return driver;
    }

    private string[] Calls(Action action)
    {
        log.Clear();
        action();
        return [.. log];
    }

    /// <summary>A record of works by name; bars mean nothing.</summary>
    private LaunchRecord Recorded(string works)
    {
        var record = new LaunchRecord(device);
        record.Begin();
        foreach (string name in works.Split([' ', '|'], StringSplitOptions.RemoveEmptyEntries))
            record.Run(device, new Work(name, log));
        record.End(isWhole: true);
        log.Clear();
        return record;
    }

    private sealed class Work(string name, List<string> log) : RecordedWork
    {
        private bool wasRecorded;

        public override string Name => name;

        public override bool IsFixed => name is not ("draw" or "copy");

        public override void Run(ComputeDevice device)
        {
            if (name == "bad" && wasRecorded)
                throw new DeviceKernelException(name);
            wasRecorded = true;
            log.Add(name);
            device.CountLaunches(1);
        }

        public override bool IsSame(RecordedWork other) => other.Name == name;
    }

    /// <summary>A driver that writes down what it is asked for, and refuses one call at one time.</summary>
    private sealed class Written(List<string> log) : IGraphCalls
    {
        private int handles, asked;

        public string Refused { get; set; } = "";

        public int Time { get; set; }

        /// <summary>Whether it lacks the call that instantiates.</summary>
        public bool IsOld { get; set; }

        /// <summary>Graphs and executables that were not given back.</summary>
        public int Open { get; private set; }

        public bool IsCapturing { get; private set; }

        public CudaError BeginCapture(nint stream)
        {
            log.Add("begin");
            Assert.False(IsCapturing);
            return Refuse("begin") ?? Done(IsCapturing = true);
        }

        public CudaError EndCapture(nint stream, out nint graph)
        {
            Assert.True(IsCapturing);
            IsCapturing = false;
            var refused = Refuse("end");
            graph = refused is null ? New() : 0;
            log.Add($"end {graph}");
            return refused ?? CudaError.CUDA_SUCCESS;
        }

        public CudaError Instantiate(nint graph, out nint executable)
        {
            if (IsOld)
                throw new EntryPointNotFoundException("cuGraphInstantiateWithFlags");
            var refused = Refuse("make");
            executable = refused is null ? New() : 0;
            log.Add($"make {executable} of {graph}");
            return refused ?? CudaError.CUDA_SUCCESS;
        }

        public CudaError Launch(nint executable, nint stream)
        {
            log.Add($"launch {executable}");
            return Refuse("launch") ?? CudaError.CUDA_SUCCESS;
        }

        public CudaError DestroyExecutable(nint executable) => Drop($"drop {executable}", executable);

        public CudaError DestroyGraph(nint graph) => Drop($"destroy {graph}", graph);

        private static CudaError Done(bool _) => CudaError.CUDA_SUCCESS;

        private CudaError? Refuse(string call) => call == Refused && ++asked == Time ? CudaError.CUDA_ERROR_OUT_OF_MEMORY : null;

        private CudaError Drop(string call, nint handle)
        {
            Assert.NotEqual(0, handle);
            Open--;
            log.Add(call);
            return CudaError.CUDA_SUCCESS;
        }

        private nint New()
        {
            Open++;
            return ++handles;
        }
    }
}
