namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Small samples, distances between them in plain doubles, and the checks that losses share.</summary>
internal static class Samples
{
    /// <summary>Rows of numbers from -1 to 1, moved by <paramref name="shift"/>.</summary>
    public static double[][] Rows(int n, int d, int seed, double shift)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, n).Select(_ => Enumerable.Range(0, d).Select(_ => random.NextDouble() * 2 - 1 + shift).ToArray())];
    }

    public static Tensor From(double[][] rows) => Tensor.From(rows.SelectMany(row => row).ToArray(), [rows.Length, rows[0].Length]);

    public static double Distance(double[] a, double[] b) => a.Zip(b, (x, y) => (x - y) * (x - y)).Sum();

    public static double[] Softmax(double[] logits, double temperature = 1)
    {
        double[] powers = [.. logits.Select(x => Math.Exp(x / temperature))];
        return [.. powers.Select(p => p / powers.Sum())];
    }

    /// <summary>The squared MMD of a kernel of two indices into all rows, the first n of which are the source's.</summary>
    public static double Mmd(int n, int m, Func<int, int, double> kernel, bool unbiased)
    {
        double Mean(int from, int rows, int with, int columns)
        {
            bool skip = unbiased && from == with;
            double sum = 0;
            for (int i = 0; i < rows; i++)
            {
                for (int j = 0; j < columns; j++)
                    sum += skip && i == j ? 0 : kernel(from + i, with + j);
            }
            return sum / (rows * (skip ? columns - 1.0 : columns));
        }
        return Mean(0, n, 0, n) + Mean(n, m, n, m) - 2 * Mean(0, n, n, m);
    }

    /// <summary>The lower median.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[(sorted.Length - 1) / 2];
    }

    public static void AssertClose(double want, double got, double tolerance = 1e-11) => Assert.True(Math.Abs(want - got) <= tolerance * (1 + Math.Abs(want)), $"got {got:R}, wanted {want:R}");

    /// <summary>Compares the gradients of a loss of two matrices, of 6 and of <paramref name="m"/> rows, with central differences, and its float32 value and gradients with those in float64.</summary>
    /// <param name="loss">A scalar of both.</param>
    /// <param name="m">Rows of the second.</param>
    /// <param name="step">The difference.</param>
    /// <param name="tolerance">Of the differences.</param>
    public static void CheckGradient(Func<Tensor, Tensor, Tensor> loss, int m = 6, double step = 1e-6, double tolerance = 1e-7)
    {
        double[][] s = Rows(6, 3, 1, 0), t = Rows(m, 3, 2, 0.4);
        var (value, gradients) = Run(ElementType.Float64);
        foreach (var (rows, gradient) in new[] { (s, gradients[0]), (t, gradients[1]) })
        {
            for (int i = 0; i < rows.Length; i++)
            {
                for (int j = 0; j < 3; j++)
                {
                    double saved = rows[i][j];
                    rows[i][j] = saved + step;
                    double up = loss(From(s), From(t)).Item();
                    rows[i][j] = saved - step;
                    double down = loss(From(s), From(t)).Item();
                    rows[i][j] = saved;
                    AssertClose((up - down) / (2 * step), gradient[i * 3 + j], tolerance);
                }
            }
        }
        var (single, singles) = Run(ElementType.Float32);
        AssertClose(value, single, 2e-5);
        foreach (var (wide, narrow) in gradients.Zip(singles))
        {
            for (int i = 0; i < wide.Length; i++)
                AssertClose(wide[i], narrow[i], 1e-4);
        }

        (double, double[][]) Run(ElementType type)
        {
            Tensor x = From(s).To(type), y = From(t).To(type);
            (x.RequiresGrad, y.RequiresGrad) = (true, true);
            var result = loss(x, y);
            Assert.Equal(type, result.ElementType);
            return (result.Item(), [.. Tensor.Gradients(result, [x, y]).Select(g => g.To(ElementType.Float64).ToArray<double>())]);
        }
    }
}
