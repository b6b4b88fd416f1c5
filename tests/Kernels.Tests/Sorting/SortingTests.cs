using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class SortingTests
{
    // Lines within a tile of the emulator and beyond, on either side of where the CPU counts digits, and with an inner axis.
    private static readonly (int Outer, int N, int Inner)[] Shapes = [(3, 0, 2), (0, 4, 1), (2, 1, 1), (3, 17, 1), (2, 64, 1), (5, 100, 3), (1, 255, 1), (2, 257, 2), (1, 1_500, 1)];

    public static TheoryData<string, int, bool, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, bool, ElementType>();
            foreach (string device in TestDevices.Names)
                for (int shape = 0; shape < Shapes.Length; shape++)
                    foreach (bool descending in (bool[])[false, true])
                        foreach (var type in (ElementType[])[ElementType.Float32, ElementType.Float64])
                            cases.Add(device, shape, descending, type);
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Lines_are_in_order_and_equal_elements_keep_theirs(string name, int shape, bool descending, ElementType type)
    {
        var device = TestDevices.Get(name);
        var (outer, n, inner) = Shapes[shape];
        Check(device, outer, n, inner, descending, type, Numbers(shape, outer * n * inner, few: false));
        Check(device, outer, n, inner, descending, type, Numbers(shape, outer * n * inner, few: true));
    }

    [SkippableTheory, InlineData("direct"), InlineData("opencl"), InlineData("cuda")]
    public void Long_lines_take_several_merges(string name)
    {
        var device = TestDevices.Get(name);
        foreach (var type in (ElementType[])[ElementType.Float32, ElementType.Float64])
        {
            Check(device, 2, 9_001, 3, false, type, Numbers(1, 54_006, few: false));
            Check(device, 1, 40_000, 1, true, type, Numbers(2, 40_000, few: true));
        }
    }

    private static void Check(ComputeDevice device, int outer, int n, int inner, bool descending, ElementType type, double[] x)
    {
        Slice y = Data.New(device, new double[x.Length], type), index = Data.New(device, new int[x.Length]);
        Kernels.Sorting.Sort(device, new(outer, n, inner, descending ? 1 : 0), Data.New(device, x, type), y, index);
        double[] gotValues = Data.Read(device, y), gotPlaces = Data.Read(device, index);
        for (int line = 0; line < (n == 0 ? 0 : outer * inner); line++)
        {
            int start = line / inner * n * inner + line % inner;
            double[] v = [.. Enumerable.Range(0, n).Select(j => x[start + j * inner])];
            // A NaN is larger than infinity; adding 0 makes -0 a 0.
            var keys = v.Select(a => (double.IsNaN(a) ? 1 : 0, double.IsNaN(a) ? 0 : a + 0.0)).ToArray();
            int[] order = [.. descending ? Enumerable.Range(0, n).OrderByDescending(j => keys[j]) : Enumerable.Range(0, n).OrderBy(j => keys[j])];
            for (int j = 0; j < n; j++)
            {
                Assert.Equal(order[j], gotPlaces[start + j * inner]);
                Assert.Equal(v[order[j]], gotValues[start + j * inner]);
            }
        }
    }

    /// <summary>Numbers of all magnitudes, or a few that repeat, with every kind of special one among them; rounded to float, so that both types sort the same.</summary>
    private static double[] Numbers(int seed, int count, bool few)
    {
        double[] special = [double.NaN, double.PositiveInfinity, double.NegativeInfinity, 0, -0.0, float.Epsilon, -float.Epsilon, float.MaxValue];
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => few ? random.Next(-2, 3)
            : random.Next(8) == 0 ? special[random.Next(special.Length)] : (double)(float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-30, 30))))];
    }
}
