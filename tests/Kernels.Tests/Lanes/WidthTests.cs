using System.Diagnostics;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests.Lanes;

/// <summary>
/// The kernels at every width of vectors that this machine can run: the runtime chooses the width when it starts, so each other one has a process of its
/// own, this assembly started as a program, which runs every theory of it on the direct path against the same references.
/// </summary>
public class WidthTests
{
    [SkippableTheory]
    [InlineData("DOTNET_EnableAVX512", 256)]
    [InlineData("DOTNET_EnableAVX2", 128)]
    public void Kernels_are_right_at_narrower_vectors(string setting, int bits)
    {
        Skip.If(ComputeDevice.VectorBits <= bits, $"This machine's vectors have {ComputeDevice.VectorBits} bits: there is no wider path to turn off.");
        string host = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";
        var start = new ProcessStartInfo(host, ["exec", typeof(WidthTests).Assembly.Location]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment[setting] = "0";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, output + errors.Result);
        Assert.Contains($"{bits}-bit vectors: ", output, StringComparison.Ordinal);
    }

    /// <summary>What the process of its own runs: 0 where no theory fails, and what failed on the output.</summary>
    internal static int Main()
    {
        int passed = 0, failed = 0;
        TheoryRunner.Run(typeof(WidthTests).Assembly, "direct", "", Environment.ProcessorCount, result =>
        {
            if (result.Outcome == "passed")
                Interlocked.Increment(ref passed);
            if (result.Outcome != "failed")
                return;
            Interlocked.Increment(ref failed);
            Console.WriteLine($"{result.Name}: {result.Message}");
        });
        Console.WriteLine($"{ComputeDevice.VectorBits}-bit vectors: {passed} passed, {failed} failed");
        return failed == 0 && passed > 0 ? 0 : 1;
    }
}
