// Times adaptation.json on TorchSharp: FILE FILTER SECONDS, a JSON line a workload. The counterpart of the benchmarks' "workloads" command.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TorchSharp;
using TransferEngine.TorchSharpPeer;

const int MostRuns = 2000, LeastRuns = 5;

if (args is not [var file, var filter, var words] || !double.TryParse(words, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds))
{
    Console.Error.WriteLine("usage: FILE FILTER SECONDS");
    return 2;
}
torch.random.manual_seed(1);
using var document = JsonDocument.Parse(File.ReadAllText(file));
foreach (var element in document.RootElement.GetProperty("workloads").EnumerateArray())
{
    string name = element.GetProperty("name").GetString()!, op = element.GetProperty("op").GetString()!;
    if (!name.Contains(filter, StringComparison.Ordinal))
        continue;
    if (op is not ("dan" or "dann"))
    {
        Console.Error.WriteLine($"unknown op {op}");
        return 1;
    }
    using var scope = torch.NewDisposeScope();
    var epoch = new AdaptationEpoch(op == "dann", element.GetProperty("batch").GetInt32(), element.GetProperty("steps").GetInt32());
    for (int i = 0; i < 4; i++)
        epoch.Run();
    var times = new List<double>();
    var total = Stopwatch.StartNew();
    while (times.Count < LeastRuns || (total.Elapsed.TotalSeconds < seconds && times.Count < MostRuns))
    {
        long start = Stopwatch.GetTimestamp();
        epoch.Run();
        times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
    }
    times.Sort();
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{{\"name\": \"{name}\", \"ms\": {times[times.Count / 2]:F5}, \"min_ms\": {times[0]:F5}, \"runs\": {times.Count}}}"));
}
return 0;
