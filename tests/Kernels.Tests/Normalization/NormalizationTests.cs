using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class NormalizationTests
{
    private const double Epsilon = 1e-5;

    public static TheoryData<string, int, int, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, int, int, ElementType>();
            foreach (string device in TestDevices.Names)
                foreach (var (batch, channels, size) in new[] { (2, 1, 1), (3, 2, 5), (1, 3, 16), (4, 3, 33), (70, 2, 19) })
                {
                    cases.Add(device, batch, channels, size, ElementType.Float32);
                    cases.Add(device, batch, channels, size, ElementType.Float64);
                }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Channel_statistics_and_the_gradient_follow_their_formulas(string name, int batch, int channels, int size, ElementType type)
    {
        var device = TestDevices.Get(name);
        int count = batch * channels * size;
        // Far from 0: the mean of squares minus the square of the mean would lose every digit in float.
        double[] x = [.. Numbers(1, count).Select(v => (double)(float)(v + 1000))], g = Numbers(2, count), w = Numbers(3, channels);
        int Channel(int i) => i / size % channels;
        double Average(int c, Func<int, double> value) => Enumerable.Range(0, count).Where(i => Channel(i) == c).Average(value);
        double[] mean = Each(channels, c => Average(c, i => x[i])), variance = Each(channels, c => Average(c, i => (x[i] - mean[c]) * (x[i] - mean[c])));
        var (source, means, variances) = (Data.New(device, x, type), Data.New(device, new double[channels], type), Data.New(device, new double[channels], type));
        BatchNormalization.Statistics(device, source, batch, channels, size, means, variances);
        Close(mean, Data.Read(device, means), type, 1e-6);
        Close(variance, Data.Read(device, variances), type, 1e-3);

        double[] normal = Each(count, i => (x[i] - mean[Channel(i)]) / Math.Sqrt(variance[Channel(i)] + Epsilon));
        double[] first = Each(channels, c => Average(c, i => g[i])), second = Each(channels, c => Average(c, i => g[i] * normal[i]));
        foreach (bool weighted in new[] { false, true })
        {
            var (weightGradient, biasGradient, result) = (Data.New(device, w, type), Data.New(device, w, type), Data.New(device, x, type));
            BatchNormalization.Backward(device, 1, Epsilon, source, Data.New(device, g, type), means, variances, weighted ? Data.New(device, w, type) : null, batch, channels, size, weightGradient, biasGradient, result);
            Close(first.Select(v => v * batch * size), Data.Read(device, biasGradient), type, 1e-5);
            Close(second.Select(v => v * batch * size), Data.Read(device, weightGradient), type, 1e-2);
            Close(Each(count, i => (weighted ? w[Channel(i)] : 1) / Math.Sqrt(variance[Channel(i)] + Epsilon) * (g[i] - first[Channel(i)] - normal[i] * second[Channel(i)])), Data.Read(device, result), type, 1e-2);
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Layer_normalisation_and_its_gradients_follow_their_formulas(string name, int rows, int channels, int size, ElementType type)
    {
        var device = TestDevices.Get(name);
        int n = channels * size, count = rows * n;
        double[] x = Numbers(1, count), g = Numbers(2, count), w = Numbers(3, n), b = Numbers(4, n);
        double Average(int row, Func<int, double> value) => Enumerable.Range(row * n, n).Average(value);
        double[] mean = Each(rows, r => Average(r, i => x[i])), scale = Each(rows, r => 1 / Math.Sqrt(Average(r, i => (x[i] - mean[r]) * (x[i] - mean[r])) + Epsilon));
        double[] normal = Each(count, i => (x[i] - mean[i / n]) * scale[i / n]);
        foreach (bool affine in new[] { false, true })
        {
            double W(int i) => affine ? w[i % n] : 1;
            var (source, y, statistics) = (Data.New(device, x, type), Data.New(device, x, type), Data.New(device, new double[2 * rows], type));
            LayerNormalization.Forward(device, Epsilon, source, affine ? Data.New(device, w, type) : null, affine ? Data.New(device, b, type) : null, rows, n, y, statistics);
            Close(Each(count, i => normal[i] * W(i) + (affine ? b[i % n] : 0)), Data.Read(device, y), type, 1e-5);

            var (result, weightGradient, biasGradient) = (Data.New(device, x, type), Data.New(device, w, type), Data.New(device, w, type));
            LayerNormalization.Backward(device, source, Data.New(device, g, type), statistics, affine ? Data.New(device, w, type) : null, rows, n, result, weightGradient, biasGradient);
            double[] first = Each(rows, r => Average(r, i => g[i] * W(i))), second = Each(rows, r => Average(r, i => g[i] * W(i) * normal[i]));
            Close(Each(count, i => scale[i / n] * (g[i] * W(i) - first[i / n] - normal[i] * second[i / n])), Data.Read(device, result), type, 1e-5);
            Close(Each(n, j => Enumerable.Range(0, rows).Sum(r => g[r * n + j] * normal[r * n + j])), Data.Read(device, weightGradient), type, 1e-5);
            Close(Each(n, j => Enumerable.Range(0, rows).Sum(r => g[r * n + j])), Data.Read(device, biasGradient), type, 1e-5);
        }
    }

    [Fact]
    public void One_and_two_workers_give_the_same_bits()
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        int rows = 300, n = 700;
        double[] x = Numbers(1, rows * n), g = Numbers(2, rows * n);
        var (source, gradient, w) = (Data.New(device, x, ElementType.Float32), Data.New(device, g, ElementType.Float32), Data.New(device, g[..n], ElementType.Float32));
        double[][]? first = null;
        foreach (int workers in (int[])[1, 2])
        {
            device.Team.MaxDegreeOfParallelism = workers;
            var (y, statistics, result) = (Data.New(device, x, ElementType.Float32), Data.New(device, new double[2 * rows], ElementType.Float32), Data.New(device, x, ElementType.Float32));
            var (weightGradient, biasGradient, means, variances) = (Data.New(device, g[..n], ElementType.Float32), Data.New(device, g[..n], ElementType.Float32),
                Data.New(device, new double[30], ElementType.Float32), Data.New(device, new double[30], ElementType.Float32));
            LayerNormalization.Forward(device, Epsilon, source, w, null, rows, n, y, statistics);
            LayerNormalization.Backward(device, source, gradient, statistics, w, rows, n, result, weightGradient, biasGradient);
            BatchNormalization.Statistics(device, source, 10, 30, n, means, variances);
            double[][] got = [.. new[] { y, result, weightGradient, biasGradient, means, variances }.Select(slice => Data.Read(device, slice))];
            Assert.Equal(first ??= got, got);
        }
    }

    private static double[] Each(int n, Func<int, double> value) => [.. Enumerable.Range(0, n).Select(value)];

    // Rounded to float, so that both types start from the same numbers.
    private static double[] Numbers(int seed, int n)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, n).Select(_ => (double)(float)(2 * random.NextDouble() - 1))];
    }

    private static void Close(IEnumerable<double> expected, double[] got, ElementType type, double single)
    {
        double[] want = [.. expected];
        Assert.Equal(want.Length, got.Length);
        // Relative to the largest: each comes out of sums of numbers of that size.
        double tolerance = (type == ElementType.Float64 ? 1e-9 : single) * (1 + want.Select(Math.Abs).DefaultIfEmpty(0).Max());
        for (int i = 0; i < want.Length; i++)
            Assert.Equal(want[i], got[i], tolerance);
    }
}
