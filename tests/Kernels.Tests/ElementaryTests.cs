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
                foreach (string function in new[] { "Exp", "ExpOfNegative", "Expm1", "Log", "Log1p", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Pow" })
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
            case "ExpOfNegative": Compare<ExpOfNegativeFunctor>(device, Math.Exp, -200, 0, n, 2); break;
            case "Expm1": Compare<Expm1Functor>(device, x => Math.Abs(x) < 1e-5 ? x + x * x / 2 : Math.Exp(x) - 1, -30, 88, n, 3); break;
            case "Log": Compare<LogFunctor>(device, Math.Log, 1e-30, 20, n, 2); break;
            case "Tanh": Compare<TanhFunctor>(device, Math.Tanh, -12, 12, n, 4); break;
            case "Log1p": Compare<Log1pFunctor>(device, x => Math.Abs(x) < 1e-4 ? x * (1 - x * (0.5 - x * (1.0 / 3 - x / 4))) : Math.Log(1 + x), -0.9, 50, n, 4, 1e-12); break;
            case "Erf": Compare<ErfFunctor>(device, Erf, -6.5, 6.5, n, 3); break;
            // Near a zero of theirs, sine and cosine of a rounded argument have an absolute error only: that of the reduction.
            case "Sin": Compare<SinFunctor>(device, Math.Sin, -1000, 1000, n, 4, 1e-13, 1e-7); break;
            case "Cos": Compare<CosFunctor>(device, Math.Cos, -1000, 1000, n, 4, 1e-13, 1e-7); break;
            case "Pow": Compare<PowFunctor>(device, x => Math.Pow(x, 2.5), 1e-3, 1000, n, 3 + 2 * 2.5 * Math.Log(1000)); break;
            default: Compare<SigmoidFunctor>(device, x => 1 / (1 + Math.Exp(-x)), -80, 80, n, 3); break;
        }
    }

    private static void Compare<F>(ComputeDevice device, Func<double, double> reference, double low, double high, int n, double ulps, double slack64 = 1e-16, double slack32 = 0) where F : struct, IUnary
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
            Assert.True(float.IsInfinity((float)want) || Math.Abs(single[i] - want) <= ulps * unit + slack32 || Math.Abs(want) < 1.2e-38, $"f({x[i]:R}) = {single[i]:R}, wanted {want:R}");
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
            Assert.True(Math.Abs(values[i] - want) <= (ulps + 4) * unit + slack64, $"f({x[i]:R}) = {values[i]:R}, wanted {want:R}");
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

        Assert.Equal([float.NaN, 1, -1, 0, -0.8427008f, 1, -1], Apply<ErfFunctor>(x), new Near());
        Assert.Equal([float.NaN, float.PositiveInfinity, float.NaN, 0, float.NaN, MathF.Pow(1000, 2.5f), float.NaN], Apply<PowFunctor>(x), new Near());
        Assert.Equal([1, 1, 1, 1, 1, 1, 1], Apply<PowerOfOneFunctor>(x), new Near());

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

    /// <summary>The error function in double, in decimal's 28 digits where its alternating series would cancel, and 1 less the complement's continued fraction beyond 3.</summary>
    private static double Erf(double x)
    {
        double magnitude = Math.Abs(x);
        if (magnitude > 3)
        {
            double fraction = magnitude;
            for (int k = 80; k >= 1; k--)
                fraction = magnitude + 0.5 * k / fraction;
            return Math.CopySign(1 - Math.Exp(-x * x) / Math.Sqrt(Math.PI) / fraction, x);
        }
        if (magnitude < 0.1)
            return x * 1.1283791670955126 * (1 - x * x * (1.0 / 3 - x * x * (1.0 / 10 - x * x * (1.0 / 42 - x * x * (1.0 / 216 - x * x / 1320)))));
        // A float of this size is a multiple of 2^-32; the conversion from double to decimal would round to 15 digits.
        decimal exact = (long)(x * 4294967296) / 4294967296m, z = exact * exact, term = exact, sum = term;
        for (int k = 1; k < 80; k++)
        {
            term *= -z / k;
            sum += term / (2 * k + 1);
        }
        return (double)(sum * 1.128379167095512573896158903m);
    }

    private sealed class Near : IEqualityComparer<float>
    {
        public bool Equals(float a, float b) => a.Equals(b) || Math.Abs(a - b) < 1e-6f * Math.Max(1, Math.Abs(b));

        public int GetHashCode(float x) => 0;
    }

    internal readonly struct ExpFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Exp<L, T>(x);
    }

    internal readonly struct ExpOfNegativeFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.ExpOfNegative<L, T>(x);
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

    internal readonly struct Log1pFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Log1p<L, T>(x);
    }

    internal readonly struct ErfFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Erf<L, T>(x);
    }

    internal readonly struct SinFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Sin<L, T>(x);
    }

    internal readonly struct CosFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Cos<L, T>(x);
    }

    internal readonly struct PowFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Pow<L, T>(x, L.Constant(2.5));
    }

    internal readonly struct PowerOfOneFunctor : IUnary
    {
        public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Pow<L, T>(L.Constant(1), x);
    }
}
