using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public partial class ConvolutionTests
{
    /// <summary>Batch, channels, outputs, groups, then input, kernel, stride, padding and dilation of each axis.</summary>
    private static readonly (string Name, Conv2dShape Shape)[] Small =
    [
        ("no batch", New(0, 2, 3, 1, (5, 3, 1, 1, 1), (4, 3, 1, 1, 1))),
        ("one pixel", New(1, 1, 1, 1, (1, 1, 1, 0, 1), (1, 1, 1, 0, 1))),
        ("no output", New(1, 2, 2, 1, (2, 3, 1, 0, 1), (2, 3, 1, 0, 1))),
        ("1x1", New(2, 5, 7, 1, (6, 1, 1, 0, 1), (5, 1, 1, 0, 1))),
        ("1x1 with stride", New(2, 3, 4, 1, (7, 1, 2, 0, 1), (5, 1, 3, 0, 1))),
        ("1x1 with padding", New(1, 3, 4, 1, (3, 1, 1, 1, 1), (4, 1, 1, 2, 1))),
        ("3x3", New(2, 3, 5, 1, (9, 3, 1, 1, 1), (11, 3, 1, 1, 1))),
        ("3x3 stride 2", New(2, 4, 3, 1, (8, 3, 2, 1, 1), (9, 3, 2, 1, 1))),
        ("uneven", New(1, 3, 2, 1, (10, 2, 3, 1, 2), (13, 5, 2, 3, 1))),
        ("dilated", New(1, 2, 3, 1, (9, 3, 1, 2, 2), (10, 3, 2, 0, 3))),
        ("padding past the kernel", New(1, 2, 2, 1, (3, 2, 1, 3, 1), (4, 2, 2, 4, 1))),
        ("groups", New(2, 6, 4, 2, (7, 3, 1, 1, 1), (6, 3, 2, 1, 1))),
        ("depthwise", New(2, 4, 4, 4, (9, 3, 1, 1, 1), (18, 3, 1, 1, 1))),
        ("depthwise with a multiplier", New(2, 3, 6, 3, (8, 5, 2, 2, 1), (7, 3, 2, 1, 2))),
        ("one channel", New(3, 1, 4, 1, (12, 5, 1, 0, 1), (12, 5, 1, 0, 1))),
    ];

    private static readonly (string Name, Conv2dShape Shape)[] Large =
    [
        ("wide", New(1, 3, 4, 1, (5, 3, 1, 1, 1), (300, 3, 1, 1, 1))),
        ("many channels", New(2, 70, 50, 1, (13, 3, 1, 1, 1), (17, 3, 1, 1, 1))),
        ("many channels, stride 2", New(2, 33, 65, 1, (15, 3, 2, 1, 1), (14, 3, 2, 1, 1))),
        ("deep", New(1, 130, 37, 1, (7, 3, 1, 1, 1), (7, 3, 1, 1, 1))),
        ("winograd, uneven edges", New(3, 37, 21, 1, (9, 3, 1, 2, 1), (18, 3, 1, 0, 1))),
        ("winograd, whole tiles", New(2, 32, 64, 1, (12, 3, 1, 1, 1), (16, 3, 1, 1, 1))),
        ("winograd, several bands", New(2, 300, 20, 1, (30, 3, 1, 1, 1), (57, 3, 1, 1, 1))),
        ("1x1 large", New(3, 65, 129, 1, (14, 1, 1, 0, 1), (14, 1, 1, 0, 1))),
        ("stem", New(1, 3, 20, 1, (64, 7, 2, 3, 1), (64, 7, 2, 3, 1))),
        ("groups of many", New(2, 24, 48, 3, (10, 3, 1, 1, 1), (19, 3, 1, 1, 1))),
        ("dilated, groups", New(1, 16, 16, 2, (20, 3, 2, 2, 2), (33, 3, 1, 4, 3))),
        ("depthwise wide", New(2, 3, 3, 3, (40, 3, 1, 1, 1), (530, 3, 1, 1, 1))),
        ("depthwise stride 2", New(1, 5, 10, 5, (57, 3, 2, 1, 1), (57, 5, 2, 2, 1))),
        ("depthwise dilated", New(1, 4, 4, 4, (33, 3, 1, 4, 4), (40, 3, 3, 2, 2))),
        ("depthwise with a multiplier, wide", New(1, 3, 6, 3, (7, 3, 1, 1, 1), (69, 3, 1, 1, 1))),
        ("one channel, many outputs", New(5, 1, 20, 1, (28, 5, 1, 0, 1), (28, 5, 1, 0, 1))),
        ("huge kernel", New(1, 1, 2, 1, (40, 31, 1, 15, 1), (40, 31, 1, 15, 1))),
    ];

    public static TheoryData<string, string, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, string, ElementType>();
            foreach (string device in TestDevices.Names)
            {
                foreach (var (name, _) in device == "direct" ? [.. Small, .. Large] : device == "emulator" ? Small : [.. Small, .. Large.Take(8)])
                {
                    cases.Add(device, name, ElementType.Float32);
                    cases.Add(device, name, ElementType.Float64);
                }
            }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Forward_and_gradients_follow_the_definition(string name, string shapeName, ElementType type)
    {
        var device = TestDevices.Get(name);
        var shape = Find(shapeName);
        var data = new Reference(shape, shapeName.Length);
        double tolerance = type == ElementType.Float64 ? 1e-12 : 2e-5;
        var (x, weight, dy) = (Data.New(device, data.X, type), Data.New(device, data.Weight, type), Data.New(device, data.Dy, type));
        var (bias, transposedBias) = (Data.New(device, data.Bias, type), Data.New(device, data.TransposedBias, type));
        // Results start as NaN: every element must be written, and none read.
        var y = Data.New(device, Filled(shape.OutputLength), type);
        Convolution.Forward(device, shape, x, weight, new(null), y);
        Close(data.Forward(biased: false), Data.Read(device, y), tolerance);
        Convolution.Forward(device, shape, x, weight, new(bias), y);
        Close(data.Forward(biased: true), Data.Read(device, y), tolerance);
        double[] residual = data.Dy, sums = data.Forward(biased: true);
        double high = sums.Select(Math.Abs).DefaultIfEmpty(1).Max() / 2, low = -high / 3;
        Convolution.Forward(device, shape, x, weight, new(bias, Data.New(device, residual, type), low, high), y);
        Close([.. sums.Zip(residual, (sum, added) => Math.Clamp(sum + added, low, high))], Data.Read(device, y), tolerance);
        var dx = Data.New(device, Filled(shape.InputLength), type);
        Convolution.InputGradient(device, shape, dy, weight, null, dx);
        Close(data.InputGradient(biased: false), Data.Read(device, dx), tolerance);
        Convolution.InputGradient(device, shape, dy, weight, transposedBias, dx);
        Close(data.InputGradient(biased: true), Data.Read(device, dx), tolerance);
        var dweight = Data.New(device, Filled(shape.WeightLength), type);
        Convolution.WeightGradient(device, shape, x, dy, dweight);
        Close(data.WeightGradient(), Data.Read(device, dweight), tolerance);
    }

    /// <summary>The kernels that other machines run, on the direct path.</summary>
    [Theory, InlineData("uneven"), InlineData("groups"), InlineData("depthwise with a multiplier"), InlineData("stem")]
    public void Plain_kernels_follow_the_definition_in_vector_lanes(string shapeName)
    {
        var device = TestDevices.Get("direct");
        var shape = Find(shapeName);
        var data = new Reference(shape, 5);
        var (x, weight, dy) = (Data.New(device, data.X, ElementType.Float32), Data.New(device, data.Weight, ElementType.Float32), Data.New(device, data.Dy, ElementType.Float32));
        var y = Data.New(device, Filled(shape.OutputLength), ElementType.Float32);
        Convolution.PlainForward<float>(device, shape, x, weight, null, y);
        Close(data.Forward(biased: false), Data.Read(device, y), 2e-5);
        var dx = Data.New(device, Filled(shape.InputLength), ElementType.Float32);
        Convolution.PlainInputGradient<float>(device, shape, dy, weight, null, dx);
        Close(data.InputGradient(biased: false), Data.Read(device, dx), 2e-5);
        var dweight = Data.New(device, Filled(shape.WeightLength), ElementType.Float32);
        Convolution.PlainWeightGradient<float>(device, shape, x, dy, dweight);
        Close(data.WeightGradient(), Data.Read(device, dweight), 2e-5);
    }

    /// <summary>The documented bound of minimal filtering, on numbers whose sums do not cancel and on numbers whose sums do; and its switch.</summary>
    [Theory, InlineData(0.0), InlineData(1.0)]
    public void Minimal_filtering_stays_within_its_bound_and_can_be_switched_off(double mean)
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        var shape = New(2, 192, 32, 1, (12, 3, 1, 1, 1), (10, 3, 1, 1, 1));
        Assert.True(Winograd.Serves(shape));
        var data = new Reference(shape, 3);
        var random = new System.Random(7);
        for (int i = 0; i < data.X.Length; i++)
            data.X[i] = (float)(mean + random.NextDouble() - 0.5);
        for (int i = 0; i < data.Weight.Length; i++)
            data.Weight[i] = (float)(random.NextDouble() - 0.5);
        var (x, weight, y) = (Data.New(device, data.X, ElementType.Float32), Data.New(device, data.Weight, ElementType.Float32), Data.New(device, Filled(shape.OutputLength), ElementType.Float32));
        double[] exact = data.Forward(biased: false);
        double Error()
        {
            Convolution.Forward(device, shape, x, weight, new(null), y);
            double[] found = Data.Read(device, y);
            return Math.Sqrt(exact.Zip(found, (e, f) => (e - f) * (e - f)).Sum() / exact.Sum(e => e * e));
        }
        double filtered = Error();
        device.AllowWinograd = false;
        double plain = Error();
        Assert.InRange(filtered, 1e-8, 1e-5);
        Assert.InRange(plain, 1e-9, 2e-6);
        Assert.True(plain < filtered);
    }

    [SkippableTheory, InlineData("emulator"), InlineData("opencl"), InlineData("cuda")]
    public void Tiles_in_shared_memory_follow_the_definition(string name)
    {
        var device = TestDevices.Get(name);
        foreach (string shapeName in new[] { "one pixel", "3x3", "3x3 stride 2", "uneven", "groups", "many channels", "1x1 large" })
        {
            var shape = Find(shapeName);
            if (device.IsEmulated && shape.InputLength > 300)
                continue;
            if (device.IsEmulated)
                Tiles<Side4>(device, shape);
            else
                Tiles<Side16>(device, shape);
        }
    }

    private static void Tiles<S>(ComputeDevice device, Conv2dShape shape) where S : unmanaged, IGroupSide
    {
        var data = new Reference(shape, 7);
        var (x, weight, dy) = (Data.New(device, data.X, ElementType.Float32), Data.New(device, data.Weight, ElementType.Float32), Data.New(device, data.Dy, ElementType.Float32));
        var (bias, transposedBias) = (Data.New(device, data.Bias, ElementType.Float32), Data.New(device, data.TransposedBias, ElementType.Float32));
        var y = Data.New(device, Filled(shape.OutputLength), ElementType.Float32);
        TiledConvolution.Forward<float, S>(device, shape, x, weight, bias, y);
        Close(data.Forward(biased: true), Data.Read(device, y), 2e-5);
        var dx = Data.New(device, Filled(shape.InputLength), ElementType.Float32);
        TiledConvolution.InputGradient<float, S>(device, shape, dy, weight, transposedBias, dx);
        Close(data.InputGradient(biased: true), Data.Read(device, dx), 2e-5);
        var dweight = Data.New(device, Filled(shape.WeightLength), ElementType.Float32);
        TiledConvolution.WeightGradient<float, S>(device, shape, x, dy, dweight);
        Close(data.WeightGradient(), Data.Read(device, dweight), 2e-5);
    }

    [Fact]
    public void Tiles_compile_to_PTX_with_their_sums_in_registers()
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_80, null!);
        foreach (var kernel in new[]
        {
            typeof(TiledProduct<float, Side16, MatrixLines<float>, PatchLines<float>, MapRows<float>>), typeof(TiledProduct<double, Side16, FilterLines<double>, GradientPatchLines<double>, MapRows<double>>),
            typeof(TiledProduct<float, Side16, MapLines<float>, TapLines<float>, RowMajor<float, Identity<float>>>),
        })
        {
            var compiled = Assert.IsType<PTXCompiledKernel>(backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(KernelEntry.Method(kernel)), default));
            Assert.Contains("bar.sync", compiled.PTXAssembly, StringComparison.Ordinal);
            Assert.DoesNotContain(".local", compiled.PTXAssembly, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_bits_do_not_depend_on_the_number_of_workers()
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        foreach (var (name, shape) in Large)
        {
            var data = new Reference(shape, 11);
            var (x, weight, dy) = (Data.New(device, data.X, ElementType.Float32), Data.New(device, data.Weight, ElementType.Float32), Data.New(device, data.Dy, ElementType.Float32));
            double[][] first = [];
            foreach (int workers in (int[])[1, 2])
            {
                device.Team.MaxDegreeOfParallelism = workers;
                var y = Data.New(device, new double[shape.OutputLength], ElementType.Float32);
                var dx = Data.New(device, new double[shape.InputLength], ElementType.Float32);
                var dweight = Data.New(device, new double[shape.WeightLength], ElementType.Float32);
                Convolution.Forward(device, shape, x, weight, new(null), y);
                Convolution.InputGradient(device, shape, dy, weight, null, dx);
                Convolution.WeightGradient(device, shape, x, dy, dweight);
                double[][] bits = [Data.Read(device, y), Data.Read(device, dx), Data.Read(device, dweight)];
                if (workers == 1)
                    first = bits;
                else
                    Assert.True(first.Zip(bits).All(pair => pair.First.AsSpan().SequenceEqual(pair.Second)), name);
            }
        }
    }

    private static Conv2dShape Find(string name) => Small.Concat(Large).First(s => s.Name == name).Shape;

    private static double[] Filled(int n) => [.. Enumerable.Repeat(double.NaN, n)];

    private static void Close(double[] expected, double[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        double scale = expected.Length == 0 ? 1 : Math.Max(1, expected.Max(Math.Abs));
        for (int i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= tolerance * scale, $"element {i}: {expected[i]} expected, {actual[i]} found");
    }

    private static Conv2dShape New(int n, int c, int o, int groups, (int I, int K, int S, int P, int D) y, (int I, int K, int S, int P, int D) x) =>
        new(n, c, o, groups, new(y.I, y.K, y.S, y.P, y.D), new(x.I, x.K, x.S, x.P, x.D));

    /// <summary>The definition: every product of a pixel, a tap and an output, visited once.</summary>
    private sealed class Reference
    {
        private readonly Conv2dShape s;
        private double[]? y, dx;

        public Reference(Conv2dShape shape, int seed)
        {
            s = shape;
            var random = new Random(seed);
            X = Draw(s.InputLength);
            Weight = Draw(s.WeightLength);
            Dy = Draw(s.OutputLength);
            Bias = Draw(s.Outputs);
            TransposedBias = Draw(s.Channels);

            // Multiples of 1/64 are the same in float32.
            double[] Draw(int n) => [.. Enumerable.Range(0, n).Select(_ => random.Next(-64, 65) / 64.0)];
        }

        public double[] X { get; }

        public double[] Weight { get; }

        public double[] Dy { get; }

        public double[] Bias { get; }

        public double[] TransposedBias { get; }

        public double[] Forward(bool biased)
        {
            if (y is null)
            {
                y = new double[s.OutputLength];
                Walk((ix, iw, iy) => y[iy] += X[ix] * Weight[iw]);
            }
            return [.. y.Select((sum, i) => biased ? sum + Bias[i / s.OutputPlane % s.Outputs] : sum)];
        }

        public double[] InputGradient(bool biased)
        {
            if (dx is null)
            {
                dx = new double[s.InputLength];
                Walk((ix, iw, iy) => dx[ix] += Dy[iy] * Weight[iw]);
            }
            return [.. dx.Select((sum, i) => biased ? sum + TransposedBias[i / s.InputPlane % s.Channels] : sum)];
        }

        public double[] WeightGradient()
        {
            var dweight = new double[s.WeightLength];
            Walk((ix, iw, iy) => dweight[iw] += Dy[iy] * X[ix]);
            return dweight;
        }

        private void Walk(Action<int, int, int> visit)
        {
            for (int n = 0; n < s.Batch; n++)
                for (int o = 0; o < s.Outputs; o++)
                    for (int c = 0; c < s.GroupChannels; c++)
                        for (int kh = 0; kh < s.Y.Kernel; kh++)
                            for (int kw = 0; kw < s.X.Kernel; kw++)
                                Tap(visit, n, o, c, kh, kw);
        }

        private void Tap(Action<int, int, int> visit, int n, int o, int c, int kh, int kw)
        {
            int channel = o / s.GroupOutputs * s.GroupChannels + c;
            for (int oh = 0; oh < s.Y.Output; oh++)
            {
                int ih = oh * s.Y.Stride - s.Y.Padding + kh * s.Y.Dilation;
                for (int ow = 0; ow < s.X.Output; ow++)
                {
                    int iw = ow * s.X.Stride - s.X.Padding + kw * s.X.Dilation;
                    if (ih >= 0 && ih < s.Y.Input && iw >= 0 && iw < s.X.Input)
                    {
                        visit(((n * s.Channels + channel) * s.Y.Input + ih) * s.X.Input + iw, ((o * s.GroupChannels + c) * s.Y.Kernel + kh) * s.X.Kernel + kw,
                            ((n * s.Outputs + o) * s.Y.Output + oh) * s.X.Output + ow);
                    }
                }
            }
        }
    }
}
