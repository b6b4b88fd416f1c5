using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using Xunit.Sdk;

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
        var cases = from method in typeof(WidthTests).Assembly.GetTypes().SelectMany(type => type.GetMethods())
                    from data in method.GetCustomAttributes<DataAttribute>()
                    from row in data.GetData(method)
                    where row is ["direct", ..]
                    select (Method: method, Row: row);
        int passed = 0, failed = 0;
        Parallel.ForEach(Partitioner.Create(cases, EnumerablePartitionerOptions.NoBuffering), test =>
        {
            try
            {
                test.Method.Invoke(Activator.CreateInstance(test.Method.DeclaringType!), test.Row);
                Interlocked.Increment(ref passed);
            }
            catch (TargetInvocationException e) when (e.InnerException is not Xunit.SkipException)
            {
                Interlocked.Increment(ref failed);
                Console.WriteLine($"{test.Method.DeclaringType!.Name}.{test.Method.Name}({string.Join(", ", test.Row)}): {e.InnerException!.Message}");
            }
            catch (TargetInvocationException)
            {
                // Skipped: not this device's.
            }
        });
        Console.WriteLine($"{ComputeDevice.VectorBits}-bit vectors: {passed} passed, {failed} failed");
        return failed == 0 && passed > 0 ? 0 : 1;
    }
}
