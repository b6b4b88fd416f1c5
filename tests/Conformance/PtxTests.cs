using System.Globalization;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;
using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Conformance;

/// <summary>Every kernel that the operator table runs is translated for CUDA, which needs no card: gathered once, for every architecture. Those tuned for tensor cores have tests of their own.</summary>
public partial class ConformanceTests
{
    private static readonly Dictionary<string, CudaArchitecture> Architectures = new()
    {
        ["sm_70"] = CudaArchitecture.SM_70,
        ["sm_75"] = CudaArchitecture.SM_75,
        ["sm_80"] = CudaArchitecture.SM_80,
        ["sm_86"] = CudaArchitecture.SM_86,
        ["sm_89"] = CudaArchitecture.SM_89,
        ["sm_90"] = CudaArchitecture.SM_90,
    };

    private static readonly Lazy<Type[]> Gathered = new(GatherKernels);

    public static TheoryData<string> ArchitectureNames => [.. Architectures.Keys];

    /// <summary>No kernel keeps anything in a thread's memory, those of work groups share theirs behind barriers, and the text asks for no newer card than the one it is for.</summary>
    [SkippableTheory, MemberData(nameof(ArchitectureNames))]
    public void Every_kernel_compiles_to_PTX_with_the_instructions_it_is_meant_to_have(string architecture)
    {
        using var context = ComputeDevice.CompilerContext();
        using var backend = new PTXBackend(context, Architectures[architecture], CudaInstructionSet.ISA_80, null!);
        Assert.NotEmpty(Gathered.Value);
        foreach (var kernel in Gathered.Value)
        {
            string text = Translated(backend, kernel, architecture), target = text.Split(".target sm_")[1].Split('\n')[0].Trim();
            Assert.Contains(".entry", text, StringComparison.Ordinal);
            Assert.True(int.Parse(target, CultureInfo.InvariantCulture) <= int.Parse(architecture["sm_".Length..], CultureInfo.InvariantCulture), $"{kernel} wants sm_{target}, not {architecture}");
            Assert.False(text.Contains(".local", StringComparison.Ordinal), $"{kernel} keeps numbers in local memory");
            string[] wanted = KernelEntry.Method(kernel).Name == nameof(KernelEntry.Group) ? [".shared .align", "ld.shared", "st.shared", "bar.sync"] : [];
            Assert.All(wanted, instruction => Assert.True(text.Contains(instruction, StringComparison.Ordinal), $"{kernel} lacks {instruction}"));
        }
    }

    private static string Translated(PTXBackend backend, Type kernel, string architecture)
    {
        try
        {
            return KernelLoader.Compile(backend, KernelLoader.Entry(kernel)).PTXAssembly;
        }
        catch (Exception e)
        {
            Assert.Fail($"{kernel} does not compile to PTX for {architecture}: {e.InnerException?.Message ?? e.Message}");
            throw;
        }
    }

    /// <summary>What the emulator runs of the table's small rows, and OpenCL, where it is there, of a large one of each operator, where those of work groups are.</summary>
    private static Type[] GatherKernels()
    {
        var emulator = EngineDevices.Get("emulator");
        RunAll(emulator, OperatorTable.Rows.Where(row => !row.IsLarge));
        try
        {
            var openCL = EngineDevices.Get("opencl");
            RunAll(openCL, OperatorTable.Rows.Where(row => row.IsLarge).DistinctBy(row => row.Operator));
            return [.. emulator.Compute.LoadedKernels.Union(openCL.Compute.LoadedKernels).OrderBy(kernel => kernel.ToString(), StringComparer.Ordinal)];
        }
        catch (SkipException)
        {
            return [.. emulator.Compute.LoadedKernels.OrderBy(kernel => kernel.ToString(), StringComparer.Ordinal)];
        }

        static void RunAll(Device device, IEnumerable<OperatorRow> rows)
        {
            foreach (var row in rows)
            {
                foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
                {
                    using var scope = new TensorScope();
                    var inputs = Inputs(row, row.Draw(), device, type, row.Differentiable);
                    var y = row.Expression(inputs);
                    if (y.RequiresGrad)
                        Tensor.Gradients(y, [.. inputs.Where(x => x.RequiresGrad)], Tensor.Ones(y.Shape, device, type));
                }
            }
        }
    }
}
