using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Benchmarks;

/// <summary>
/// Runs the workloads of a file and prints one JSON line each: name, median and least milliseconds, the number of runs, what a run allocates on the managed
/// heap, full collections, and the process's peak of resident memory. Any workload of the form of
/// the shared file is taken: kind fwd is one call, fwdbwd a call and the backward pass of its sum, step a training step (captured, or
/// eager), infer a forward pass, epoch a pass of an adaptation through random data.
/// </summary>
internal sealed class Workloads(Device device, bool captures)
{
    private const int MostRuns = 2000, LeastRuns = 5;

    private readonly Generator generator = new(1);

    /// <returns>The exit code: 1 if a workload was of no kind that is known here.</returns>
    public int Run(string file, string filter, double seconds)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(file));
        int unknown = 0;
        foreach (var element in document.RootElement.GetProperty("workloads").EnumerateArray())
        {
            var workload = new Workload(element);
            if (!workload.Name.Contains(filter, StringComparison.Ordinal))
                continue;
            using var inputs = new TensorScope();
            if (Build(workload) is not { } action)
            {
                Console.Error.WriteLine($"unknown op {workload.Op}");
                unknown = 1;
                continue;
            }
            Time(workload.Name, action, seconds);
        }
        return unknown;
    }

    private void Time(string name, Action action, double seconds)
    {
        // A captured step is replayed from the fourth run on.
        for (int i = 0; i < 4; i++)
            Once(action);
        var times = new List<double>();
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        int collections = GC.CollectionCount(2);
        var total = Stopwatch.StartNew();
        while (times.Count < LeastRuns || (total.Elapsed.TotalSeconds < seconds && times.Count < MostRuns))
        {
            long start = Stopwatch.GetTimestamp();
            Once(action);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        collections = GC.CollectionCount(2) - collections;
        times.Sort();
        using var process = Process.GetCurrentProcess();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{{\"name\": \"{name}\", \"ms\": {times[times.Count / 2]:F5}, \"min_ms\": {times[0]:F5}, \"runs\": {times.Count}, \"managed_bytes_a_run\": {allocated / times.Count}, \"gen2_collections\": {collections}, \"peak_resident_mib\": {process.PeakWorkingSet64 >> 20}}}"));
    }

    private void Once(Action action)
    {
        using (new TensorScope())
            action();
        device.Synchronize();
    }

    private Action? Build(Workload w) => w.Op switch
    {
        "matmul" => MatMul(w),
        "conv2d" => Convolution(w),
        "add" => Forward(Random(w["size"]), Random(w["size"]), (x, y) => x + y),
        "relu" => Forward(Random(w["size"]), x => x.Relu()),
        "gelu" => Forward(Random(w["size"]), x => x.Gelu()),
        "exp" => Forward(Random(w["size"]), x => x.Exp()),
        "sum" => Forward(Random(w["size"]), x =>
        {
            var sum = x.Sum();
            sum.Item();
            return sum;
        }),
        "softmax" => Weighted([w["rows"], w["cols"]], [], (x, _) => x.Softmax(1)),
        "crossentropy" => CrossEntropy(w),
        "layernorm" => Weighted([w["rows"], w["cols"]], [Tensor.Ones([w["cols"]], device), Tensor.Zeros([w["cols"]], device)], (x, p) => x.LayerNorm([w["cols"]], p[0], p[1])),
        "batchnorm" => BatchNorm(w),
        "maxpool" => Backward(Images(w), x => x.MaxPool2d(w["k"], w["s"], w["p"])),
        "mkmmd" => PairSum(w),
        "mlp" => Mlp(w),
        "lenet" => Step(new LeNet(generator: generator, device: device), Random(w["batch"], 1, 28, 28), 10),
        "resnet18" or "resnet18-frozen" => ResNet18(w),
        "dan" or "dann" => AdaptationEpoch.Make(w, generator, device),
        _ => null,
    };

    private Action MatMul(Workload w)
    {
        int m = w["m"], n = w["n"], k = w["k"];
        Tensor a = w.Is("ta") ? Random(k, m) : Random(m, k), b = w.Is("tb") ? Random(n, k) : Random(k, n);
        return Forward(a, b, (x, y) => (w.Is("ta") ? x.Transpose() : x).MatMul(w.Is("tb") ? y.Transpose() : y));
    }

    private Action Convolution(Workload w)
    {
        int groups = w.Get("g", 1);
        Tensor x = Images(w), filters = Random(w["o"], w["c"] / groups, w["k"], w["k"]);
        if (w.Kind != "fwdbwd")
            return Forward(x, filters, (input, weight) => input.Conv2d(weight, stride: w.Get("s", 1), padding: w.Get("p", 0), groups: groups));
        filters.RequiresGrad = true;
        return Backward(x, input => input.Conv2d(filters, stride: w.Get("s", 1), padding: w.Get("p", 0), groups: groups), filters);
    }

    private Action CrossEntropy(Workload w)
    {
        var target = Tensor.RandomIntegers([w["rows"]], 0, w["cols"], generator, device);
        return Backward(Random(w["rows"], w["cols"]), x => x.CrossEntropy(target));
    }

    private Action BatchNorm(Workload w)
    {
        var module = new BatchNorm2d(w["c"], device: device);
        var weights = Random(w["n"], w["c"], w["h"], w["w"]);
        return Backward(Images(w), x => module.Forward(x) * weights, [.. module.Parameters()]);
    }

    /// <summary>Biased MK-MMD, the sum of five Gaussian kernels of 2^-2 to 2^2 times the mean squared distance.</summary>
    private Action PairSum(Workload w)
    {
        int n = w["rows"];
        Tensor s = Random(n, w["cols"]), t = Random(n, w["cols"]), factors = Tensor.From([0.25f, 0.5f, 1f, 2f, 4f], device);
        s.RequiresGrad = true;
        double one = 1.0 / ((double)n * n);
        return Backward(t, x => Tensor.GaussianPairSum(Tensor.Concat([s, x]), n, one, -one, one, d => factors * (d.Sum() / (2.0 * n * (2 * n - 1)))), s);
    }

    private Action Mlp(Workload w)
    {
        var model = new Mlp(784, [512, 256], 10, generator, device);
        var x = Random(w["batch"], 784);
        return w.Kind == "infer" ? Forward(x, model.Eval().Forward) : Step(model, x, 10);
    }

    private Action ResNet18(Workload w)
    {
        var model = ResNet.ResNet18(generator: generator, device: device);
        var x = Random(w["batch"], 3, w["size"], w["size"]);
        if (w.Kind == "infer")
        {
            model.Eval();
            return Forward(x, model.Forward);
        }
        if (w.Op == "resnet18-frozen")
        {
            foreach (var (name, parameter) in model.NamedParameters())
            {
                if (!name.StartsWith("fc.", StringComparison.Ordinal))
                    parameter.RequiresGrad = false;
            }
            model.Eval();
        }
        return Step(model, x, 1000);
    }

    private Action Step(Module model, Tensor x, int classes)
    {
        var target = Tensor.RandomIntegers([x.Shape[0]], 0, classes, generator, device);
        var optimizer = new Sgd(model.Parameters().Where(parameter => parameter.RequiresGrad), 0.01, momentum: 0.9);
        if (captures)
        {
            var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).CrossEntropy(inputs[1]));
            return () =>
            {
                step.Run(x, target);
                optimizer.Step();
                optimizer.ZeroGrad();
            };
        }
        return () =>
        {
            optimizer.ZeroGrad();
            model.Forward(x).CrossEntropy(target).Backward();
            optimizer.Step();
        };
    }

    private static Action Forward(Tensor x, Func<Tensor, Tensor> call) => () =>
    {
        using var recording = new NoGrad();
        call(x);
    };

    private static Action Forward(Tensor x, Tensor y, Func<Tensor, Tensor, Tensor> call) => Forward(x, left => call(left, y));

    /// <summary>The call, times constant weights, and backward: what a normalisation, whose plain sum is constant, is timed with.</summary>
    private Action Weighted(int[] shape, Tensor[] parameters, Func<Tensor, Tensor[], Tensor> call)
    {
        var weights = Random(shape);
        foreach (var parameter in parameters)
            parameter.RequiresGrad = true;
        return Backward(Random(shape), x => call(x, parameters) * weights, parameters);
    }

    private static Action Backward(Tensor x, Func<Tensor, Tensor> call, params Tensor[] others)
    {
        x.RequiresGrad = true;
        return () =>
        {
            foreach (var leaf in others.Append(x))
            {
                leaf.Grad?.Dispose();
                leaf.Grad = null;
            }
            call(x).Sum().Backward();
        };
    }

    private Tensor Images(Workload w) => Random(w["n"], w["c"], w["h"], w["w"]);

    private Tensor Random(params int[] shape) => Tensor.Normal(shape, generator: generator, device: device);
}

/// <summary>One entry of the file.</summary>
internal sealed class Workload(JsonElement element)
{
    public string Name { get; } = element.GetProperty("name").GetString()!;

    public string Op { get; } = element.GetProperty("op").GetString()!;

    public string Kind { get; } = element.TryGetProperty("kind", out var kind) ? kind.GetString()! : "fwd";

    public int this[string key] => Get(key, 0);

    public int Get(string key, int otherwise) => element.TryGetProperty(key, out var value) ? value.GetInt32() : otherwise;

    public bool Is(string key) => element.TryGetProperty(key, out var value) && value.GetBoolean();
}
