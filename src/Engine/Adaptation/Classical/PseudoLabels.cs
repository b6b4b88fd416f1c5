namespace TransferEngine.Adaptation;

/// <summary>What methods share that guess the target's classes and use the guesses.</summary>
internal static class PseudoLabels
{
    /// <summary>Fits a space, predicts the target's classes in it, fits anew with them, and so on until no class changes.</summary>
    /// <param name="data">Both domains.</param>
    /// <param name="iterations">The most spaces that are fitted.</param>
    /// <param name="classifier">Predicts.</param>
    /// <param name="fit">Fits, told the space before and the target's classes; both null at first.</param>
    /// <param name="progress">Hears the share of the classes that changed.</param>
    /// <param name="cancellation">Looked at before each.</param>
    public static IAlignedSpace Iterate(DomainFeatures data, int iterations, IFeatureClassifier classifier, Func<IAlignedSpace?, int[]?, IAlignedSpace> fit,
        IProgress<ClassicalProgress>? progress, CancellationToken cancellation)
    {
        int[]? pseudo = null;
        IAlignedSpace? space = null;
        for (int iteration = 1; iteration <= iterations; iteration++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            space = fit(space, pseudo);
            int[] next = classifier.Fit(space.Source(data.Source), data.Labels, data.Classes, null, cancellation).Predict(space.Target(data.Target)).ToArray<int>();
            double changed = Changed(pseudo, next);
            pseudo = next;
            progress?.Report(new(iteration, iterations, changed));
            if (changed == 0)
                break;
        }
        return space!;
    }

    /// <summary>The share of classes that changed; 1 where there were none.</summary>
    public static double Changed(int[]? before, int[] now) => before is null ? 1 : now.Zip(before, (a, b) => a == b ? 0.0 : 1).Average();

    /// <summary>
    /// E of the squared differences of means M = E Eᵀ = ω_0 e_0 e_0ᵀ + ω Σ_c e_c e_cᵀ: e_0 is 1/n on the source's rows and -1/m on the target's, e_c alike for the rows of a class that both domains have.
    /// </summary>
    /// <param name="data">Both domains.</param>
    /// <param name="marginal">ω_0.</param>
    /// <param name="conditional">ω.</param>
    /// <param name="pseudo">The target's classes; without them there is e_0 alone.</param>
    /// <param name="normalize">Whether M is divided by its Frobenius norm.</param>
    /// <returns>[n + m, terms], Float64.</returns>
    public static Tensor MeanDifferences(DomainFeatures data, double marginal, double conditional, int[]? pseudo, bool normalize)
    {
        int[] labels = data.Labels.ToArray<int>();
        int n = labels.Length, m = data.Target.Shape[0];
        var columns = new List<double[]> { Column(marginal, _ => true, _ => true) };
        for (int c = 0; pseudo is not null && conditional > 0 && c < data.Classes; c++)
        {
            if (labels.Contains(c) && pseudo.Contains(c))
                columns.Add(Column(conditional, i => labels[i] == c, j => pseudo[j] == c));
        }
        using var scope = new TensorScope();
        var e = Tensor.Stack([.. columns.Select(column => Tensor.From(column, data.Source.Device))], 1);
        double norm = normalize ? e.Transpose().MatMul(e).Norm().Item() : 1; // ‖E Eᵀ‖ is ‖Eᵀ E‖
        return scope.Keep(e / Math.Sqrt(norm > 0 ? norm : 1));

        double[] Column(double weight, Func<int, bool> isInSource, Func<int, bool> isInTarget)
        {
            int[] source = [.. Enumerable.Range(0, n).Where(isInSource)], target = [.. Enumerable.Range(0, m).Where(isInTarget)];
            var column = new double[n + m];
            foreach (int i in source)
                column[i] = Math.Sqrt(weight) / source.Length;
            foreach (int j in target)
                column[n + j] = -Math.Sqrt(weight) / target.Length;
            return column;
        }
    }
}
