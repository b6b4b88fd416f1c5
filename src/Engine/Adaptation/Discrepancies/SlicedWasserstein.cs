namespace TransferEngine.Adaptation;

/// <summary>
/// The sliced Wasserstein discrepancy: the mean over random directions θ, uniform on the sphere, of W_p(θ·s, θ·t)^p, the least cost Σ |x - y|^p of
/// transporting the source's projections, of mass 1/n each, to the target's, of mass 1/m. In one dimension the best plan keeps the order, so sorting finds it: O(L N log N)
/// for L directions, nothing iterates.
/// </summary>
/// <remarks>
/// Rabin et al., Wasserstein Barycenter and its Application to Texture Mixing, SSVM 2011; Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, JMIV 51
/// (2015); in adaptation Lee et al., CVPR 2019. Batches may be of two sizes, and the transport is exact then too: the quantile functions are steps, and ∫ |F⁻¹(u) - G⁻¹(u)|^p du
/// over [0, 1] is a sum over the at most n + m - 1 pieces between their steps. Quantiles are not interpolated, which would compare other samples than the given ones.
/// Directions are drawn anew for each call. The gradient goes to each row through the places that it sorts to; it is exact but where projections tie.
/// </remarks>
public sealed class SlicedWasserstein : IDiscrepancy
{
    private readonly int projections, power;
    private readonly bool root;
    private readonly Generator? generator;

    /// <param name="projections">How many directions; 128 as in Lee et al.</param>
    /// <param name="power">p: 1 or 2.</param>
    /// <param name="root">Whether the p-th root of the mean is taken, the distance itself (POT's); its gradient has no limit where the samples are one.</param>
    /// <param name="generator">Where directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public SlicedWasserstein(int projections = 128, int power = 2, bool root = false, Generator? generator = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(projections, 1);
        if (power is not (1 or 2))
            throw new ArgumentOutOfRangeException(nameof(power), power, "SlicedWasserstein: the power is 1 or 2.");
        (this.projections, this.power, this.root, this.generator) = (projections, power, root, generator);
    }

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The shapes do not fit, or a batch is empty.</exception>
    public Tensor Forward(Tensor source, Tensor target)
    {
        Discrepancy.CheckFeatures(nameof(SlicedWasserstein), source, target);
        Tensor directions;
        using (new NoGrad())
        {
            // Drawn in float64, so that both types are projected alike.
            var drawn = Tensor.Normal([projections, source.Shape[1]], generator: generator, device: source.Device, type: ElementType.Float64);
            directions = (drawn / (drawn.Norm(2, [1], keepDim: true) + 1e-30)).To(source.ElementType);
        }
        var value = InOneDimension(directions.MatMulInFull(source.Transpose()), directions.MatMulInFull(target.Transpose()), power).Mean();
        return root && power == 2 ? value.Sqrt() : value;
    }

    /// <summary>W_p^p of each row of [L, n] and its counterpart in [L, m]: [L].</summary>
    internal static Tensor InOneDimension(Tensor source, Tensor target, int power)
    {
        int n = source.Shape[1], m = target.Shape[1];
        Tensor s = source.Sort().Values, t = target.Sort().Values;
        if (n == m)
            return Cost(s - t).Mean([1]);
        var (first, second, lengths) = Pieces(n, m);
        var difference = s.IndexSelect(1, Tensor.From(first, s.Device)) - t.IndexSelect(1, Tensor.From(second, t.Device));
        return (Cost(difference) * Tensor.FromDoubles(lengths, [1, lengths.Length], s.Device, s.ElementType)).Sum([1]);

        Tensor Cost(Tensor x) => power == 1 ? x.Abs() : x.Square();
    }

    /// <summary>The pieces of [0, 1] on which both quantile functions are constant: which element each has there, and the length.</summary>
    private static (int[] First, int[] Second, double[] Lengths) Pieces(int n, int m)
    {
        var pieces = new List<(int First, int Second, double Length)>();
        // In units of 1 / (n m) the first steps at multiples of m, the second at multiples of n.
        for (long at = 0, end = (long)n * m; at < end;)
        {
            int i = (int)(at / m), j = (int)(at / n);
            long next = Math.Min((i + 1L) * m, (j + 1L) * n);
            pieces.Add((i, j, (double)(next - at) / end));
            at = next;
        }
        return ([.. pieces.Select(piece => piece.First)], [.. pieces.Select(piece => piece.Second)], [.. pieces.Select(piece => piece.Length)]);
    }
}
