using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

/// <summary>Trajectories of several steps against PyTorch's documented algorithms, written out in double.</summary>
public class UpdatesTests
{
    private const int Length = 19, Steps = 4;

    public static TheoryData<string, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, ElementType>();
            foreach (string device in TestDevices.Names)
            {
                cases.Add(device, ElementType.Float32);
                cases.Add(device, ElementType.Float64);
            }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Sgd_follows_the_formula(string name, ElementType type)
    {
        foreach (var (momentum, dampening, decay, nesterov) in new[] { (0.0, 0.0, 0.0, 0), (0.9, 0, 0.1, 0), (0.8, 0.3, 0, 0), (0.9, 0, 0.01, 1) })
        {
            Check(name, type, 1, (device, p, g, state, t) => Updates.Sgd(device, new(0.1, momentum, dampening, decay, nesterov, t == 1 ? 1 : 0), p, g, state[0]), (p, g, s, t) =>
            {
                g += decay * p;
                if (momentum != 0)
                {
                    s[0] = t == 1 ? g : momentum * s[0] + (1 - dampening) * g;
                    g = nesterov == 1 ? g + momentum * s[0] : s[0];
                }
                return p - 0.1 * g;
            });
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Adam_and_AdamW_follow_the_formula(string name, ElementType type)
    {
        foreach (var (decay, decoupled, amsGrad) in new[] { (0.0, 0, 0), (0.1, 0, 0), (0.1, 1, 0), (0.05, 1, 1) })
        {
            Check(name, type, 3, (device, p, g, s, t) => Updates.Adam(device, new(0.05, 0.9, 0.99, 1e-8, decay, t, decoupled, amsGrad), p, g, s[0], s[1], s[2]), (p, g, s, t) =>
            {
                if (decoupled == 1)
                    p -= 0.05 * decay * p;
                else
                    g += decay * p;
                s[0] = 0.9 * s[0] + 0.1 * g;
                s[1] = 0.99 * s[1] + 0.01 * g * g;
                double v = s[1];
                if (amsGrad == 1)
                    v = s[2] = Math.Max(s[2], v);
                return p - 0.05 / (1 - Math.Pow(0.9, t)) * s[0] / (Math.Sqrt(v) / Math.Sqrt(1 - Math.Pow(0.99, t)) + 1e-8);
            });
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void RmsProp_follows_the_formula(string name, ElementType type)
    {
        foreach (var (decay, momentum, centered) in new[] { (0.0, 0.0, 0), (0.1, 0.9, 0), (0.0, 0.5, 1) })
        {
            Check(name, type, 3, (device, p, g, s, t) => Updates.RmsProp(device, new(0.01, 0.9, 1e-6, decay, momentum, centered), p, g, s[0], s[1], s[2]), (p, g, s, t) =>
            {
                g += decay * p;
                s[0] = 0.9 * s[0] + 0.1 * g * g;
                s[1] = 0.9 * s[1] + 0.1 * g;
                double move = g / (Math.Sqrt(centered == 1 ? s[0] - s[1] * s[1] : s[0]) + 1e-6);
                s[2] = momentum * s[2] + move;
                return p - 0.01 * (momentum != 0 ? s[2] : move);
            });
        }
    }

    private static void Check(
        string name, ElementType type, int states, Action<ComputeDevice, Slice, Slice, Slice[], int> step, Func<double, double, double[], int, double> reference)
    {
        var device = TestDevices.Get(name);
        var random = new Random(5);
        double[] expected = Numbers();
        var state = Enumerable.Range(0, Length).Select(_ => new double[states]).ToArray();
        var p = Data.New(device, expected, type);
        var slices = Enumerable.Range(0, states).Select(_ => Data.New(device, new double[Length], type)).ToArray();
        for (int t = 1; t <= Steps; t++)
        {
            double[] gradient = Numbers();
            step(device, p, Data.New(device, gradient, type), slices, t);
            for (int i = 0; i < Length; i++)
                expected[i] = reference(expected[i], gradient[i], state[i], t);
        }
        double tolerance = type == ElementType.Float64 ? 1e-12 : 3e-6;
        foreach (var (want, got) in expected.Zip(Data.Read(device, p)))
            Assert.Equal(want, got, tolerance);

        // Rounded to float, so that both types start from the same numbers.
        double[] Numbers() => [.. Enumerable.Range(0, Length).Select(_ => (double)(float)(random.NextDouble() * 2 - 1))];
    }
}
