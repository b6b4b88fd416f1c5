using System.Runtime.InteropServices;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

/// <summary>Convolutions on the tiles tuned for CUDA, whose PTX a machine of the tests runs.</summary>
public partial class ConvolutionTests
{
    /// <summary>Forward, gradient of the input, gradient of the weight, for each precision.</summary>
    private static readonly Dictionary<string, Type[]> TunedKernels = new()
    {
        ["float32"] = Staged<ScalarVariant>(),
        ["tf32"] = Staged<TensorFloat32Variant>(),
        ["bfloat16"] = Narrow<BFloat16Variant>(),
        ["float16"] = Narrow<Float16Variant>(),
    };

    private static readonly Lazy<Dictionary<string, string[]>> TunedTexts = new(() =>
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_78, null!);
        return TunedKernels.ToDictionary(item => item.Key, item => Array.ConvertAll(item.Value, kernel => KernelLoader.Compile(backend, KernelLoader.Entry(kernel)).PTXAssembly));
    });

    public static TheoryData<string, string> TunedCases
    {
        get
        {
            var cases = new TheoryData<string, string>();
            foreach (string shape in new[] { "one pixel", "3x3", "3x3 stride 2", "1x1 with padding", "uneven", "dilated", "groups", "several tiles" })
            {
                cases.Add("float32", shape);
                cases.Add("bfloat16", shape);
            }
            foreach (string shape in new[] { "uneven", "groups" })
            {
                cases.Add("tf32", shape);
                cases.Add("float16", shape);
            }
            return cases;
        }
    }

    public static TheoryData<string> TunedPrecisions => [.. TunedKernels.Keys];

    /// <summary>The numbers are exact in every precision, and so are their sums: what the machine gives is the definition's to the last bit.</summary>
    [Theory, MemberData(nameof(TunedCases))]
    public void Tuned_tiles_follow_the_definition(string precision, string shapeName)
    {
        var s = shapeName == "several tiles" ? New(2, 3, 130, 1, (9, 3, 1, 1, 1), (10, 3, 1, 1, 1)) : Find(shapeName);
        var data = new Reference(s, 5);
        string[] texts = TunedTexts.Value[precision];
        // Each part begins where 16 bytes can be copied at once; what is read beside is no number.
        var memory = new List<float>();
        int x = Put(data.X), weight = Put(data.Weight), dy = Put(data.Dy), bias = Put(data.Bias), transposedBias = Put(data.TransposedBias), result = memory.Count;
        int depth = s.GroupChannels * s.Taps;
        Exact(data.Forward(biased: true), Run(texts[0], new(s.Groups, s.GroupOutputs, s.Batch * s.OutputPlane, depth),
            new MatrixLines<float>(View(weight, s.WeightLength), depth, 1, s.GroupOutputs * depth), weight, new PatchLines<float>(s, View(x, s.InputLength)), x,
            new MapRows<float>(View(result, s.OutputLength), View(bias, s.Outputs), 1, s.Outputs, s.GroupOutputs, s.OutputPlane), s.OutputLength));
        Exact(data.InputGradient(biased: true), Run(texts[1], new(s.Groups, s.GroupChannels, s.Batch * s.InputPlane, s.GroupOutputs * s.Taps),
            new FilterLines<float>(s, View(weight, s.WeightLength)), weight, new GradientPatchLines<float>(s, View(dy, s.OutputLength)), dy,
            new MapRows<float>(View(result, s.InputLength), View(transposedBias, s.Channels), 1, s.Channels, s.GroupChannels, s.InputPlane), s.InputLength));
        foreach (int pieces in new[] { 1, s.Batch }.Distinct())
        {
            int images = s.Batch / pieces;
            float[] sums = Run(texts[2], new(pieces * s.Groups, s.GroupOutputs, depth, images * s.OutputPlane),
                new MapLines<float>(s, View(dy, s.OutputLength), images), dy, new TapLines<float>(s, View(x, s.InputLength), images), x,
                new RowMajor<float, Identity<float>>(View(result, pieces * s.WeightLength), s.GroupOutputs, depth, default), pieces * s.WeightLength);
            Exact(data.WeightGradient(), [.. Enumerable.Range(0, s.WeightLength).Select(i => Enumerable.Range(0, pieces).Sum(piece => sums[piece * s.WeightLength + i]))]);
        }

        int Put(double[] numbers)
        {
            int at = memory.Count;
            memory.AddRange(numbers.Select(number => (float)number));
            memory.AddRange(Enumerable.Repeat(float.NaN, 4 + (4 - memory.Count % 4) % 4));
            return at;
        }

        float[] Run<A, B, O>(string text, MatMulShape shape, A a, int atA, B b, int atB, O output, int count)
            where A : struct, ITileSource<float> where B : struct, ITileSource<float> where O : struct, IOutput<float>
        {
            // Of one layout for every variant.
            var kernel = new StagedProduct<float, ScalarVariant, A, B, O>(new(shape), new(a, PtxMachine.GlobalBase + 4L * atA, shape.M), new(b, PtxMachine.GlobalBase + 4L * atB, shape.N), output);
            byte[] bytes = MemoryMarshal.AsBytes<float>([.. memory, .. Enumerable.Repeat(float.NaN, count)]).ToArray();
            var machine = new PtxMachine(text, KernelBytes.Of(kernel), bytes);
            for (int group = 0; group < ProductTile.Groups(shape).GridDim.Size; group++)
                machine.Run(group, ProductTile.Threads);
            return MemoryMarshal.Cast<byte, float>(bytes)[result..].ToArray();
        }

        static ILGPU.ArrayView<float> View(int at, int length) => KernelBytes.View(at, length);

        static void Exact(double[] want, float[] got) => Assert.Equal(want, got.Select(number => (double)number));
    }

    [Theory, MemberData(nameof(TunedPrecisions))]
    public void Tuned_tiles_have_the_instructions_that_they_are_meant_to(string precision)
    {
        foreach (string text in TunedTexts.Value[precision])
        {
            Assert.DoesNotContain(".local", text, StringComparison.Ordinal);
            Assert.Equal(precision is "float32" or "tf32", text.Contains("cp.async.ca.shared.global", StringComparison.Ordinal));
            Assert.Contains(precision switch { "float32" => "fma.rn.f32 c63", "tf32" => "m16n8k8.row.col.f32.tf32", "bfloat16" => "m16n8k16.row.col.f32.bf16", _ => "m16n8k16.row.col.f32.f16" }, text, StringComparison.Ordinal);
        }
    }

    [SkippableTheory, MemberData(nameof(TunedPrecisions))]
    public void The_assembler_takes_tuned_tiles_and_spills_nothing(string precision)
    {
        foreach (string text in TunedTexts.Value[precision])
            TunedMatMulTests.AssembledWithoutSpills(text, "sm_80");
    }

    /// <summary>On a card: forward and both gradients in every precision, again without a rounding.</summary>
    [SkippableTheory]
    [InlineData("cuda", MatMulPrecision.Float32)]
    [InlineData("cuda", MatMulPrecision.TensorFloat32)]
    [InlineData("cuda", MatMulPrecision.BFloat16)]
    [InlineData("cuda", MatMulPrecision.Float16)]
    public void A_card_follows_the_definition(string machine, MatMulPrecision precision)
    {
        var device = TestDevices.Get(machine);
        Skip.If(!device.HasAsynchronousCopies, $"{device.Description.Name} is older than compute capability 8.0.");
        (device.MatMulPrecision, device.AllowTunedMatMul) = (precision, true);
        try
        {
            foreach (string shapeName in new[] { "many channels", "many channels, stride 2", "deep", "1x1 large" })
                Tiles<Side16>(device, Find(shapeName));
        }
        finally
        {
            (device.MatMulPrecision, device.AllowTunedMatMul) = (MatMulPrecision.Float32, false);
        }
    }

    private static Type[] Staged<V>() where V : unmanaged, IProductVariant =>
    [
        typeof(StagedProduct<float, V, MatrixLines<float>, PatchLines<float>, MapRows<float>>), typeof(StagedProduct<float, V, FilterLines<float>, GradientPatchLines<float>, MapRows<float>>),
        typeof(StagedProduct<float, V, MapLines<float>, TapLines<float>, RowMajor<float, Identity<float>>>),
    ];

    private static Type[] Narrow<V>() where V : unmanaged, INarrowVariant =>
    [
        typeof(NarrowProduct<float, V, MatrixLines<float>, PatchLines<float>, MapRows<float>>), typeof(NarrowProduct<float, V, FilterLines<float>, GradientPatchLines<float>, MapRows<float>>),
        typeof(NarrowProduct<float, V, MapLines<float>, TapLines<float>, RowMajor<float, Identity<float>>>),
    ];
}
