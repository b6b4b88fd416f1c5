using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class SoftmaxTests
{
    public static TheoryData<string, int, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, int, ElementType>();
            foreach (string device in TestDevices.Names)
                foreach (var (rows, n) in new[] { (0, 4), (1, 1), (3, 7), (5, 33), (2, 300) })
                {
                    cases.Add(device, rows, n, ElementType.Float32);
                    cases.Add(device, rows, n, ElementType.Float64);
                }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Softmax_and_its_gradient_follow_their_formulas(string name, int rows, int n, ElementType type)
    {
        var device = TestDevices.Get(name);
        double[] x = Numbers(rows, rows * n, 90), g = Numbers(n, rows * n, 2), p = Probabilities(x, n);
        foreach (int log in new[] { 0, 1 })
        {
            double[] output = log != 0 ? [.. Logarithms(x, n)] : p;
            var y = Data.New(device, x, type);
            Softmax.Forward(device, log, y, rows, n, y);
            Close(output, Data.Read(device, y), type);
            var gradient = Data.New(device, g, type);
            Softmax.Backward(device, log, Data.New(device, output, type), gradient, rows, n, gradient);
            Close(g.Select((v, i) =>
            {
                var row = Enumerable.Range(i / n * n, n);
                return log != 0 ? v - p[i] * row.Sum(j => g[j]) : p[i] * (v - row.Sum(j => g[j] * p[j]));
            }), Data.Read(device, gradient), type);
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Cross_entropy_and_its_derivative_follow_their_formulas(string name, int rows, int n, ElementType type)
    {
        const int ignored = -100;
        var device = TestDevices.Get(name);
        double[] x = Numbers(rows, rows * n, 9), classWeights = [.. Numbers(n, n, 1).Select(v => v + 1.5)], p = Probabilities(x, n), logs = Logarithms(x, n);
        int[] targets = [.. Enumerable.Range(0, rows).Select(row => row == 1 ? ignored : row == 2 ? n : row * 31 % n)];
        foreach (double smoothing in new[] { 0, 0.2 })
            foreach (bool weighted in new[] { false, true })
            {
                double Weight(int c) => weighted ? classWeights[c] : 1;
                // The loss is -Σ over classes of share[row, class] log p.
                double Share(int row, int c) => targets[row] == ignored ? 0 : targets[row] >= n ? double.NaN : (c == targets[row] ? (1 - smoothing) * Weight(c) : 0) + smoothing / n * Weight(c);
                var (loss, rowWeights, gradient) = (Data.New(device, new double[rows], type), Data.New(device, new double[rows], type), Data.New(device, x, type));
                Softmax.CrossEntropy(device, smoothing, ignored, Data.New(device, x, type), Data.New(device, targets), weighted ? Data.New(device, classWeights, type) : null, rows, n, loss, rowWeights, gradient);
                Close(Enumerable.Range(0, rows).Select(row => -Enumerable.Range(0, n).Sum(c => Share(row, c) * logs[row * n + c])), Data.Read(device, loss), type);
                Close(targets.Select(t => t == ignored ? 0 : t >= n ? double.NaN : Weight(t)), Data.Read(device, rowWeights), type);
                Close(x.Select((_, i) => p[i] * Enumerable.Range(0, n).Sum(c => Share(i / n, c)) - Share(i / n, i % n)), Data.Read(device, gradient), type);
            }
    }

    private static double[] Logarithms(double[] x, int n) => [.. x.Select((v, i) =>
    {
        var row = x[(i / n * n)..(i / n * n + n)];
        double largest = row.Max();
        return v - largest - Math.Log(row.Sum(a => Math.Exp(a - largest)));
    })];

    private static double[] Probabilities(double[] x, int n) => [.. Logarithms(x, n).Select(Math.Exp)];

    // Rounded to float, so that both types start from the same numbers.
    private static double[] Numbers(int seed, int n, double range)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, n).Select(_ => (double)(float)(range * (2 * random.NextDouble() - 1)))];
    }

    private static void Close(IEnumerable<double> expected, double[] got, ElementType type)
    {
        double[] want = [.. expected];
        Assert.Equal(want.Length, got.Length);
        for (int i = 0; i < want.Length; i++)
        {
            if (double.IsNaN(want[i]))
                Assert.Equal(want[i], got[i]);
            else
                Assert.Equal(want[i], got[i], (type == ElementType.Float64 ? 1e-12 : 1e-5) * (1 + Math.Abs(want[i])));
        }
    }
}
