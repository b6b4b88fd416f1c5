using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Views of the same elements, and copies that put them in order.</summary>
public sealed partial class Tensor
{
    /// <summary>This tensor if it is contiguous, otherwise a contiguous copy.</summary>
    public Tensor Contiguous() => IsContiguous ? this : Graph.Record("Contiguous", ContiguousAlias(), [this], [], static (g, _) => [g]);

    /// <summary>A copy with memory of its own, through which a gradient flows back.</summary>
    public Tensor Clone()
    {
        var y = AllocateLike(Shape);
        CopyInto(y);
        return Graph.Record("Clone", y, [this], [], static (g, _) => [g]);
    }

    /// <summary>Gives the elements another shape; a view where this tensor is contiguous.</summary>
    /// <param name="shape">As many elements; one size may be -1, which the others decide.</param>
    /// <exception cref="ShapeException">The number of elements differs.</exception>
    public Tensor Reshape(params ReadOnlySpan<int> shape)
    {
        var to = Infer(shape);
        if (to == Shape)
            return this;
        var source = Contiguous();
        var from = Shape;
        return Graph.Record("Reshape", source.View(to, null, source.Offset), [source], [], (g, _) => [g.Reshape(from.Span)]);
    }

    /// <summary>Reorders the axes; a view.</summary>
    /// <param name="axes">Which axis of this tensor each axis of the result is; each once.</param>
    /// <exception cref="ShapeException">The axes are no permutation.</exception>
    public Tensor Permute(params ReadOnlySpan<int> axes)
    {
        Check.That(axes.Length == Rank, $"Permute: {axes.Length} axes for {Shape}, wanted all {Rank}, each once.");
        var own = Strides;
        int[] sizes = new int[Rank], steps = new int[Rank], inverse = new int[Rank];
        var seen = new bool[Rank];
        for (int i = 0; i < Rank; i++)
        {
            int axis = Shape.Axis(axes[i]);
            Check.That(!seen[axis], $"Permute: axis {axes[i]} of {Shape} appears twice; each axis is wanted once.");
            seen[axis] = true;
            (sizes[i], steps[i], inverse[axis]) = (Shape[axis], own[axis], i);
        }
        return Graph.Record("Permute", Strided(Shape.Owning(sizes), steps, Offset), [this], [], (g, _) => [g.Permute(inverse)]);
    }

    /// <summary>Exchanges two axes; a view.</summary>
    /// <param name="axis0">One axis.</param>
    /// <param name="axis1">The other.</param>
    public Tensor Transpose(int axis0 = -2, int axis1 = -1)
    {
        int[] axes = [.. Enumerable.Range(0, Rank)];
        (axes[Shape.Axis(axis0)], axes[Shape.Axis(axis1)]) = (Shape.Axis(axis1), Shape.Axis(axis0));
        return Permute(axes);
    }

    /// <summary>Repeats axes of size 1 to the sizes of a larger shape; a view.</summary>
    /// <param name="shape">A shape that this one broadcasts to.</param>
    /// <exception cref="ShapeException">It does not broadcast to it.</exception>
    public Tensor Expand(Shape shape)
    {
        Check.That(Shape.Broadcast("Expand", Shape, shape) == shape, $"Expand: {Shape} does not broadcast to {shape}.");
        var from = Shape;
        return shape == Shape ? this : Graph.Record("Expand", Strided(shape, BroadcastStrides(shape), Offset), [this], [], (g, _) => [g.SumTo(from)]);
    }

    /// <summary>Sums over the axes that broadcasting repeated: the gradient of <see cref="Expand"/>.</summary>
    /// <param name="shape">A shape that broadcasts to this tensor's.</param>
    public Tensor SumTo(Shape shape)
    {
        if (shape == Shape)
            return this;
        Check.That(Shape.Broadcast("SumTo", shape, Shape) == Shape, $"SumTo: {shape} does not broadcast to {Shape}.");
        int extra = Rank - shape.Rank;
        var axes = new List<int>();
        for (int axis = 0; axis < Rank; axis++)
        {
            if (axis < extra || (shape[axis - extra] == 1 && Shape[axis] != 1))
                axes.Add(axis);
        }
        return Sum([.. axes], keepDim: true).Reshape(shape.Span);
    }

    /// <summary>A contiguous tensor of the same elements, outside any graph: an alias where this one is contiguous. The caller disposes it.</summary>
    internal Tensor ContiguousAlias()
    {
        if (IsContiguous)
            return Alias();
        var y = AllocateLike(Shape);
        CopyInto(y);
        return y;
    }

    /// <summary>A view that is marked contiguous where its strides are those of a contiguous one.</summary>
    internal Tensor Strided(Shape shape, int[] steps, int offset)
    {
        var dense = shape.ContiguousStrides();
        bool contiguous = true;
        for (int axis = 0; axis < shape.Rank; axis++)
            contiguous &= shape[axis] <= 1 || steps[axis] == dense[axis];
        return View(shape, contiguous ? null : steps, offset);
    }

    private void CopyInto(Tensor y)
    {
        if (IsContiguous)
            Device.Compute.CopyWithin(Slice, y.Slice);
        else if (Elements > 0)
            Movement.CopyStrided(Device.Compute, Shape.Span, Slice, Strides, y.Slice);
    }

    private Shape Infer(ReadOnlySpan<int> sizes)
    {
        int[] result = sizes.ToArray();
        int open = Array.IndexOf(result, -1);
        if (open >= 0)
        {
            int known = 1;
            for (int i = 0; i < result.Length; i++)
                known *= i == open ? 1 : result[i];
            Check.That(known > 0 && Elements % known == 0 && Array.LastIndexOf(result, -1) == open,
                $"Reshape: {Shape} has {Elements:N0} elements, which [{string.Join(", ", result)}] can't hold whatever its -1 is.");
            result[open] = Elements / known;
        }
        var shape = Shape.Owning(result);
        Check.That(shape.Elements == Elements, $"Reshape: {Shape} has {Elements:N0} elements, {shape} has {shape.Elements:N0}.");
        return shape;
    }
}
