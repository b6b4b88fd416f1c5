namespace TransferEngine.Adaptation;

/// <summary>How the squared MMD is estimated from samples.</summary>
public enum MmdEstimator
{
    /// <summary>All pairs, each element with itself too: Gretton et al. 2012, equation 5. Never negative.</summary>
    Biased,

    /// <summary>All pairs but those of an element with itself: Gretton et al. 2012, equation 3 (lemma 6). Zero on average where the distributions are one; may be negative.</summary>
    Unbiased,

    /// <summary>Each element in one pair only: Gretton et al. 2012, lemma 14. Costs O(n) instead of O(n²); needs batches of one size.</summary>
    Linear,

    /// <summary>Each element with the one after it, the last with the first, so each in two pairs: tllib's linear-time estimator. Needs batches of one size.</summary>
    Cyclic,
}

/// <summary>The estimators of a squared MMD, for one kernel, or for the product of the kernels of several layers.</summary>
internal static class KernelStatistic
{
    /// <summary>What one layer gives: a kernel, and the features of both domains.</summary>
    public readonly record struct Layer(SampleKernel Kernel, Tensor Source, Tensor Target);

    public static int MinimumRows(MmdEstimator estimator) => estimator == MmdEstimator.Biased ? 1 : 2;

    public static Tensor Estimate(string name, MmdEstimator estimator, params ReadOnlySpan<Layer> layers)
    {
        int n = layers[0].Source.Shape[0], m = layers[0].Target.Shape[0];
        if (estimator is MmdEstimator.Biased or MmdEstimator.Unbiased)
        {
            Tensor? product = null;
            foreach (var (kernel, source, target) in layers)
            {
                var matrix = kernel.Matrix(Tensor.Concat([source, target]), n);
                product = product is null ? matrix : product * matrix;
            }
            return AllPairs(product!, n, m, estimator == MmdEstimator.Unbiased);
        }
        Check.That(n == m, $"{name}: a linear-time estimator pairs elements one to one; there are {n} of the source and {m} of the target. Use batches of one size, or the unbiased estimator.");
        bool cyclic = estimator == MmdEstimator.Cyclic;
        Tensor? values = null;
        foreach (var (kernel, source, target) in layers)
        {
            var (s1, s2) = Split(source, cyclic);
            var (t1, t2) = Split(target, cyclic);
            var paired = kernel.Paired(Tensor.Concat([s1, t1, s1, s2]), Tensor.Concat([s2, t2, t2, t1]), Tensor.Concat([source, target]), n);
            values = values is null ? paired : values * paired;
        }
        int terms = cyclic ? n : n / 2;
        var signs = Tensor.FromDoubles([1, 1, -1, -1], [4, 1], values!.Device, values.ElementType);
        return (values.Reshape(4, terms) * signs).Sum() / terms;
    }

    /// <summary>The blocks' sums are Bᵀ K B, where B [n + m, 2] says which domain a row is of; from the squares' the diagonal is taken off where it is not wanted.</summary>
    private static Tensor AllPairs(Tensor kernel, double n, double m, bool unbiased)
    {
        int rows = kernel.Shape[0];
        double first = 1 / (n * (unbiased ? n - 1 : n)), second = 1 / (m * (unbiased ? m - 1 : m)), across = -1 / (n * m);
        Tensor Constant(Func<int, double> value, params ReadOnlySpan<int> shape) =>
            Tensor.FromDoubles([.. Enumerable.Range(0, new Shape(shape).Elements).Select(value)], new Shape(shape), kernel.Device, kernel.ElementType);
        var domains = Constant(i => i / 2 < n == (i % 2 == 0) ? 1 : 0, rows, 2);
        var total = (domains.Transpose().MatMulInFull(kernel.MatMulInFull(domains)) * Constant(i => i == 0 ? first : i == 3 ? second : across, 2, 2)).Sum();
        if (!unbiased)
            return total;
        var diagonal = kernel.Reshape(-1).Narrow(0, 0, rows, rows + 1);
        return total - (diagonal * Constant(i => i < n ? first : second, rows)).Sum();
    }

    /// <summary>Each element and the one that it is paired with.</summary>
    private static (Tensor, Tensor) Split(Tensor x, bool cyclic)
    {
        int n = x.Shape[0];
        return cyclic ? (x, Tensor.Concat([x.Narrow(0, 1, n - 1), x.Narrow(0, 0, 1)])) : (x.Narrow(0, 0, n / 2, 2), x.Narrow(0, 1, n / 2, 2));
    }
}
