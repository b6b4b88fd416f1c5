using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Parts of tensors, tensors of parts, and other shapes of the same elements.</summary>
public sealed partial class Tensor
{
    /// <summary>Joins tensors along an axis.</summary>
    /// <param name="tensors">One or more, of one type and device, whose shapes differ at most on the axis.</param>
    /// <param name="axis">The axis.</param>
    /// <exception cref="ShapeException">There are none, or another axis differs.</exception>
    public static Tensor Concat(IReadOnlyList<Tensor> tensors, int axis = 0)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        Check.That(tensors.Count > 0, "Concat: no tensors were given; their shape and device can't be told. Pass at least one.");
        var first = tensors[0];
        Check.That(first.Rank > 0, "Concat: scalars have no axis to join along. Use Stack.");
        axis = first.Shape.Axis(axis);
        int total = 0;
        foreach (var part in tensors)
        {
            Check.SameDevice("Concat", first, part);
            Check.SameType("Concat", first, part);
            Check.That(part.Rank == first.Rank && part.Shape.With(axis, 0) == first.Shape.With(axis, 0),
                $"Concat: {first.Shape} and {part.Shape} differ on another axis than {axis}, the one they are joined along.");
            total = checked(total + part.Shape[axis]);
        }
        var y = first.AllocateLike(first.Shape.With(axis, total));
        int[] strides = y.Strides, starts = new int[tensors.Count];
        for (int i = 0, start = 0; i < tensors.Count; start += tensors[i++].Shape[axis])
        {
            starts[i] = start;
            var part = tensors[i];
            if (part.Elements > 0)
                Movement.Copy(y.Device.Compute, part.Shape.Span, part.Slice, part.Strides, y.Slice with { Offset = start * strides[axis] }, strides);
        }
        Tensor[] inputs = [.. tensors];
        if (!Graph.Needs(inputs))
            return y;
        int[] sizes = Array.ConvertAll(inputs, part => part.Shape[axis]);
        return Graph.Record("Concat", y, inputs, [], (g, c) =>
        {
            var gradients = new Tensor?[sizes.Length];
            for (int i = 0; i < sizes.Length; i++)
                gradients[i] = c.Needs(i) ? g.Narrow(axis, starts[i], sizes[i]) : null;
            return gradients;
        });
    }

    /// <summary>Joins tensors of one shape along a new axis.</summary>
    /// <param name="tensors">One or more, of one shape, type and device.</param>
    /// <param name="axis">Where the new axis stands in the result.</param>
    /// <exception cref="ShapeException">There are none, or their shapes differ.</exception>
    public static Tensor Stack(IReadOnlyList<Tensor> tensors, int axis = 0)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        Check.That(tensors.Count > 0, "Stack: no tensors were given; their shape and device can't be told. Pass at least one.");
        foreach (var part in tensors)
            Check.That(part.Shape == tensors[0].Shape, $"Stack: {tensors[0].Shape} and {part.Shape} differ. Use Concat to join along an axis that is there.");
        return Concat([.. tensors.Select(part => part.Unsqueeze(axis))], axis);
    }

    /// <summary>Takes <paramref name="length"/> places along an axis, from <paramref name="start"/> on, <paramref name="step"/> apart; a view.</summary>
    /// <param name="axis">The axis.</param>
    /// <param name="start">The first place; counted from the end if negative.</param>
    /// <param name="length">How many.</param>
    /// <param name="step">The distance from one to the next, 1 or more.</param>
    /// <exception cref="ShapeException">A place is outside of the axis.</exception>
    public Tensor Narrow(int axis, int start, int length, int step = 1)
    {
        axis = Shape.Axis(axis);
        int size = Shape[axis], first = start < 0 ? start + size : start;
        Check.That(step >= 1, $"Narrow: step {step} is not 1 or more. Flip the axis to walk backwards.");
        Check.That(first >= 0 && length >= 0 && first <= size && (length == 0 || first + (length - 1L) * step < size),
            $"Narrow: {length} places from {start} on, {step} apart, are not all on axis {axis} of {Shape}, which has {size}.");
        var (own, from) = (Strides, Shape);
        int offset = Offset + (length == 0 ? 0 : first * own[axis]);
        own[axis] *= step;
        return Graph.Record("Narrow", Strided(Shape.With(axis, length), own, offset), [this], [], (g, _) => [g.Spread(from, axis, first, step)]);
    }

    /// <summary>Takes one place along an axis, which the result lacks; a view.</summary>
    /// <param name="axis">The axis.</param>
    /// <param name="index">The place; counted from the end if negative.</param>
    /// <exception cref="ShapeException">It is outside of the axis.</exception>
    public Tensor Select(int axis, int index) => Narrow(axis, index, 1).Squeeze(axis);

    /// <summary>Splits along an axis into parts of given sizes; views.</summary>
    /// <param name="sizes">The sizes, which sum to that of the axis.</param>
    /// <param name="axis">The axis.</param>
    /// <exception cref="ShapeException">The sizes sum to something else.</exception>
    public Tensor[] Split(int[] sizes, int axis = 0)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        axis = Shape.Axis(axis);
        long sum = sizes.Sum(size => (long)size);
        Check.That(sum == Shape[axis], $"Split: sizes [{string.Join(", ", sizes)}] sum to {sum}, but axis {axis} of {Shape} has {Shape[axis]}.");
        var parts = new Tensor[sizes.Length];
        for (int i = 0, start = 0; i < sizes.Length; start += sizes[i++])
            parts[i] = Narrow(axis, start, sizes[i]);
        return parts;
    }

    /// <summary>Splits along an axis into parts of one size, the last of which may be smaller; views.</summary>
    /// <param name="size">The size, 1 or more.</param>
    /// <param name="axis">The axis.</param>
    public Tensor[] Split(int size, int axis = 0)
    {
        Check.That(size >= 1, $"Split: parts of size {size} do not cover an axis. Use 1 or more.");
        int total = Shape[axis];
        return Split([.. Enumerable.Range(0, Math.Max(1, (total + size - 1) / size)).Select(i => Math.Min(size, total - i * size))], axis);
    }

    /// <summary>Splits along an axis into at most <paramref name="count"/> parts of one size, the last of which may be smaller, as PyTorch's; views.</summary>
    /// <param name="count">The number of parts, 1 or more.</param>
    /// <param name="axis">The axis.</param>
    public Tensor[] Chunk(int count, int axis = 0)
    {
        Check.That(count >= 1, $"Chunk: {count} parts do not cover an axis. Use 1 or more.");
        return Split(Math.Max(1, (Shape[axis] + count - 1) / count), axis);
    }

    /// <summary>Adds places of a constant before and after the elements; negative numbers cut places off.</summary>
    /// <param name="padding">Pairs (before, after), that of the last axis first, as PyTorch's.</param>
    /// <param name="value">The constant.</param>
    /// <exception cref="ShapeException">There are more pairs than axes, or an axis would be of negative size.</exception>
    public Tensor Pad(int[] padding, double value = 0)
    {
        ArgumentNullException.ThrowIfNull(padding);
        Check.That(padding.Length % 2 == 0 && padding.Length / 2 <= Rank,
            $"Pad: [{string.Join(", ", padding)}] are no pairs (before, after) for the last axes of {Shape}.");
        int[] sizes = Shape.ToArray(), common = Shape.ToArray(), own = Strides;
        int from = Offset;
        for (int i = 0; i < padding.Length / 2; i++)
        {
            int axis = Rank - 1 - i, before = padding[2 * i], after = padding[2 * i + 1];
            long size = (long)sizes[axis] + before + after;
            Check.That(size is >= 0 and <= int.MaxValue, $"Pad: {before} before and {after} after leave axis {axis} of {Shape} with {size} places.");
            sizes[axis] = (int)size;
            common[axis] = (int)Math.Max(0L, (long)common[axis] + Math.Min(before, 0) + Math.Min(after, 0));
            from += -Math.Min(before, 0) * own[axis];
        }
        var y = AllocateLike(Shape.Owning(sizes));
        y.Write(value);
        var steps = y.Strides;
        int to = 0;
        for (int i = 0; i < padding.Length / 2; i++)
            to += Math.Max(padding[2 * i], 0) * steps[Rank - 1 - i];
        if (!common.Contains(0))
            Movement.Copy(Device.Compute, common, Slice with { Offset = from }, own, y.Slice with { Offset = to }, steps);
        return Graph.Record("Pad", y, [this], [], (g, _) => [g.Pad(Array.ConvertAll(padding, p => -p))]);
    }

    /// <summary>Reverses the order along axes.</summary>
    /// <param name="axes">Which.</param>
    public Tensor Flip(params int[] axes)
    {
        ArgumentNullException.ThrowIfNull(axes);
        var own = Strides;
        int from = Offset;
        foreach (int given in axes)
        {
            int axis = Shape.Axis(given);
            Check.That(axes.Count(a => Shape.Axis(a) == axis) == 1, $"Flip: axis {given} of {Shape} appears twice; each axis is wanted once.");
            from += (Shape[axis] - 1) * own[axis];
            own[axis] = -own[axis];
        }
        var y = AllocateLike(Shape);
        if (Elements > 0)
            Movement.CopyStrided(Device.Compute, Shape.Span, Slice with { Offset = from }, own, y.Slice);
        return Graph.Record("Flip", y, [this], [], (g, _) => [g.Flip(axes)]);
    }

    /// <summary>Lays copies side by side along each axis.</summary>
    /// <param name="repeats">How many along each axis; more numbers than axes add axes in front.</param>
    /// <exception cref="ShapeException">There are fewer numbers than axes.</exception>
    public Tensor Repeat(params int[] repeats)
    {
        ArgumentNullException.ThrowIfNull(repeats);
        Check.That(repeats.Length >= Rank && repeats.All(r => r >= 0), $"Repeat: [{string.Join(", ", repeats)}] are no numbers of copies, 0 or more, for each axis of {Shape}.");
        int extra = repeats.Length - Rank;
        int[] apart = new int[2 * repeats.Length], expanded = new int[apart.Length], sizes = new int[repeats.Length];
        for (int i = 0; i < repeats.Length; i++)
        {
            int size = i < extra ? 1 : Shape[i - extra];
            (apart[2 * i], apart[2 * i + 1]) = (1, size);
            (expanded[2 * i], expanded[2 * i + 1]) = (repeats[i], size);
            sizes[i] = repeats[i] * size;
        }
        return Reshape(apart).Expand(expanded).Reshape(sizes);
    }

    /// <summary>Merges adjacent axes into one; a view where this tensor is contiguous.</summary>
    /// <param name="first">The first of them; a scalar becomes [1].</param>
    /// <param name="last">The last of them.</param>
    /// <exception cref="ShapeException">The first comes after the last.</exception>
    public Tensor Flatten(int first = 0, int last = -1)
    {
        if (Rank == 0)
            return Reshape(1);
        (first, last) = (Shape.Axis(first), Shape.Axis(last));
        Check.That(first <= last, $"Flatten: axis {first} comes after axis {last} of {Shape}.");
        int[] sizes = Shape.ToArray();
        return Reshape([.. sizes[..first], Product(sizes, first, last + 1), .. sizes[(last + 1)..]]);
    }

    /// <summary>Drops all axes of size 1; a view.</summary>
    public Tensor Squeeze() => WithShape("Squeeze", [.. Shape.Where(size => size != 1)], [.. Enumerable.Range(0, Rank).Where(axis => Shape[axis] != 1)]);

    /// <summary>Drops an axis if it is of size 1; a view.</summary>
    /// <param name="axis">The axis.</param>
    public Tensor Squeeze(int axis)
    {
        axis = Shape.Axis(axis);
        if (Shape[axis] != 1)
            return this;
        int[] kept = [.. Enumerable.Range(0, Rank).Where(other => other != axis)];
        return WithShape("Squeeze", Array.ConvertAll(kept, other => Shape[other]), kept);
    }

    /// <summary>Adds an axis of size 1; a view.</summary>
    /// <param name="axis">Where it stands in the result.</param>
    public Tensor Unsqueeze(int axis)
    {
        Check.That(axis >= -Rank - 1 && axis <= Rank, $"Unsqueeze: {Shape} with one more axis has axes {-Rank - 1} to {Rank}, not {axis}.");
        var origin = Enumerable.Range(0, Rank).ToList();
        origin.Insert(axis < 0 ? axis + Rank + 1 : axis, -1);
        return WithShape("Unsqueeze", [.. origin.Select(from => from < 0 ? 1 : Shape[from])], [.. origin]);
    }

    /// <summary>A view whose axes are those of this tensor named by <paramref name="origin"/>, or new ones of size 1 where that is -1.</summary>
    private Tensor WithShape(string operation, int[] sizes, int[] origin)
    {
        var (own, from) = (Strides, Shape);
        var steps = Array.ConvertAll(origin, axis => axis < 0 ? 0 : own[axis]);
        return Graph.Record(operation, Strided(Shape.Owning(sizes), steps, Offset), [this], [], (g, _) => [g.Reshape(from.Span)]);
    }

    /// <summary>The gradient of <see cref="Narrow"/>: zeros of a shape, with these elements in their places on the axis.</summary>
    private Tensor Spread(Shape shape, int axis, int start, int step)
    {
        var y = AllocateLike(shape);
        y.Write(0);
        var steps = y.Strides;
        int length = Shape[axis], to = start * steps[axis];
        steps[axis] *= step;
        if (Elements > 0)
            Movement.Copy(Device.Compute, Shape.Span, Slice, Strides, y.Slice with { Offset = to }, steps);
        return Graph.Record("Narrow", y, [this], [], (g, _) => [g.Narrow(axis, start, length, step)]);
    }
}
