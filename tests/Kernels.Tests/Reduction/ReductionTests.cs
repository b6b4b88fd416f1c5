using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class ReductionTests
{
    // 300 and 600 are longer than a GPU's piece of a row, and than a piece of a column.
    private static readonly (int Outer, int N, int Inner)[] Shapes =
        [(0, 3, 1), (3, 0, 1), (1, 1, 1), (5, 7, 1), (3, 33, 1), (2, 300, 1), (2, 0, 3), (2, 5, 3), (3, 4, 17), (1, 600, 5)];

    public static TheoryData<string, int, int, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, int, int, ElementType>();
            foreach (string device in TestDevices.Names)
                foreach (var (outer, n, inner) in Shapes)
                {
                    cases.Add(device, outer, n, inner, ElementType.Float32);
                    cases.Add(device, outer, n, inner, ElementType.Float64);
                }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Every_functor_follows_its_definition(string name, int outer, int n, int inner, ElementType type)
    {
        var device = TestDevices.Get(name);
        double[] x = Numbers(outer + n + inner, outer * n * inner), centre = Numbers(n, outer * inner);
        void Follows<R>(R reduction, Func<double[], double, double> definition, bool centred = false) where R : struct, IReduction
        {
            var y = Data.New(device, new double[outer * inner], type);
            Reduction.Run(device, reduction, Data.New(device, x, type), outer, n, inner, y, centred ? Data.New(device, centre, type) : null);
            var got = Data.Read(device, y);
            for (int i = 0; i < got.Length; i++)
            {
                double want = definition(Line(x, n, inner, i), centre[i]);
                if (double.IsInfinity(want))
                    Assert.Equal(want, got[i]);
                else
                    Assert.Equal(want, got[i], (type == ElementType.Float64 ? 1e-12 : 2e-5) * (1 + Math.Abs(want)));
            }
        }
        Follows(default(SumOf<Itself>), (v, _) => v.Sum());
        Follows(default(SumOf<SquareOf>), (v, _) => v.Sum(a => a * a));
        Follows(default(SumOf<Magnitude>), (v, _) => v.Sum(Math.Abs));
        Follows(new SumOf<PowerOfMagnitude>(new(3)), (v, _) => v.Sum(a => Math.Pow(Math.Abs(a), 3)));
        Follows(default(SumOf<SquaredDeviation>), (v, c) => v.Sum(a => (a - c) * (a - c)), centred: true);
        Follows(default(SumOf<ExpDeviation>), (v, c) => v.Sum(a => Math.Exp(a - c)), centred: true);
        Follows(default(LargestOf<Itself>), (v, _) => v.DefaultIfEmpty(double.NegativeInfinity).Max());
        Follows(default(SmallestOf), (v, _) => v.DefaultIfEmpty(double.PositiveInfinity).Min());
        Follows(default(ProductOf), (v, _) => v.Aggregate(1.0, (a, b) => a * b));
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void The_first_extreme_wins_and_nan_before_it(string name, int outer, int n, int inner, ElementType type)
    {
        var device = TestDevices.Get(name);
        Skip.If(n == 0, "Nothing has no extreme.");
        // Few values, so that each extreme occurs several times; in every third line NaN, twice if it is long.
        double[] x = [.. Numbers(n, outer * n * inner).Select(v => Math.Round(v * 3))];
        for (int line = 0; line < outer * inner; line += 3)
        {
            foreach (int j in new[] { n / 2, n - 1 })
                x[(line / inner * n + j) * inner + line % inner] = double.NaN;
        }
        foreach (int sign in new[] { 1, -1 })
        {
            var y = Data.New(device, new int[outer * inner]);
            Reduction.Arg(device, sign, Data.New(device, x, type), outer, n, inner, y);
            var want = Enumerable.Range(0, outer * inner).Select(i =>
            {
                var line = Line(x, n, inner, i);
                int nan = Array.FindIndex(line, double.IsNaN);
                return (double)(nan >= 0 ? nan : Array.IndexOf(line, sign > 0 ? line.Max() : line.Min()));
            });
            Assert.Equal(want, Data.Read(device, y));
        }
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Nan_and_infinity_pass_through(string name)
    {
        var device = TestDevices.Get(name);
        foreach (int inner in new[] { 1, 3 })
            foreach (double odd in new[] { double.NaN, double.PositiveInfinity })
            {
                double[] x = Numbers(inner, 37 * inner);
                x[20 * inner] = odd;
                double Reduced<R>(R reduction) where R : struct, IReduction
                {
                    var y = Data.New(device, new double[inner], ElementType.Float32);
                    Reduction.Run(device, reduction, Data.New(device, x, ElementType.Float32), 1, 37, inner, y);
                    return Data.Read(device, y)[0];
                }
                Assert.Equal(odd, Reduced(default(SumOf<Itself>)));
                Assert.Equal(odd, Reduced(default(LargestOf<Itself>)));
                Assert.Equal(double.IsNaN(odd) ? odd : Line(x, 37, inner, 0).Min(), Reduced(default(SmallestOf)), 1e-6);
            }
    }

    /// <summary>Ten million numbers of one sign, added one after the other in float, would keep two digits.</summary>
    [Theory, InlineData(1), InlineData(3)]
    public void A_float_sum_of_ten_million_keeps_six_digits_and_its_bits_with_one_and_two_workers(int inner)
    {
        using var device = ComputeDevice.Open(DeviceKind.Cpu, 0);
        int n = 10_000_001 / inner;
        var values = new float[n * inner];
        var random = new Random(1);
        double[] want = new double[inner];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.NextSingle();
            want[i % inner] += values[i];
        }
        var x = new Slice(device.Memory.Rent(4L * values.Length, null), 0, values.Length, ElementType.Float32);
        device.CopyIn<float>(values, x);
        var y = Data.New(device, new double[inner], ElementType.Float32);
        double[]? first = null;
        foreach (int workers in (int[])[1, 2])
        {
            device.Team.MaxDegreeOfParallelism = workers;
            Reduction.Sum(device, x, 1, n, inner, y);
            var got = Data.Read(device, y);
            Assert.Equal(first ??= got, got);
            for (int i = 0; i < inner; i++)
                Assert.Equal(want[i], got[i], 1e-6 * want[i]);
        }
    }

    private static double[] Line(double[] x, int n, int inner, int i) => [.. Enumerable.Range(0, n).Select(j => x[(i / inner * n + j) * inner + i % inner])];

    // Rounded to float, so that both types start from the same numbers.
    private static double[] Numbers(int seed, int n)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, n).Select(_ => (double)(float)(2 * random.NextDouble() - 1))];
    }
}
