using System.Text.Json;
using TransferEngine.Benchmarks;
using TransferEngine.Tests;

namespace TransferEngine.Card;

/// <summary>
/// What is carried to a machine with a graphics card and neither an SDK nor a network, published as one file: the tests of kernels and operators that run on a
/// named machine, the workloads and the peak rates. scripts/gpu-check.py packs and calls it.
/// </summary>
internal static class Program
{
    private const string Usage = """
        usage: devices                                       what this machine offers, a JSON line each
               tests MACHINE [FILTER] [--workers N]          the tests whose machine is cuda, opencl, direct or emulator, a JSON line each; exit code 1 if one fails or none ran
        """;

    private static int Main(string[] arguments)
    {
        var words = arguments.ToList();
        string workers = Measurements.Take(words, "--workers") ?? "1";
        switch (words)
        {
            case ["devices"]:
                foreach (var info in Device.List())
                    Console.WriteLine(JsonSerializer.Serialize(new { device = info.ToString(), memory_mib = info.MemoryBytes >> 20, units = info.Units, graphics = info.IsGraphicsProcessor }));
                return 0;
            case ["tests", var machine] when int.TryParse(workers, out int count) && count > 0:
                return Tests(machine, "", count);
            case ["tests", var machine, var filter] when int.TryParse(workers, out int count) && count > 0:
                return Tests(machine, filter, count);
            case ["workloads" or "peak" or "first-step", ..]:
                return Measurements.Run(arguments);
            default:
                Console.Error.WriteLine(Usage);
                return Measurements.Run([]);
        }
    }

    private static int Tests(string machine, string filter, int workers)
    {
        int passed = 0, failed = 0, skipped = 0;
        var gate = new Lock();
        TheoryRunner.Run(typeof(Program).Assembly, machine, filter, workers, result =>
        {
            lock (gate)
            {
                _ = result.Outcome switch { "passed" => passed++, "failed" => failed++, _ => skipped++ };
                Console.WriteLine(JsonSerializer.Serialize(new { name = result.Name, outcome = result.Outcome, ms = Math.Round(result.Milliseconds, 1), message = result.Message }));
            }
        });
        Console.WriteLine(JsonSerializer.Serialize(new { passed, failed, skipped }));
        return failed == 0 && passed > 0 ? 0 : 1;
    }
}
