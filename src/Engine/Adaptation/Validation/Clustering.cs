using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>Clusters of rows and how well they stand apart.</summary>
internal static class Clustering
{
    private const int Block = 512, MaxIterations = 300;

    /// <summary>Lloyd's k-means, begun at the means of given classes; an empty class, and a cluster that loses its rows, is put at the row farthest from the other centres.</summary>
    /// <param name="rows">[N, d].</param>
    /// <param name="classes">Where to begin: a class of each row.</param>
    /// <param name="count">The clusters.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <returns>The cluster of each row.</returns>
    public static int[] KMeans(Tensor rows, int[] classes, int count, CancellationToken cancellation)
    {
        int[] assigned = classes;
        for (int iteration = 0; iteration < MaxIterations; iteration++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            int[] next = Predictions.Classes(-rows.PairwiseSquaredDistances(Centres(rows, assigned, count)));
            bool settled = iteration > 0 && next.AsSpan().SequenceEqual(assigned);
            assigned = next;
            if (settled)
                break;
        }
        return assigned;
    }

    /// <summary>The mean silhouette of rows under their classes; -1 where all are of one class.</summary>
    public static double Silhouette(Tensor rows, int[] classes, int count, CancellationToken cancellation)
    {
        var sizes = new int[count];
        foreach (int c in classes)
            sizes[c]++;
        if (sizes.Count(size => size > 0) == 1)
            return -1;
        var members = Members(rows, classes, count);
        double sum = 0;
        for (int start = 0; start < classes.Length; start += Block)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            int length = Math.Min(Block, classes.Length - start);
            double[] distances = LinearProbe.Doubles(rows.Narrow(0, start, length).PairwiseSquaredDistances(rows).Sqrt().MatMul(members)); // to all rows of each class together
            for (int i = 0; i < length; i++)
            {
                int own = classes[start + i];
                if (sizes[own] == 1)
                    continue;
                double inside = distances[i * count + own] / (sizes[own] - 1);
                double outside = Enumerable.Range(0, count).Where(c => c != own && sizes[c] > 0).Min(c => distances[i * count + c] / sizes[c]);
                double greatest = Math.Max(inside, outside);
                sum += greatest > 0 ? (outside - inside) / greatest : 0;
            }
        }
        return sum / classes.Length;
    }

    private static Tensor Members(Tensor rows, int[] classes, int count) => Tensor.From(classes, [classes.Length], rows.Device).OneHot(count, rows.ElementType);

    private static Tensor Centres(Tensor rows, int[] assigned, int count)
    {
        var members = Members(rows, assigned, count);
        var means = members.Transpose().MatMul(rows) / members.Sum([0]).Unsqueeze(1); // NaN of a class without rows, which is not taken
        var present = assigned.ToHashSet();
        if (present.Count == count)
            return means;
        List<Tensor> centres = [.. present.Order().Select(c => means.Narrow(0, c, 1))];
        while (centres.Count < count)
        {
            double[] nearest = LinearProbe.Doubles((-rows.PairwiseSquaredDistances(Tensor.Concat(centres))).Max([1]));
            centres.Add(rows.Narrow(0, Array.IndexOf(nearest, nearest.Min()), 1));
        }
        return Tensor.Concat(centres);
    }
}

/// <summary>What two partitions of the same rows say of each other.</summary>
internal static class MutualInformation
{
    /// <summary>
    /// The adjusted mutual information (I - E) / ((H(a) + H(b)) / 2 - E), E the expectation of I under random partitions of the same sizes; 0 where that denominator is 0.
    /// </summary>
    /// <remarks>Vinh, Epps and Bailey, Information Theoretic Measures for Clusterings Comparison, JMLR 11 (2010), equations 24a and table 2, normalised by the arithmetic mean.</remarks>
    public static double Adjusted(int[] a, int[] b)
    {
        int n = a.Length;
        var pairs = a.Zip(b).CountBy(pair => pair).ToDictionary();
        var first = a.CountBy(value => value).ToDictionary();
        var second = b.CountBy(value => value).ToDictionary();
        double information = pairs.Sum(item => Term(n, item.Value, first[item.Key.First], second[item.Key.Second]));
        double[] logFactorials = new double[n + 1];
        for (int i = 2; i <= n; i++)
            logFactorials[i] = logFactorials[i - 1] + Math.Log(i);
        double expected = first.Values.Sum(rows => second.Values.Sum(columns => Expected(n, rows, columns, logFactorials)));
        double whole = (Entropy(n, first.Values) + Entropy(n, second.Values)) / 2 - expected;
        return Math.Abs(whole) > 1e-12 ? (information - expected) / whole : 0;
    }

    private static double Entropy(int n, IEnumerable<int> counts) => -counts.Sum(count => (double)count / n * Math.Log((double)count / n));

    private static double Term(double n, double both, double rows, double columns) => both / n * Math.Log(n * both / (rows * columns));

    /// <summary>The expectation of a cell's term: its count is hypergeometric.</summary>
    private static double Expected(int n, int rows, int columns, double[] logFactorials)
    {
        double sum = 0;
        for (int both = Math.Max(1, rows + columns - n); both <= Math.Min(rows, columns); both++)
        {
            double logProbability = logFactorials[rows] + logFactorials[columns] + logFactorials[n - rows] + logFactorials[n - columns] - logFactorials[n]
                - logFactorials[both] - logFactorials[rows - both] - logFactorials[columns - both] - logFactorials[n - rows - columns + both];
            sum += Term(n, both, rows, columns) * Math.Exp(logProbability);
        }
        return sum;
    }
}
