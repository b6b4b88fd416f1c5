using System.Globalization;

namespace TransferEngine.Benchmarks;

/// <summary>The command line of the measurements: this project's program and the one that travels to a graphics card take the same words.</summary>
internal static class Measurements
{
    private const string Usage = """
        usage: workloads FILE [FILTER] [SECONDS] [--device cpu|cuda|opencl[:index]]   times the workloads of a file, a JSON line each
                         [--eager]                                                            ... their training steps as they are written, not captured and replayed
               peak [ROUNDS] [--device D]                                             what the machine can do at most, and what large products make of it
               first-step lenet|resnet18 [--warm-up] [--device D]                     from the start of the process to the end of a training step; --warm-up loads kernels in the background
        with --graphs for captured steps as CUDA graphs, --async-copies for copies to the device that the host does not wait for, also on CUDA,
        with --precision fp32|tf32|bf16|fp16 for the products of a card, and --tuned for its tuned float32 products
        """;

    private static readonly Dictionary<string, MatMulPrecision> Precisions = new()
    {
        ["fp32"] = MatMulPrecision.Float32,
        ["tf32"] = MatMulPrecision.TensorFloat32,
        ["bf16"] = MatMulPrecision.BFloat16,
        ["fp16"] = MatMulPrecision.Float16,
    };

    /// <returns>The exit code: 2 if the words make no sense.</returns>
    public static int Run(string[] arguments)
    {
        var words = arguments.ToList();
        string name = Take(words, "--device") ?? "cpu", precision = Take(words, "--precision") ?? "fp32";
        bool captures = !words.Remove("--eager"), tuned = words.Remove("--tuned"), graphs = words.Remove("--graphs"), copies = words.Remove("--async-copies"), warmsUp = words.Remove("--warm-up");
        if (!Precisions.ContainsKey(precision))
        {
            Console.Error.WriteLine(Usage);
            return 2;
        }
        if (words is ["peak", .. var count] && (count.Count == 0 || int.TryParse(count[0], out _)))
        {
            using var device = Open();
            return new Peak(device).Run(count.Count == 0 ? 5 : int.Parse(count[0], CultureInfo.InvariantCulture));
        }
        if (words is ["first-step", var model] && FirstStep.IsKnown(model))
        {
            using var device = Open();
            return FirstStep.Run(model, device, warmsUp);
        }
        if (words is not ["workloads", var file, .. var options] || !File.Exists(file))
        {
            Console.Error.WriteLine(Usage);
            return 2;
        }
        double seconds = 1;
        if (options.Count > 1 && !double.TryParse(options[1], NumberStyles.Float, CultureInfo.InvariantCulture, out seconds))
        {
            Console.Error.WriteLine($"'{options[1]}' is no number of seconds.");
            return 2;
        }
        using var opened = Open();
        return new Workloads(opened, captures).Run(file, options.Count > 0 ? options[0] : "", seconds);

        Device Open()
        {
            var found = Device.Open(name);
            (found.MatMulPrecision, found.AllowTunedMatMul, found.AllowGraphs) = (Precisions[precision], tuned, graphs);
            found.AllowAsynchronousCopies |= copies;
            return found;
        }
    }

    /// <summary>Takes an option and its value out of the words.</summary>
    public static string? Take(List<string> words, string option)
    {
        int at = words.IndexOf(option);
        if (at < 0)
            return null;
        string? value = at + 1 < words.Count ? words[at + 1] : null;
        words.RemoveRange(at, Math.Min(2, words.Count - at));
        return value;
    }
}
