using System.Reflection;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>Elements of 16 bits on every machine: all 65,536 patterns both ways, what lies between them, and the operators that move them.</summary>
public class NarrowTests
{
    private const ElementType F16 = ElementType.Float16, BF16 = ElementType.BFloat16, F32 = ElementType.Float32, F64 = ElementType.Float64;

    public static TheoryData<string, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, ElementType>();
            foreach (string machine in TestDevices.Names)
            {
                cases.Add(machine, F16);
                cases.Add(machine, BF16);
            }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void All_patterns_are_widened_and_rounded_back(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        ushort[] patterns = [.. Enumerable.Range(0, 65536).Where(i => i % Step(machine) == 0).Select(i => (ushort)i)];
        var x = Of(patterns, type, device);
        float[] wide = x.To(F32).ToArray<float>();
        ushort[] back = Patterns(x.To(F32).To(type));
        double[] doubles = x.To(F64).ToArray<double>();
        ushort[] others = Patterns(x.To(type == F16 ? BF16 : F16)), through = Patterns(x.To(F32).To(type == F16 ? BF16 : F16));
        for (int i = 0; i < patterns.Length; i++)
        {
            double want = Value(patterns[i], type);
            Assert.Equal(want, wide[i]);
            Assert.Equal(want, doubles[i]);
            Assert.Equal((patterns[i] & 0x8000) != 0, float.IsNegative(wide[i])); // of zeros and NaN too
            if (double.IsNaN(want))
                Assert.True(double.IsNaN(Value(back[i], type)) && double.IsNaN(Value(others[i], type == F16 ? BF16 : F16)) && ((back[i] ^ patterns[i]) & 0x8000) == 0);
            else
                Assert.Equal(patterns[i], back[i]);
            Assert.Equal(through[i], others[i]);
        }
        Assert.Equal(patterns, Patterns(x.Clone()));
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Between_two_neighbours_the_nearer_is_taken_and_of_two_the_even(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        ushort infinity = type == F16 ? (ushort)0x7c00 : (ushort)0x7f80;
        var values = new List<double>();
        var wanted = new List<ushort>();
        for (ushort low = 0; low < infinity; low += (ushort)Step(machine))
        {
            ushort high = (ushort)(low + 1);
            double a = Value(low, type), b = high == infinity ? 2 * a - Value((ushort)(low - 1), type) : Value(high, type), middle = (a + b) / 2;
            foreach (var (value, pattern) in new[] { (middle, low % 2 == 0 ? low : high), (Math.BitDecrement(middle), low), (Math.BitIncrement(middle), high) })
            {
                values.AddRange([value, -value]);
                wanted.AddRange([pattern, (ushort)(pattern | 0x8000)]);
            }
        }
        // Doubles so near to the middle that rounding them to float32 first would lose on which side they are.
        Assert.Equal(wanted, Patterns(Tensor.From(values.ToArray(), device).To(type)));
        // The middles themselves are floats, and so are their neighbours; below float32's normal numbers, which some devices take for 0, there is nothing to tell.
        var floats = new List<float>();
        wanted.Clear();
        for (int i = 0; i < values.Count; i += 6)
        {
            if (Math.Abs(values[i]) < 2 * 1.17549435e-38)
                continue;
            float middle = (float)values[i];
            Assert.Equal(values[i], middle);
            ushort low = (ushort)(i / 6 * Step(machine)), high = (ushort)(low + 1);
            floats.AddRange([middle, MathF.BitDecrement(middle), MathF.BitIncrement(middle)]);
            wanted.AddRange([low % 2 == 0 ? low : high, low, high]);
        }
        floats.AddRange([float.MaxValue, float.PositiveInfinity, float.NegativeInfinity, 0, -0f]);
        wanted.AddRange([infinity, infinity, (ushort)(infinity | 0x8000), 0, 0x8000]);
        Assert.Equal(wanted, Patterns(Tensor.From(floats.ToArray(), device).To(type)));
        Assert.True(double.IsNaN(Value(Patterns(Tensor.From([float.NaN], device).To(type))[0], type)));
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Integers_and_doubles_are_rounded_once(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        int[] integers = [0, 1, -1, 2049, 2051, 65519, 65520, -65520, 16777217, (1 << 24) + (1 << 16), (1 << 24) + (1 << 16) + 1, -((1 << 24) + (1 << 16) + 1), int.MaxValue, int.MinValue];
        Assert.Equal(Patterns(Tensor.From(Array.ConvertAll(integers, i => (double)i), device).To(type)), Patterns(Tensor.From(integers, device).To(type)));
        double[] doubles = [1e300, -1e300, 1e-300, 5e-324, -0.0, 0.1, double.NaN, double.NegativeInfinity, 65519.999999999];
        Assert.Equal(Patterns(Tensor.FromDoubles(doubles, [doubles.Length], device, type)), Patterns(Tensor.From(doubles, device).To(type)));
        Assert.Equal([3, -3, 0, type == F16 ? int.MaxValue : 100_139_008], Tensor.From([3.9f, -3.9f, 0.1f, 1e8f], device).To(type).To(ElementType.Int32).ToArray<int>());
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void They_are_moved_filled_and_indexed(string machine, ElementType type)
    {
        var device = EngineDevices.Get(machine);
        var x = Tensor.Arange(0, 60, device: device).Reshape(3, 4, 5); // exact in both types
        var y = x.To(type);
        var index = Tensor.From([2, 0, 2], device);
        var places = Tensor.From([3, 0, 1, 2], [1, 4, 1], device);
        foreach (var (name, move) in new (string, Func<Tensor, Tensor>)[]
        {
            ("Permute", t => t.Permute(2, 0, 1).Contiguous()), ("Narrow", t => t.Narrow(1, 1, 2).Clone()), ("Select", t => t.Select(0, 2)), ("Concat", t => Tensor.Concat([t, t], 1)),
            ("Stack", t => Tensor.Stack([t, t.Flip(0)], 3)), ("Pad", t => t.Pad([1, 2, 0, -1], 7)), ("Expand", t => t.Unsqueeze(0).Expand([2, 3, 4, 5]).Contiguous()),
            ("IndexSelect", t => t.IndexSelect(0, index)), ("inner IndexSelect", t => t.IndexSelect(1, index)), ("Gather", t => t.Gather(1, places)), ("Embedding", t => t.Reshape(12, 5).Embedding(index)),
            ("Repeat", t => t.Flatten().Unsqueeze(0).Expand([4, 60]).Reshape(-1)), ("CopyInPlace", t => t.Clone().CopyInPlace(t.Select(0, 0))), ("Transpose", t => t.Reshape(12, 5).Transpose().Contiguous()),
        })
        {
            var moved = move(y);
            Assert.True(moved.ElementType == type, name);
            Assert.Equal(move(x).ToArray<float>(), moved.To(F32).ToArray<float>());
        }
        Assert.Equal([2.5f, 2.5f], Tensor.Full([2], 2.5, device, type).To(F32).ToArray<float>());
        Assert.Equal([1f, 0, 0, 1], Tensor.From([0, 1], device).OneHot(2, type).Flatten().To(F32).ToArray<float>());
        Assert.Equal(1.5, Tensor.Full([], 1.5, device, type).Item());
        Assert.Contains("1.5", Tensor.Full([1], 1.5, device, type).ToString(), StringComparison.Ordinal);
        Assert.Equal(Patterns(y), Patterns(y.To(Device.Cpu)));
        Assert.Equal(120, Tensor.Allocate([60], device, type).Elements * type.Size());
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void A_gradient_passes_through_rounding_as_it_is_and_stays_wide(string machine, ElementType type)
    {
        var x = Tensor.From([0.1f, 0.2f, 0.3f], EngineDevices.Get(machine));
        x.RequiresGrad = true;
        var narrow = x.To(type);
        var twice = narrow.Narrow(0, 1, 2);
        ((narrow.To(F32) * 0.7f).Sum() + (twice.To(F64) * 1.1).Sum().To(F32)).Backward();
        Assert.Equal([0.7f, 0.7f + 1.1f, 0.7f + 1.1f], x.Grad!.ToArray<float>());
        x.Grad = null;
        x.To(type).Select(0, 0).Backward();
        Assert.Equal([1f, 0, 0], x.Grad!.ToArray<float>());
    }

    [Theory, InlineData(F16), InlineData(BF16)]
    public void What_does_not_compute_in_16_bits_says_so(ElementType type)
    {
        var x = Tensor.Ones([2, 2], type: type);
        foreach (var use in new Action[]
        {
            () => _ = x + x, () => x.Relu(), () => x.Sum(), () => x.MatMul(x), () => x.Linear(x), () => x.Softmax(), () => x.Sort(0), () => x.Max(), () => x.RequiresGrad = true, () => x.AddInPlace(x),
            () => x.Greater(0), () => x.Unsqueeze(0).Unsqueeze(0).Conv2d(x.Unsqueeze(0).Unsqueeze(0)), () => x.Unsqueeze(0).Unsqueeze(0).MaxPool2d(2), () => x.ScaledDotProductAttention(x, x),
            () => x.LogSumExp(), () => x.LayerNorm([2]), () => x.Dropout(), () => x.CrossEntropy(Tensor.From([0, 1])), () => Tensor.Normal([2], type: type),
            () => new TransferEngine.Modules.Linear(2, 2).To(type), () => _ = new Sgd([x], 0.1), () => x.ScatterAdd(0, Tensor.From([0, 0], [1, 2]), x.Narrow(0, 0, 1)),
        })
        {
            var error = Assert.Throws<ElementTypeException>(use);
            Assert.Contains(type.ToString(), error.Message, StringComparison.Ordinal);
        }
    }

    [SkippableTheory, InlineData("sm_70"), InlineData("sm_90")]
    public void Their_kernels_compile_to_PTX(string architecture)
    {
        Type[] kernels =
        [
            typeof(ConversionKernel<float, ushort, float, Narrow<Float16Bits>>), typeof(ConversionKernel<float, ushort, float, Narrow<BFloat16Bits>>), typeof(ConversionKernel<ushort, float, float, Narrow<Float16Bits>>),
            typeof(ConversionKernel<double, ushort, double, Narrow<Float16Bits>>), typeof(ConversionKernel<int, ushort, float, Narrow<BFloat16Bits>>), typeof(ConversionKernel<float, float, float, Narrow<Float16Bits>>),
            typeof(ConversionKernel<ushort, ushort, float, Renarrowed<Float16Bits, BFloat16Bits>>), typeof(CopyNarrowKernel), typeof(FillNarrowKernel), typeof(SelectNarrowKernel), typeof(GatherKernel<ushort>), typeof(UnscaleKernel<float>),
        ];
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, architecture == "sm_70" ? CudaArchitecture.SM_70 : CudaArchitecture.SM_90, CudaInstructionSet.ISA_80, null!);
        foreach (var kernel in kernels)
            Assert.Contains(".entry", KernelLoader.Compile(backend, KernelLoader.Entry(kernel)).PTXAssembly, StringComparison.Ordinal);
    }

    /// <summary>ILGPU's emulator takes a minute for all patterns, and runs the code that OpenCL runs: it gets every 1009th.</summary>
    private static int Step(string machine) => machine == "emulator" ? 1009 : 1;

    /// <summary>The number that 16 bits stand for, by the definition of the format.</summary>
    private static double Value(ushort pattern, ElementType type)
    {
        int fractionBits = type == F16 ? 10 : 7, bias = type == F16 ? 15 : 127;
        int exponent = (pattern & 0x7fff) >> fractionBits, fraction = pattern & ((1 << fractionBits) - 1), top = (1 << (15 - fractionBits)) - 1;
        double size = exponent == top ? (fraction == 0 ? double.PositiveInfinity : double.NaN)
            : exponent == 0 ? Math.ScaleB(fraction, 1 - bias - fractionBits)
            : Math.ScaleB((1 << fractionBits) + fraction, exponent - bias - fractionBits);
        return (pattern & 0x8000) != 0 ? -size : size;
    }

    private static Tensor Of(ushort[] patterns, ElementType type, Device device) => type == F16
        ? Tensor.From(Array.ConvertAll(patterns, BitConverter.UInt16BitsToHalf), device)
        : Tensor.From(Array.ConvertAll(patterns, bits => new BFloat16(bits)), device);

    private static ushort[] Patterns(Tensor x) => x.ElementType == F16
        ? Array.ConvertAll(x.ToArray<Half>(), BitConverter.HalfToUInt16Bits)
        : Array.ConvertAll(x.ToArray<BFloat16>(), value => value.Bits);
}
