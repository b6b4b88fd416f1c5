using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Reductions over any axes; over all of them where none are named. NaN passes through all of them.</summary>
public sealed partial class Tensor
{
    /// <summary>Sums over axes; 0 over none.</summary>
    /// <param name="axes">Which axes; all if null or empty.</param>
    /// <param name="keepDim">Keeps the reduced axes with size 1.</param>
    public Tensor Sum(int[]? axes = null, bool keepDim = false)
    {
        var (y, kept) = Reduce("Sum", default(SumOf<Itself>), axes, keepDim);
        var from = Shape;
        return Graph.Record("Sum", y, [this], [], (g, _) => [g.Reshape(kept.Span).Expand(from)]);
    }

    /// <summary>Averages over axes; NaN over none.</summary>
    /// <inheritdoc cref="Sum"/>
    public Tensor Mean(int[]? axes = null, bool keepDim = false) => Sum(axes, keepDim) / ReducedCount(axes);

    /// <summary>Multiplies over axes; 1 over none.</summary>
    /// <inheritdoc cref="Sum"/>
    /// <remarks>Gradient: g times the product of the other elements, with zeros among them too.</remarks>
    public Tensor Prod(int[]? axes = null, bool keepDim = false)
    {
        var (y, kept) = Reduce("Prod", default(ProductOf), axes, keepDim);
        return Graph.Record("Prod", y, [this], [this], (g, c) =>
        {
            // With no zero in a row the gradient is the product over x; with one, only its element has one: the product of the rest.
            var isZero = c[0].Equal(0);
            var x = Where(isZero, isZero, c[0]);
            var product = x.Prod(axes, keepDim: true);
            var zeros = isZero.Sum(axes, keepDim: true);
            return [g.Reshape(kept.Span) * (product / x) * (zeros.Equal(0) + zeros.Equal(1) * isZero)];
        });
    }

    /// <summary>Takes the largest element over axes.</summary>
    /// <inheritdoc cref="Sum"/>
    /// <exception cref="ShapeException">There is nothing to take it of.</exception>
    /// <remarks>Gradient: shared equally among the largest elements, as PyTorch's amax.</remarks>
    public Tensor Max(int[]? axes = null, bool keepDim = false) => Extreme("Max", default(LargestOf<Itself>), axes, keepDim);

    /// <summary>Takes the smallest element over axes.</summary>
    /// <inheritdoc cref="Max"/>
    public Tensor Min(int[]? axes = null, bool keepDim = false) => Extreme("Min", default(SmallestOf), axes, keepDim);

    /// <summary>Finds the largest element along an axis: its position, the first of equal ones; a NaN counts as the largest.</summary>
    /// <param name="axis">The axis; the flattened tensor if null.</param>
    /// <param name="keepDim">Keeps the axis with size 1.</param>
    /// <returns>Int32 positions.</returns>
    /// <exception cref="ShapeException">There is nothing to find it in.</exception>
    public Tensor ArgMax(int? axis = null, bool keepDim = false) => Arg("ArgMax", 1, axis, keepDim);

    /// <summary>Finds the smallest element along an axis: its position, the first of equal ones; a NaN counts as the smallest.</summary>
    /// <inheritdoc cref="ArgMax"/>
    public Tensor ArgMin(int? axis = null, bool keepDim = false) => Arg("ArgMin", -1, axis, keepDim);

    /// <summary>Takes the p-norm over axes, (Σ |x|^p)^(1/p); the largest magnitude for p = infinity.</summary>
    /// <param name="p">The order: positive, or infinity.</param>
    /// <param name="axes">Which axes; all if null or empty.</param>
    /// <param name="keepDim">Keeps the reduced axes with size 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order is not positive.</exception>
    /// <remarks>Gradient: g sign(x) (|x| / y)^(p-1), 0 where the norm is 0.</remarks>
    public Tensor Norm(double p = 2, int[]? axes = null, bool keepDim = false)
    {
        if (!(p > 0))
            throw new ArgumentOutOfRangeException(nameof(p), p, "Norm: the order is positive, or infinity.");
        if (double.IsPositiveInfinity(p))
            return Abs().Max(axes, keepDim);
        var (y, kept) = p switch
        {
            1 => Reduce("Norm", default(SumOf<Magnitude>), axes, keepDim),
            2 => Reduce("Norm", default(SumOf<SquareOf>), axes, keepDim),
            _ => Reduce("Norm", new SumOf<PowerOfMagnitude>(new(p)), axes, keepDim),
        };
        if (p == 2)
            Elementwise.Map(Device.Compute, default(Sqrt), y.Slice, y.Slice);
        else if (p != 1)
            Elementwise.Map(Device.Compute, new Power(1 / p), y.Slice, y.Slice);
        return Graph.Record("Norm", y, [this], [this, y], (g, c) =>
        {
            var x = c[0];
            g = g.Reshape(kept.Span);
            if (p == 1)
                return [g * x.Sign()];
            var norm = c[1].Reshape(kept.Span);
            var isZero = norm.Equal(0);
            var safe = Where(isZero, isZero, norm);
            return [p == 2 ? g * (x / safe) : g * x.Sign() * (x.Abs() / safe).Pow(p - 1)];
        });
    }

    /// <summary>Takes the variance over axes, Σ (x - mean)² / (n - correction).</summary>
    /// <param name="axes">Which axes; all if null or empty.</param>
    /// <param name="correction">1 for the unbiased estimate of a sample, 0 for the variance of the elements themselves.</param>
    /// <param name="keepDim">Keeps the reduced axes with size 1.</param>
    /// <remarks>Computed in two passes. Gradient: 2 g (x - mean) / (n - correction).</remarks>
    public Tensor Var(int[]? axes = null, int correction = 1, bool keepDim = false)
    {
        double count = ReducedCount(axes) - correction;
        Tensor mean, y;
        Shape kept;
        using (new NoGrad())
        {
            mean = Mean(axes, keepDim: true);
            (y, kept) = Reduce("Var", default(SumOf<SquaredDeviation>), axes, keepDim, mean);
            Elementwise.Map(Device.Compute, new Affine(1 / count, 0), y.Slice, y.Slice);
        }
        mean.Dispose();
        return Graph.Record("Var", y, [this], [this], (g, c) => [g.Reshape(kept.Span) * (c[0] - c[0].Mean(axes, keepDim: true)) * (2 / count)]);
    }

    /// <summary>Takes the standard deviation over axes, the root of <see cref="Var"/>.</summary>
    /// <inheritdoc cref="Var"/>
    public Tensor Std(int[]? axes = null, int correction = 1, bool keepDim = false) => Var(axes, correction, keepDim).Sqrt();

    /// <summary>Takes log Σ e^x over axes, without overflow; -infinity over none.</summary>
    /// <inheritdoc cref="Sum"/>
    /// <remarks>Gradient: g times the softmax of x.</remarks>
    public Tensor LogSumExp(int[]? axes = null, bool keepDim = false)
    {
        Tensor largest, y;
        Shape kept;
        using (new NoGrad())
        {
            (largest, kept) = Reduce("LogSumExp", default(LargestOf<Itself>), axes, keepDim);
            using var centre = largest.Reshape(kept.Span);
            (y, _) = Reduce("LogSumExp", default(SumOf<ExpDeviation>), axes, keepDim, centre);
            Elementwise.Zip(Device.Compute, default(LogPlus), y.Slice, largest.Slice, y.Slice);
        }
        largest.Dispose();
        return Graph.Record("LogSumExp", y, [this], [this, y], (g, c) => [g.Reshape(kept.Span) * (c[0] - c[1].Reshape(kept.Span)).Exp()]);
    }

    private Tensor Extreme<R>(string operation, R reduction, int[]? axes, bool keepDim) where R : struct, IReduction
    {
        Check.That(Elements > 0, $"{operation}: {Shape} has no elements to take it of.");
        var (y, kept) = Reduce(operation, reduction, axes, keepDim);
        return Graph.Record(operation, y, [this], [this, y], (g, c) =>
        {
            var mask = c[0].Equal(c[1].Reshape(kept.Span));
            return [mask * (g.Reshape(kept.Span) / mask.Sum(axes, keepDim: true))];
        });
    }

    private Tensor Arg(string operation, int sign, int? axis, bool keepDim)
    {
        Check.Floating(operation, this);
        int along = axis is { } given ? Shape.Axis(given) : 0;
        int[] sizes = axis is null ? [Elements] : Shape.ToArray();
        Check.That(sizes[along] > 0, $"{operation}: {Shape} has no elements along axis {axis ?? 0} to find it in.");
        var shape = axis is null
            ? Shape.Owning(keepDim ? [.. Enumerable.Repeat(1, Rank)] : [])
            : keepDim ? Shape.With(along, 1) : Shape.Owning([.. sizes[..along], .. sizes[(along + 1)..]]);
        var y = Allocate(shape, Device, ElementType.Int32);
        using var x = new Dense(this);
        Reduction.Arg(Device.Compute, sign, x.Slice, Product(sizes, 0, along), sizes[along], Product(sizes, along + 1, sizes.Length), y.Slice);
        return y;
    }

    /// <summary>
    /// Reduces, outside any graph. Axes that do not stand side by side are reduced one run after the other, or, where each element is taken with a
    /// centre (of the kept shape), brought side by side by a copy first.
    /// </summary>
    /// <returns>The result, and its shape with the reduced axes kept.</returns>
    private (Tensor Result, Shape Kept) Reduce<R>(string operation, R reduction, int[]? axes, bool keepDim, Tensor? centre = null) where R : struct, IReduction
    {
        Check.Floating(operation, this);
        var reduced = ReducedAxes(axes);
        var kept = Kept(reduced);
        var shape = keepDim ? kept : Without(reduced);
        int first = Array.IndexOf(reduced, true), last = Array.LastIndexOf(reduced, true);
        var y = AllocateLike(shape);
        if (first < 0 || Array.IndexOf(reduced, false, first, last - first) < 0)
        {
            // One run of axes, or none: an axis of size 1 then stands for it.
            int start = Math.Max(first, 0), end = last + 1;
            using var x = new Dense(this);
            using var middle = centre is null ? default : new Dense(centre);
            Reduction.Run(Device.Compute, reduction, x.Slice, Product(Shape.Span, 0, start), Product(Shape.Span, start, end), Product(Shape.Span, end, Rank), y.Slice, centre is null ? null : middle.Slice);
            return (y, kept);
        }
        if (centre is null)
        {
            using var part = ReduceRun(reduction, last, reduced);
            part.ReduceRuns<Merging<R>>(default, reduced, y);
            return (y, kept);
        }
        int[] order = [.. Enumerable.Range(0, Rank).OrderBy(axis => reduced[axis])];
        using (new NoGrad())
        {
            using var view = Permute(order);
            using var x = new Dense(view);
            using var middle = new Dense(centre);
            Reduction.Run(Device.Compute, reduction, x.Slice, y.Elements, y.Elements == 0 ? 0 : Elements / y.Elements, 1, y.Slice, middle.Slice);
        }
        return (y, kept);
    }

    /// <summary>Reduces the runs of axes that are left over, into y.</summary>
    private void ReduceRuns<R>(R reduction, bool[] reduced, Tensor y) where R : struct, IReduction
    {
        int last = Rank - 1;
        while (last >= 0 && (!reduced[last] || Shape[last] == 1))
            last--;
        if (last < 0)
        {
            Device.Compute.CopyWithin(Slice, y.Slice);
            return;
        }
        using var part = ReduceRun(reduction, last, reduced);
        part.ReduceRuns(reduction, reduced, y);
    }

    /// <summary>Reduces the run of axes that ends with the last, keeping them with size 1.</summary>
    private Tensor ReduceRun<R>(R reduction, int last, bool[] reduced) where R : struct, IReduction
    {
        int first = last;
        while (first > 0 && reduced[first - 1])
            first--;
        var sizes = Shape.ToArray();
        Array.Fill(sizes, 1, first, last + 1 - first);
        var part = AllocateLike(Shape.Owning(sizes));
        using var x = new Dense(this);
        Reduction.Run(Device.Compute, reduction, x.Slice, Product(Shape.Span, 0, first), Product(Shape.Span, first, last + 1), Product(Shape.Span, last + 1, Rank), part.Slice);
        return part;
    }

    private bool[] ReducedAxes(int[]? axes)
    {
        var reduced = new bool[Rank];
        foreach (int axis in axes ?? [])
            reduced[Shape.Axis(axis)] = true;
        if (axes is null || axes.Length == 0)
            Array.Fill(reduced, true);
        return reduced;
    }

    /// <summary>This shape with size 1 on the reduced axes.</summary>
    private Shape Kept(bool[] reduced)
    {
        var sizes = Shape.ToArray();
        for (int axis = 0; axis < sizes.Length; axis++)
            sizes[axis] = reduced[axis] ? 1 : sizes[axis];
        return Shape.Owning(sizes);
    }

    /// <summary>This shape without the reduced axes.</summary>
    private Shape Without(bool[] reduced)
    {
        var sizes = new int[Rank - reduced.AsSpan().Count(true)];
        for (int axis = 0, next = 0; axis < Rank; axis++)
        {
            if (!reduced[axis])
                sizes[next++] = Shape[axis];
        }
        return Shape.Owning(sizes);
    }

    /// <summary>The number of elements that become one.</summary>
    private double ReducedCount(int[]? axes)
    {
        var reduced = ReducedAxes(axes);
        double count = 1;
        for (int axis = 0; axis < Rank; axis++)
            count *= reduced[axis] ? Shape[axis] : 1;
        return count;
    }

    private static int Product(ReadOnlySpan<int> sizes, int start, int end)
    {
        int product = 1;
        for (int i = start; i < end; i++)
            product *= sizes[i];
        return product;
    }
}
