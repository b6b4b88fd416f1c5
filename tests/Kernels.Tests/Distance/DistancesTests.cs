using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class DistancesTests
{
    public static TheoryData<string, int, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, int, ElementType>();
            foreach (string device in TestDevices.Names)
                foreach (var (rows, columns) in new[] { (0, 4), (1, 1), (3, 7), (16, 16), (5, 33), (40, 130) })
                {
                    cases.Add(device, rows, columns, ElementType.Float32);
                    cases.Add(device, rows, columns, ElementType.Float64);
                }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Squared_distances_and_row_squares_follow_their_formulas(string name, int rows, int columns, ElementType type)
    {
        var device = TestDevices.Get(name);
        var random = new Random(rows);
        double[] products = Numbers(random, rows * columns), p = Numbers(random, rows), q = Numbers(random, columns);
        var y = Data.New(device, products, type);
        Distances.FromProducts(device, rows, columns, y, Data.New(device, p, type), Data.New(device, q, type), y);
        Close(products.Select((v, i) => Math.Max(0, p[i / columns] + q[i % columns] - 2 * v)), Data.Read(device, y), type);
        var squares = Data.New(device, p, type);
        Distances.RowSquares(device, rows, columns, Data.New(device, products, type), squares);
        Close(Enumerable.Range(0, rows).Select(i => products[(i * columns)..((i + 1) * columns)].Sum(v => v * v)), Data.Read(device, squares), type);
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Gaussian_kernels_and_their_derivatives_follow_their_formulas(string name, int rows, int columns, ElementType type)
    {
        var device = TestDevices.Get(name);
        double[] x = Numbers(new Random(rows), rows * columns), rates = [0.25, 1, 3];
        for (int order = 0; order < 3; order++)
        {
            var y = Data.New(device, x, type);
            Distances.Gaussian(device, order, y, Data.New(device, rates, type), y);
            Close(x.Select(d => rates.Sum(r => Math.Pow(-r, order) * Math.Exp(-r * d))), Data.Read(device, y), type);
        }
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Weighted_sums_and_their_gradients_follow_their_formulas(string name, int rows, int columns, ElementType type)
    {
        var device = TestDevices.Get(name);
        double[] x = Numbers(new Random(rows), rows * columns), rates = [0.25, 1, 3];
        foreach (int skip in new[] { 0, 1 })
        {
            var weights = new PairWeights(rows / 2, columns / 3, 0.5, -2, -1, 0.25, skip);
            double Weight(int i, int j) => skip == 1 && i == j ? 0
                : i < weights.RowSplit ? j < weights.ColumnSplit ? 0.5 : -2 : j < weights.ColumnSplit ? -1 : 0.25;
            var slopes = x.Select((d, i) => -Weight(i / columns, i % columns) * rates.Sum(r => r * Math.Exp(-r * d))).ToArray();
            var (y, gradient) = (Data.New(device, new double[rows], type), Data.New(device, x, type));
            Distances.GaussianSums(device, rows, columns, weights, PairGradient.Distance, gradient, Data.New(device, rates, type), y, gradient);
            Close(Enumerable.Range(0, rows).Select(i => Enumerable.Range(0, columns).Sum(j => Weight(i, j) * rates.Sum(r => Math.Exp(-r * x[i * columns + j])))), Data.Read(device, y), type);
            Close(slopes, Data.Read(device, gradient), type);
            if (rows != columns)
                continue;
            Distances.GaussianSums(device, rows, columns, weights, PairGradient.Points, Data.New(device, x, type), Data.New(device, rates, type), y, gradient);
            Close(slopes.Select((w, i) => 4 * ((i / columns == i % columns ? slopes[(i / columns * columns)..(i / columns * columns + columns)].Sum() : 0) - w)), Data.Read(device, gradient), type);
        }
    }

    // Rounded to float, so that both types start from the same numbers.
    private static double[] Numbers(Random random, int n) => [.. Enumerable.Range(0, n).Select(_ => (double)(float)(3 * random.NextDouble()))];

    private static void Close(IEnumerable<double> expected, double[] got, ElementType type)
    {
        double[] want = [.. expected];
        Assert.Equal(want.Length, got.Length);
        double tolerance = (type == ElementType.Float64 ? 1e-13 : 1e-6) * (1 + want.Select(Math.Abs).DefaultIfEmpty(0).Max());
        for (int i = 0; i < want.Length; i++)
            Assert.Equal(want[i], got[i], tolerance);
    }
}
