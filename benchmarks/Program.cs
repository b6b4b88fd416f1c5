using System.Globalization;
using BenchmarkDotNet.Running;
using TransferEngine;
using TransferEngine.Benchmarks;

// workloads FILE [FILTER] [SECONDS] [--device D]: times the workloads of a file, a JSON line each.
// peak [ROUNDS] [--device D]: what the machine can do at most, and what large products make of it.
// suites [BenchmarkDotNet's arguments]: the suites of this project.
// reproduce EXPERIMENT --data DIR [--methods A,B] [--seeds N] [--json FILE] [--markdown FILE]: runs a published experiment again.
if (args is ["reproduce", .. var experiment])
    return await ReproduceCommand.Run(experiment);
if (args is ["suites", .. var rest])
{
    BenchmarkSwitcher.FromAssembly(typeof(Workloads).Assembly).Run([.. rest]);
    return 0;
}
var words = args.ToList();
using var device = words.IndexOf("--device") is var at && at >= 0 && at + 1 < words.Count ? Device.Open(words[at + 1]) : Device.Open(DeviceKind.Cpu);
if (at >= 0)
    words.RemoveRange(at, Math.Min(2, words.Count - at));
if (words is ["peak", .. var count] && (count.Count == 0 || int.TryParse(count[0], out _)))
    return new Peak(device).Run(count.Count == 0 ? 5 : int.Parse(count[0], CultureInfo.InvariantCulture));
if (words is not ["workloads", var file, .. var options] || !File.Exists(file))
{
    Console.Error.WriteLine("usage: workloads FILE [FILTER] [SECONDS] [--device cpu|cuda|opencl[:index]]   or   peak [ROUNDS] [--device D]   or   suites [options]   or   reproduce EXPERIMENT --data DIR");
    return 2;
}
double seconds = 1;
if (options.Count > 1 && !double.TryParse(options[1], NumberStyles.Float, CultureInfo.InvariantCulture, out seconds))
{
    Console.Error.WriteLine($"'{options[1]}' is no number of seconds.");
    return 2;
}
return new Workloads(device).Run(file, options.Count > 0 ? options[0] : "", seconds);
