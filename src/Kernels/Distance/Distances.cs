using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Which weight each pair of rows has in a sum over pairs: one for each of the four blocks that a row and a column cut the matrix into.
/// <paramref name="SkipDiagonal"/> is 1 where an element is not paired with itself, else 0.
/// </summary>
internal readonly record struct PairWeights(int RowSplit, int ColumnSplit, double Weight00, double Weight01, double Weight10, double Weight11, int SkipDiagonal);

/// <summary>What a sum of Gaussian kernels leaves for its gradient.</summary>
internal enum PairGradient
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>W, the derivative by each squared distance.</summary>
    Distance,

    /// <summary>4 (diag(W 1) - W), which times the points is their gradient, where the distances are of one set of points and the weights symmetric.</summary>
    Points,
}

/// <summary>Squared distances from a matrix of inner products, and sums of Gaussian kernels of them in one pass: what MMD is made of.</summary>
internal static class Distances
{
    /// <summary>y[i] = the sum of squares of row i of x, [rows, columns].</summary>
    public static void RowSquares(ComputeDevice device, int rows, int columns, in Slice x, in Slice y)
    {
        int chunk = RowsOfItem(device, columns), items = (rows + chunk - 1) / chunk;
        if (x.Type == ElementType.Float64)
            device.Launch<double, RowSquaresKernel<double>>(items, new(x.View<double>(), y.View<double>(), columns, chunk, rows));
        else
            device.Launch<float, RowSquaresKernel<float>>(items, new(x.View<float>(), y.View<float>(), columns, chunk, rows));
    }

    /// <summary>y[i, j] = max(p[i] + q[j] - 2 products[i, j], 0): the squared distances of points with squared norms p and q; y may be the products.</summary>
    public static void FromProducts(ComputeDevice device, int rows, int columns, in Slice products, in Slice p, in Slice q, in Slice y)
    {
        int n = rows * columns, chunk = device.ChunkOf(n), items = (n + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.Launch<double, SquaredDistanceKernel<double>>(items, new(products.View<double>(), p.View<double>(), q.View<double>(), y.View<double>(), columns, chunk, n));
        else
            device.Launch<float, SquaredDistanceKernel<float>>(items, new(products.View<float>(), p.View<float>(), q.View<float>(), y.View<float>(), columns, chunk, n));
    }

    /// <summary>y = the sum over k of (-rates[k])^order exp(-rates[k] x): Gaussian kernels of squared distances, and their derivatives.</summary>
    public static void Gaussian(ComputeDevice device, int order, in Slice x, in Slice rates, in Slice y)
    {
        int chunk = device.ChunkOf(y.Length), items = (y.Length + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.Launch<double, GaussianKernel<double>>(items, new(order, x.View<double>(), rates.View<double>(), rates.Length, y.View<double>(), chunk, y.Length));
        else
            device.Launch<float, GaussianKernel<float>>(items, new(order, x.View<float>(), rates.View<float>(), rates.Length, y.View<float>(), chunk, y.Length));
    }

    /// <summary>
    /// y[i] = the sum over j of weight[i, j] times the sum over k of exp(-rates[k] x[i, j]), and in the same pass the gradient, of x's size. The
    /// gradient may be x.
    /// </summary>
    public static void GaussianSums(
        ComputeDevice device, int rows, int columns, PairWeights weights, PairGradient wanted, in Slice x, in Slice rates, in Slice y, in Slice gradient)
    {
        int chunk = RowsOfItem(device, columns), items = (rows + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.Launch<double, GaussianSumsKernel<double>>(items, new(weights, (int)wanted, x.View<double>(), rates.View<double>(), rates.Length, y.View<double>(), gradient.View<double>(), columns, chunk, rows));
        else
            device.Launch<float, GaussianSumsKernel<float>>(items, new(weights, (int)wanted, x.View<float>(), rates.View<float>(), rates.Length, y.View<float>(), gradient.View<float>(), columns, chunk, rows));
    }

    /// <summary>Rows of one work item: on the CPU some 4,000 elements.</summary>
    private static int RowsOfItem(ComputeDevice device, int columns) => device.IsDirect ? Math.Max(1, 4096 / Math.Max(1, columns)) : 1;
}

/// <summary>One work item: the sums of <c>chunk</c> rows.</summary>
internal readonly struct RowSquaresKernel<T>(ArrayView<T> x, ArrayView<T> y, int columns, int chunk, int rows) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, destination) = (x, y);
        int end = Math.Min(item * chunk + chunk, rows);
        for (int row = item * chunk; row < end; row++)
        {
            int at = row * columns;
            L sum = L.Constant(0), other = sum;
            int j = 0;
            for (; j + 2 * L.Width <= columns; j += 2 * L.Width)
            {
                L a = L.Load(source, at + j), b = L.Load(source, at + j + L.Width);
                sum = L.MultiplyAdd(a, a, sum);
                other = L.MultiplyAdd(b, b, other);
            }
            for (; j < columns; j += L.Width)
            {
                var a = L.Load(source, at + j, columns - j, L.Constant(0));
                sum = L.MultiplyAdd(a, a, sum);
            }
            L.At(destination, row) = L.Sum(sum + other);
        }
    }
}

/// <summary>One work item: <c>chunk</c> elements of y.</summary>
internal readonly struct SquaredDistanceKernel<T>(ArrayView<T> products, ArrayView<T> p, ArrayView<T> q, ArrayView<T> y, int columns, int chunk, int n)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (inner, rows, across, destination) = (products, p, q, y);
        int i = item * chunk, end = Math.Min(i + chunk, n);
        while (i < end)
        {
            int row = i / columns, column = i - row * columns, run = Math.Min(columns - column, end - i);
            var own = L.Splat(L.At(rows, row));
            for (int j = 0; j < run; j += L.Width)
            {
                var squared = L.MultiplyAdd(L.Constant(-2), L.Load(inner, i + j, run - j, own), own + L.Load(across, column + j, run - j, own));
                L.Store(destination, i + j, run - j, L.Max(squared, L.Constant(0)));
            }
            i += run;
        }
    }
}

/// <summary>One work item: <c>chunk</c> elements of y.</summary>
internal readonly struct GaussianKernel<T>(int order, ArrayView<T> x, ArrayView<T> rates, int count, ArrayView<T> y, int chunk, int n) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, speeds, destination) = (x, rates, y);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i += L.Width)
        {
            L distance = L.Load(source, i, end - i, L.Constant(0)), sum = L.Constant(0);
            for (int k = 0; k < count; k++)
            {
                var rate = -L.Splat(L.At(speeds, k));
                var value = Elementary.Exp<L, T>(rate * distance);
                for (int o = 0; o < order; o++)
                    value *= rate;
                sum += value;
            }
            L.Store(destination, i, end - i, sum);
        }
    }
}

/// <summary>One work item: <c>chunk</c> rows: an element of y each, and a row of the gradient.</summary>
internal readonly struct GaussianSumsKernel<T>(
    PairWeights weights, int wanted, ArrayView<T> x, ArrayView<T> rates, int count, ArrayView<T> y, ArrayView<T> gradient, int columns, int chunk, int rows)
    : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        int end = Math.Min(item * chunk + chunk, rows);
        for (int row = item * chunk; row < end; row++)
        {
            bool upper = row < weights.RowSplit;
            int split = Math.Min(weights.ColumnSplit, columns), skipped = weights.SkipDiagonal != 0 && row < columns ? row : -1;
            L sum = L.Constant(0), slope = sum;
            Block<L>(row, 0, split, skipped, upper ? weights.Weight00 : weights.Weight10, ref sum, ref slope);
            Block<L>(row, split, columns, skipped, upper ? weights.Weight01 : weights.Weight11, ref sum, ref slope);
            L.At(y, row) = L.Sum(sum);
            if (wanted == (int)PairGradient.Points)
                L.At(gradient, row * columns + row) = L.First(L.Splat(L.At(gradient, row * columns + row)) - L.Splat(L.Sum(slope)));
        }
    }

    private void Block<L>(int row, int from, int to, int skipped, double weight, ref L sum, ref L slope) where L : unmanaged, ILane<L, T>
    {
        if (skipped < from || skipped >= to)
        {
            Run(row, from, to, weight, ref sum, ref slope);
            return;
        }
        Run(row, from, skipped, weight, ref sum, ref slope);
        Run(row, skipped + 1, to, weight, ref sum, ref slope);
        if (wanted != (int)PairGradient.None)
            L.At(gradient, row * columns + skipped) = L.First(L.Constant(0));
    }

    /// <summary>Columns of one weight. What is stored is W, or -4 W for the points; <paramref name="slope"/> sums what is stored.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Run<L>(int row, int from, int to, double weight, ref L sum, ref L slope) where L : unmanaged, ILane<L, T>
    {
        var (source, speeds, slopes) = (x, rates, gradient);
        int at = row * columns;
        L values = L.Constant(0), stored = values, scale = L.Constant(wanted == (int)PairGradient.Points ? 4 * weight : -weight), share = L.Constant(weight);
        for (int j = from; j < to; j += L.Width)
        {
            // Far away every kernel is 0, so what lies past the row adds nothing.
            L distance = L.Load(source, at + j, to - j, L.Constant(1e30)), kernel = L.Constant(0), derivative = kernel;
            for (int k = 0; k < count; k++)
            {
                var rate = L.Splat(L.At(speeds, k));
                var value = Elementary.ExpOfNegative<L, T>(-rate * distance);
                kernel += value;
                derivative = L.MultiplyAdd(value, rate, derivative);
            }
            values += kernel;
            derivative *= scale;
            stored += derivative;
            if (wanted != (int)PairGradient.None)
                L.Store(slopes, at + j, to - j, derivative);
        }
        sum = L.MultiplyAdd(values, share, sum);
        slope += stored;
    }
}
