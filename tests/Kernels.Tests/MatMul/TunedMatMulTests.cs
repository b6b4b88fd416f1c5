using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

/// <summary>The products tuned for CUDA: their PTX has the instructions it is meant to have and, run by <see cref="PtxMachine"/>, computes the product; on a card, if one is there, too.</summary>
public partial class TunedMatMulTests
{
    private static readonly Dictionary<string, Type> Tuned = new()
    {
        ["float32"] = typeof(StagedProduct<float, ScalarVariant, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>),
        ["tf32"] = typeof(StagedProduct<float, TensorFloat32Variant, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>),
        ["bfloat16"] = typeof(NarrowProduct<float, BFloat16Variant, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>),
        ["float16"] = typeof(NarrowProduct<float, Float16Variant, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>),
    };

    private static readonly Dictionary<string, CudaArchitecture> Architectures = new()
    {
        ["sm_80"] = CudaArchitecture.SM_80,
        ["sm_86"] = CudaArchitecture.SM_86,
        ["sm_89"] = CudaArchitecture.SM_89,
        ["sm_90"] = CudaArchitecture.SM_90,
    };

    private static readonly Lazy<Dictionary<(string, string), string>> Compiled = new(() =>
    {
        using var context = ComputeDevice.CompilerContext();
        var texts = new Dictionary<(string, string), string>();
        foreach (var (architecture, target) in Architectures)
        {
            using var backend = new PTXBackend(context, target, CudaInstructionSet.ISA_78, null!);
            foreach (var (name, kernel) in Tuned)
                texts[(name, architecture)] = KernelLoader.Compile(backend, KernelLoader.Entry(kernel)).PTXAssembly;
        }
        return texts;
    });

    public static TheoryData<string, string> Variants
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (string name in Tuned.Keys)
                foreach (string architecture in Architectures.Keys)
                    data.Add(name, architecture);
            return data;
        }
    }

    public static TheoryData<string, int, int, int, int, bool, bool> Products
    {
        get
        {
            var data = new TheoryData<string, int, int, int, int, bool, bool>();
            foreach (string name in Tuned.Keys)
            {
                data.Add(name, 1, 128, 128, 48, false, false); // whole tiles, as many stages as there are, and one more round
                data.Add(name, 1, 130, 137, 35, false, false); // odd sizes in several tiles
                data.Add(name, 2, 5, 7, 3, true, false); // less than a tile, a batch
                data.Add(name, 1, 132, 68, 80, true, false); // 16 bytes at once where lines lie together
                data.Add(name, 1, 20, 132, 33, false, true);
                data.Add(name, 3, 20, 36, 20, true, true);
            }
            return data;
        }
    }

    [Theory, MemberData(nameof(Variants))]
    public void The_PTX_holds_the_instructions_that_it_is_meant_to(string name, string architecture)
    {
        string text = Compiled.Value[(name, architecture)];
        Assert.Contains(".target sm_80", text, StringComparison.Ordinal); // ILGPU names the oldest target that will do, whatever the card; the driver translates for the card
        Assert.DoesNotContain(".local", text, StringComparison.Ordinal);
        Assert.DoesNotContain("repeat", text, StringComparison.Ordinal);
        Assert.DoesNotContain("$", text, StringComparison.Ordinal);
        Assert.Contains(".shared .align 128", text, StringComparison.Ordinal);
        var (copies, ldmatrix, mma, kind, fma) = name switch
        {
            "float32" => (true, 0, 0, "mma.sync", 16 * 64),
            "tf32" => (true, 0, 2 * 16, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 0),
            "bfloat16" => (false, 6, 16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 0),
            _ => (false, 6, 16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 0),
        };
        Assert.Equal(mma, Count(text, kind));
        Assert.Equal(mma, Count(text, "mma.sync"));
        Assert.Equal(ldmatrix, Count(text, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"));
        Assert.Equal(fma, Count(text, "fma.rn.f32 c"));
        Assert.Equal(copies, text.Contains("cp.async.cg.shared.global", StringComparison.Ordinal) && text.Contains("cp.async.ca.shared.global", StringComparison.Ordinal));
        Assert.Equal(copies ? 1 : 0, Count(text, "cp.async.wait_group 1;"));
    }

    [Theory, MemberData(nameof(Products))]
    public void The_PTX_computes_the_product(string name, int batch, int m, int n, int k, bool transposedA, bool transposedB) =>
        AssertProduct(name, Compiled.Value[(name, "sm_80")], batch, m, n, k, transposedA, transposedB);

    /// <summary>The machine notices what it is there for: a barrier or a wait left out, two registers exchanged, a place one number off.</summary>
    [Theory]
    [InlineData("float32", "bar.sync", "// bar.sync")]
    [InlineData("tf32", "cp.async.wait_group 1;", "")]
    [InlineData("bfloat16", "bar.sync", "// bar.sync")]
    [InlineData("tf32", "{a0, a1, a2, a3}", "{a0, a2, a1, a3}")]
    [InlineData("float16", "{b0, b1}", "{b1, b0}")]
    [InlineData("float32", "[x2+512]", "[x2+1024]")]
    [InlineData("bfloat16", "x4.trans", "x4")]
    public void The_machine_notices_mistakes(string name, string right, string wrong)
    {
        string text = Compiled.Value[(name, "sm_80")];
        Assert.Contains(right, text, StringComparison.Ordinal);
        Assert.ThrowsAny<Exception>(() => AssertProduct(name, text.Replace(right, wrong, StringComparison.Ordinal), 1, 128, 128, 80, false, false));
    }

    /// <summary>The assembler of CUDA's toolkit, where it is installed, takes every variant without spilling a register, and two groups of tensor cores fit a multiprocessor of 100 KiB.</summary>
    [SkippableTheory, MemberData(nameof(Variants))]
    public void The_assembler_takes_it_and_spills_nothing(string name, string architecture)
    {
        string report = AssembledWithoutSpills(Compiled.Value[(name, architecture)], architecture);
        int registers = Number(RegistersUsed().Match(report)), bytes = Number(SharedUsed().Match(report));
        Assert.InRange(registers, 64, 255);
        Assert.True(Groups(registers, bytes) >= (name == "tf32" ? 2 : 1), $"{registers} registers, {bytes} bytes");

        static int Number(Match match) => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
    }

    /// <summary>On a card: every precision against float64, the same bits twice, and the portable kernel where nothing was asked for.</summary>
    [SkippableTheory]
    [InlineData("cuda", MatMulPrecision.Float32, 2e-6)]
    [InlineData("cuda", MatMulPrecision.TensorFloat32, 2e-3)]
    [InlineData("cuda", MatMulPrecision.BFloat16, 1.2e-2)]
    [InlineData("cuda", MatMulPrecision.Float16, 2e-3)]
    public void A_card_computes_the_product(string machine, MatMulPrecision precision, double tolerance)
    {
        var device = TestDevices.Get(machine);
        Skip.If(!device.HasAsynchronousCopies, $"{device.Description.Name} is older than compute capability 8.0.");
        foreach (var (batch, m, n, k, transposedA, transposedB) in new[] { (1, 128, 128, 64, false, false), (1, 1000, 333, 517, false, false), (3, 130, 137, 35, true, false), (1, 260, 132, 1000, true, true), (2, 16, 200, 16, false, true) })
        {
            var (a, b) = Draw(batch, m, n, k);
            float[] first = Run(), second = Run();
            Assert.Equal(first, second);
            double scale = Math.Sqrt(k), worst = Reference(a, b, batch, m, n, k, transposedA, transposedB, x => x).Zip(first, (want, got) => Math.Abs(want - got) / scale).Max();
            Assert.True(worst <= tolerance, $"{precision} {batch}x{m}x{n}x{k}: {worst:E2}");

            float[] Run()
            {
                var (sa, sb, sc) = (Put(a), Put(b), new Slice(device.Memory.Rent(4L * batch * m * n, null), 0, batch * m * n, ElementType.Float32));
                try
                {
                    (device.MatMulPrecision, device.AllowTunedMatMul) = (precision, true);
                    Matrix left = transposedA ? Matrix.RowMajor(sa, k, m).Transposed : Matrix.RowMajor(sa, m, k), right = transposedB ? Matrix.RowMajor(sb, n, k).Transposed : Matrix.RowMajor(sb, k, n);
                    MatMul.Run(device, new(batch, m, n, k), left, right, sc);
                    var results = new float[batch * m * n];
                    device.CopyOut<float>(sc, results);
                    return results;
                }
                finally
                {
                    (device.MatMulPrecision, device.AllowTunedMatMul) = (MatMulPrecision.Float32, false);
                    foreach (var slice in new[] { sa, sb, sc })
                        device.Memory.Return(slice.Block);
                }
            }

            Slice Put(float[] numbers)
            {
                var slice = new Slice(device.Memory.Rent(4L * numbers.Length, null), 0, numbers.Length, ElementType.Float32);
                device.CopyIn<float>(numbers, slice);
                return slice;
            }
        }
    }

    [Theory]
    [InlineData("repeat i 3 { r$(i) }", " r0  r1  r2 ")]
    [InlineData("repeat i 2 { repeat j 2 { {a$(2*i+j)} } }", "  {a0}  {a1}    {a2}  {a3}  ")]
    [InlineData("repeat k 4 {$(((k>>1)^(k<<1))&3),}", "0,2,1,3,")]
    [InlineData("repeat k 2 {$(7-k*2/1%3+1<<1&6^8) }", "8 12 ")]
    [InlineData("no repetition: $(1)", "no repetition: $(1)")]
    public void Repetitions_are_spelled_out(string text, string want) => Assert.Equal(want, PtxText.Expand(text));

    private static void AssertProduct(string name, string text, int batch, int m, int n, int k, bool transposedA, bool transposedB)
    {
        var (a, b) = Draw(batch, m, n, k);
        int atB = (a.Length + 3) / 4 * 4, atC = atB + b.Length; // operands lie where 16 bytes can be copied at once
        var memory = new float[atC + batch * m * n];
        Array.Fill(memory, float.NaN);
        a.CopyTo(memory, 0);
        b.CopyTo(memory, atB);
        var bytes = MemoryMarshal.AsBytes<float>(memory).ToArray();
        var machine = new PtxMachine(text, Parameters(batch, m, n, k, transposedA, transposedB, atB, atC), bytes);
        for (int group = 0; group < ProductTile.Groups(new(batch, m, n, k)).GridDim.Size; group++)
            machine.Run(group, ProductTile.Threads);
        var got = MemoryMarshal.Cast<byte, float>(bytes)[atC..].ToArray();
        var want = Reference(a, b, batch, m, n, k, transposedA, transposedB, x => Rounded(name, x));
        double worst = want.Zip(got, (x, y) => Math.Abs(x - y)).Max();
        Assert.True(worst <= 1e-7 * (k + 10), $"{name} {batch}x{m}x{n}x{k}: {worst:E2}"); // operands were rounded alike: only the sums round, to float32
        Assert.Equal(name != "float32", machine.Executed.ContainsKey("mma"));
    }

    /// <summary>The bytes of the kernel's argument, of one layout for every variant.</summary>
    private static byte[] Parameters(int batch, int m, int n, int k, bool transposedA, bool transposedB, int atB, int atC)
    {
        return KernelBytes.Of(new StagedProduct<float, ScalarVariant, MatrixLines<float>, MatrixLines<float>, RowMajor<float, Identity<float>>>(
            new(new(batch, m, n, k)), Operand(0, batch * m * k, transposedA ? 1 : k, transposedA ? m : 1, m * k, m), Operand(atB, batch * k * n, transposedB ? k : 1, transposedB ? 1 : n, k * n, n),
            new(KernelBytes.View(atC, batch * m * n), m, n, default)));

        static ProductOperand<float, MatrixLines<float>> Operand(int at, int length, int line, int step, int batchStride, int lines) =>
            new(new(KernelBytes.View(at, length), line, step, batchStride), PtxMachine.GlobalBase + 4L * at, lines);
    }

    private static (float[] A, float[] B) Draw(int batch, int m, int n, int k)
    {
        var random = new Random(batch * 1000003 + m * 10007 + n * 101 + k);
        return (Numbers(batch * m * k), Numbers(batch * k * n));

        float[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];
    }

    private static double[] Reference(float[] a, float[] b, int batch, int m, int n, int k, bool transposedA, bool transposedB, Func<float, double> round)
    {
        double[] left = Array.ConvertAll(a, x => round(x)), right = Array.ConvertAll(b, x => round(x)), sums = new double[batch * m * n];
        for (int i = 0; i < sums.Length; i++)
        {
            int column = i % n, row = i / n % m, of = i / n / m;
            for (int p = 0; p < k; p++)
                sums[i] += left[of * m * k + (transposedA ? p * m + row : row * k + p)] * right[of * k * n + (transposedB ? column * k + p : p * n + column)];
        }
        return sums;
    }

    private static double Rounded(string name, float x) => name switch
    {
        "tf32" => BitConverter.UInt32BitsToSingle(PtxMachine.RoundedToTensorFloat32(BitConverter.SingleToUInt32Bits(x))),
        "bfloat16" => BitConverter.UInt32BitsToSingle(PtxMachine.RoundedToBFloat16(BitConverter.SingleToUInt32Bits(x)) << 16),
        "float16" => (double)(Half)x,
        _ => x,
    };

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    /// <summary>How many groups of 256 threads a multiprocessor of 64 Ki registers, given out by 8 a thread, and 100 KiB of shared memory holds.</summary>
    private static int Groups(int registers, int sharedBytes) => Math.Min(65536 / ((registers + 7) / 8 * 8 * ProductTile.Threads), (100 << 10) / (sharedBytes + 1024));

    /// <summary>What the assembler of CUDA's toolkit reports of a kernel, which must spill no register; skips where there is none.</summary>
    internal static string AssembledWithoutSpills(string text, string architecture)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"ptx-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        try
        {
            string source = Path.Combine(folder, "kernel.ptx");
            File.WriteAllText(source, text);
            string report = Assemble($"-v -arch={architecture} -o {Path.Combine(folder, "kernel.cubin")} {source}");
            Assert.Contains("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", report, StringComparison.Ordinal);
            return report;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Assemble(string arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("ptxas", arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            string report = process.StandardError.ReadToEnd() + process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, report);
            return report;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Skip.If(true, "CUDA's assembler, ptxas, is not on the path.");
            throw;
        }
    }

    [GeneratedRegex(@"Used (\d+) registers")]
    private static partial Regex RegistersUsed();

    [GeneratedRegex(@"(\d+) bytes smem")]
    private static partial Regex SharedUsed();
}
