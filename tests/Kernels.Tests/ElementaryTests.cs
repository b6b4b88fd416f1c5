using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

/// <summary>Errors of the elementary functions in units in the last place, against System.Math in double.</summary>
public class ElementaryTests
{
    public static TheoryData<string, string> Cases
    {
        get
        {
            var cases = new TheoryData<string, string>();
            foreach (string device in TestDevices.Names)
                foreach (string function in new[] { "Exp", "Expm1", "Log", "Tanh", "Sigmoid" })
                    cases.Add(device, function);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Error_stays_within_its_ULP(string name, string function)
    {
        var device = TestDevices.Get(name);
        int n = name == "emulator" ? 2_000 : 200_000;
        switch (function)
        {
            case "Exp": Compare<ExpFunctor>(device, Math.Exp, -103, 88.7, n, 2); break;
            case "Expm1": Compare<Expm1Functor>(device, x => Math.Abs(x) < 1e-5 ? x + x * x / 2 : Math.Exp(x) - 1, -30, 88, n, 3); break;
            case "Log": Compare<LogFunctor>(device, Math.Log, 1e-30, 20, n, 2); break;
            case "Tanh": Compare<TanhFunctor>(device, Math.Tanh, -12, 12, n, 4); break;
            default: Compare<SigmoidFunctor>(device, x => 1 / (1 + Math.Exp(-x)), -80, 80, n, 3); break;
        }
    }

    private static void Compare<F>(ComputeDevice device, Func<double, double> reference, double low, double high, int n, double ulps) where F : struct, IUnary
    {
        double[] x = [.. Enumerable.Range(0, n).Select(i => (double)(float)(i % 3 == 0 ? (low + high) / 2 + (high - low) / 2 * Math.Pow(i / (double)n, 9) : low + (high - low) * i / n))];
        var block = device.Memory.Rent(8L * n, null);
        var slice = new Slice(block, 0, n, ElementType.Float32);
        device.CopyIn<float>(Array.ConvertAll(x, v => (float)v), slice);
        Elementwise.Map(device, default(F), slice, slice);
        var single = new float[n];
        device.CopyOut<float>(slice, single);
        for (int i = 0; i < n; i++)
        {
            double want = reference(x[i]);
            double unit = Math.Max(MathF.BitIncrement((float)Math.Abs(want)) - (float)Math.Abs(want), float.Epsilon);
            Assert.True(float.IsInfinity((float)want) || Math.Abs(single[i] - want) <= ulps * unit || Math.Abs(want) < 1.2e-38, $"f({x[i]:R}) = {single[i]:R}, wanted {want:R}");
        }

        var wide = new Slice(block, 0, n, ElementType.Float64);
        device.CopyIn<double>(x, wide);
        Elementwise.Map(device, default(F), wide, wide);
        var values = new double[n];
        device.CopyOut<double>(wide, values);
        device.Memory.Return(block);
        for (int i = 0; i < n; i++)
        {
            double want = reference(x[i]), unit = Math.BitIncrement(Math.Abs(want)) - Math.Abs(want);
            // The references' own errors near cancellation are allowed for by a few more units.
            Assert.True(Math.Abs(values[i] - want) <= (ulps + 4) * unit + 1e-16, $"f({x[i]:R}) = {values[i]:R}, wanted {want:R}");
        }
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Special_values_are_those_of_IEEE_754(string name)
    {
        var device = TestDevices.Get(name);
        float[] x = [float.NaN, float.PositiveInfinity, float.NegativeInfinity, 0, -1, 1000, -1000];
        Assert.Equal([float.NaN, float.PositiveInfinity, 0, 1, MathF.Exp(-1), float.PositiveInfinity, 0], Apply<ExpFunctor>(x), new Near());
        Assert.Equal([float.NaN, float.PositiveInfinity, float.NaN, float.NegativeInfinity, float.NaN, MathF.Log(1000), float.NaN], Apply<LogFunctor>(x), new Near());
        Assert.Equal([float.NaN, 1, -1, 0, MathF.Tanh(-1), 1, -1], Apply<TanhFunctor>(x), new Near());

        float[] Apply<F>(float[] values) where F : struct, IUnary
        {
            var slice = new Slice(device.Memory.Rent(4 * values.Length, null), 0, values.Length, ElementType.Float32);
            device.CopyIn<float>(values, slice);
            Elementwise.Map(device, default(F), slice, slice);
            var y = new float[values.Length];
            device.CopyOut<float>(slice, y);
            device.Memory.Return(slice.Block);
            return y;
        }
    }

    private sealed class Near : IEqualityComparer<float>
    {
        public bool Equals(float a, float b) => a.Equals(b) || Math.Abs(a - b) < 1e-6f;

        public int GetHashCode(float x) => 0;
    }

    internal readonly struct ExpFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Exp<L, T>(x);
    }

    internal readonly struct Expm1Functor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Expm1<L, T>(x);
    }

    internal readonly struct LogFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Log<L, T>(x);
    }

    internal readonly struct TanhFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Tanh<L, T>(x);
    }

    internal readonly struct SigmoidFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sigmoid<L, T>(x);
    }
}
