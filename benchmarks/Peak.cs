using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using ILGPU;
using TransferEngine.Kernels;

namespace TransferEngine.Benchmarks;

/// <summary>
/// What the machine can do at most, and what square products make of it, by turns in one run so that a drift of its speed hits both: multiply-adds that
/// stay in registers, a copy of memory that no cache holds, and products of 1024 and 2048.
/// </summary>
internal sealed class Peak(Device device)
{
    private const int Steps = 1 << 16, CopyLength = 1 << 25, Chunk = 1 << 14;

    private readonly List<(string Name, string Unit)> rows = [];
    private readonly List<List<double>> rates = [];

    /// <summary>Measures each rate in every round and prints its median and its best, a JSON line each.</summary>
    public int Run(int rounds)
    {
        var compute = device.Compute;
        int items = compute.IsDirect ? 8 * compute.Team.MaxDegreeOfParallelism : 1 << 14;
        var space = Tensor.Zeros([CopyLength], device);
        var copy = Tensor.Zeros([CopyLength], device);
        var wide = Tensor.Zeros([items * 16], device, ElementType.Float64);
        Tensor[] sides = [.. new[] { 1024, 2048 }.Select(n => Tensor.Normal([n, n], device: device))];
        for (int round = 0; round < rounds; round++)
        {
            int row = 0;
            Add(row++, "multiply-add/float32", "GFLOP/s", FlopsOf<float>(compute, items) / Time(() => compute.Launch<float, MultiplyAdds<float>>(items, new(space.Slice.View<float>(), Steps))));
            Add(row++, "multiply-add/float64", "GFLOP/s", FlopsOf<double>(compute, items) / Time(() => compute.Launch<double, MultiplyAdds<double>>(items, new(wide.Slice.View<double>(), Steps))));
            Add(row++, "copy (bytes read and written)", "GB/s", 8.0 * CopyLength / Time(() => compute.Launch<float, Copy>(CopyLength / Chunk, new(space.Slice.View<float>(), copy.Slice.View<float>(), Chunk))));
            foreach (var side in sides)
            {
                double n = side.Shape[0], rate = 2 * n * n * n / Time(() => side.MatMul(side).Dispose());
                Add(row++, $"matmul/{n}x{n}x{n}", "GFLOP/s", rate);
                Add(row++, $"matmul/{n}x{n}x{n} of the peak", "%", 100 * rate / rates[0][^1]);
            }
        }
        for (int i = 0; i < rows.Count; i++)
        {
            rates[i].Sort();
            double scale = rows[i].Unit == "%" ? 1 : 1e-9;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{{\"name\": \"{rows[i].Name}\", \"unit\": \"{rows[i].Unit}\", \"median\": {scale * rates[i][rates[i].Count / 2]:F1}, \"best\": {scale * rates[i][^1]:F1}}}"));
        }
        return 0;
    }

    private static double FlopsOf<T>(ComputeDevice compute, int items) where T : unmanaged =>
        2.0 * MultiplyAdds<T>.Sums * Steps * items * (compute.IsDirect ? ComputeDevice.VectorBits / 8 / Unsafe.SizeOf<T>() : 1);

    /// <summary>Seconds of one call: the median over a fifth of a second.</summary>
    private double Time(Action action)
    {
        using var scope = new TensorScope();
        var times = new List<double>();
        action();
        device.Synchronize();
        var total = Stopwatch.StartNew();
        while (times.Count < 3 || total.Elapsed.TotalSeconds < 0.2)
        {
            long start = Stopwatch.GetTimestamp();
            action();
            device.Synchronize();
            times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        times.Sort();
        return times[times.Count / 2];
    }

    private void Add(int row, string name, string unit, double rate)
    {
        if (row == rows.Count)
        {
            rows.Add((name, unit));
            rates.Add([]);
        }
        rates[row].Add(rate);
    }

    /// <summary>Each item keeps twelve sums going: more than the units of any processor have in flight.</summary>
    private readonly struct MultiplyAdds<T>(ArrayView<T> sums, int steps) : IKernel<T> where T : unmanaged
    {
        public const int Sums = 12;

        private readonly ArrayView<T> sums = sums;
        private readonly int steps = steps;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
        {
            L x = L.Load(sums, item * L.Width), y = L.Constant(1e-3);
            L a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
            for (int step = 0; step < steps; step++)
            {
                a = L.MultiplyAdd(a, x, y);
                b = L.MultiplyAdd(b, x, y);
                c = L.MultiplyAdd(c, x, y);
                d = L.MultiplyAdd(d, x, y);
                e = L.MultiplyAdd(e, x, y);
                f = L.MultiplyAdd(f, x, y);
                g = L.MultiplyAdd(g, x, y);
                h = L.MultiplyAdd(h, x, y);
                i = L.MultiplyAdd(i, x, y);
                j = L.MultiplyAdd(j, x, y);
                k = L.MultiplyAdd(k, x, y);
                l = L.MultiplyAdd(l, x, y);
            }
            // All sums are used, and the zero that they began with stands again.
            L sum = a + b + c + d + e + f + g + h + i + j + k + l;
            L.Store(sums, item * L.Width, sum * L.Constant(0));
        }
    }

    /// <summary>Each item copies a chunk.</summary>
    private readonly struct Copy(ArrayView<float> from, ArrayView<float> to, int chunk) : IKernel<float>
    {
        private readonly ArrayView<float> from = from, to = to;
        private readonly int chunk = chunk;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
        {
            for (int i = item * chunk; i < (item + 1) * chunk; i += L.Width)
                L.Store(to, i, L.Load(from, i));
        }
    }
}
