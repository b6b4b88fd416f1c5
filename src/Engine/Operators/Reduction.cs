using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Sums over axes.</summary>
    /// <param name="axes">Which axes; all if empty.</param>
    /// <param name="keepDim">Keeps the summed axes with size 1.</param>
    public Tensor Sum(int[]? axes = null, bool keepDim = false)
    {
        Check.Floating("Sum", this);
        var reduced = ReducedAxes(axes);
        Tensor result = this;
        var sizes = Shape.ToArray();
        // Runs of adjacent axes, from the last: each is one [outer, n, inner] reduction.
        for (int last = Rank - 1; last >= 0; last--)
        {
            if (!reduced[last])
                continue;
            int first = last;
            while (first > 0 && reduced[first - 1])
                first--;
            int outer = Product(sizes, 0, first), n = Product(sizes, first, last + 1), inner = Product(sizes, last + 1, Rank);
            Array.Fill(sizes, 1, first, last + 1 - first);
            var sum = AllocateLike(Shape.Owning([.. sizes]));
            using (var x = new Dense(result))
                Reduction.Sum(Device.Compute, x.Slice, outer, n, inner, sum.Slice);
            if (!ReferenceEquals(result, this))
                result.Dispose();
            result = sum;
            last = first;
        }
        int[] kept = result.Shape.ToArray();
        var shape = keepDim ? result.Shape : Shape.Owning([.. Enumerable.Range(0, Rank).Where(axis => !reduced[axis]).Select(axis => Shape[axis])]);
        var y = ReferenceEquals(result, this) ? Alias() : result.View(shape, null, 0);
        if (!ReferenceEquals(result, this))
            result.Dispose();
        var from = Shape;
        return Graph.Record("Sum", y, [this], [], (g, _) => [g.Reshape(kept).Expand(from)]);
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

    private static int Product(int[] sizes, int start, int end)
    {
        int product = 1;
        for (int i = start; i < end; i++)
            product *= sizes[i];
        return product;
    }
}
