using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Elements at positions that an Int32 tensor names. On the CPU a position out of range is an error; on other devices, where a look at the
/// positions would wait for the device, it reads as 0 and is never written. Sums are in the order of the positions, the same on each call.
/// </summary>
public sealed partial class Tensor
{
    /// <summary>Takes elements along an axis: y[.., j, ..] = x[.., index[.., j, ..], ..], as PyTorch's gather.</summary>
    /// <param name="axis">The axis that the positions are on.</param>
    /// <param name="index">Int32, of as many axes; on the others it may be smaller than this tensor.</param>
    /// <returns>The shape of <paramref name="index"/>.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A position is out of range (on the CPU).</exception>
    /// <remarks>Gradient: that of the output, added at the positions.</remarks>
    public Tensor Gather(int axis, Tensor index)
    {
        axis = Shape.Axis(axis);
        CheckIndex("Gather", index, axis);
        Check.That(index.Rank == Rank, $"Gather: index {index.Shape} has {index.Rank} axes, {Shape} has {Rank}; as many are wanted.");
        var source = this;
        for (int other = 0; other < Rank; other++)
        {
            Check.That(other == axis || index.Shape[other] <= Shape[other], $"Gather: index {index.Shape} is larger than {Shape} on axis {other}; only on axis {axis} may it be.");
            if (other != axis && index.Shape[other] < Shape[other])
                source = source.Narrow(other, 0, index.Shape[other]);
        }
        var y = AllocateLike(index.Shape);
        using (var x = new Dense(source))
        using (var places = new Dense(index))
            Kernels.Indexing.Gather(Device.Compute, source.AxisOf(axis, index.Shape[axis]), x.Slice, places.Slice, y.Slice);
        var from = source.Shape;
        return Graph.Record("Gather", y, [source], [index], (g, c) => [Zeros(from, g.Device, g.ElementType).ScatterAdd(axis, c[0], g)]);
    }

    /// <summary>Adds elements along an axis: y = x, then y[.., index[.., j, ..], ..] += source[.., j, ..], as PyTorch's scatter_add.</summary>
    /// <param name="axis">The axis that the positions are on.</param>
    /// <param name="index">Int32; this tensor's shape but for the axis.</param>
    /// <param name="source">What is added; of the index's shape.</param>
    /// <returns>This tensor's shape.</returns>
    /// <inheritdoc cref="Gather"/>
    /// <remarks>Gradient: that of the output, and for the source that at the positions.</remarks>
    public Tensor ScatterAdd(int axis, Tensor index, Tensor source)
    {
        ArgumentNullException.ThrowIfNull(source);
        axis = Shape.Axis(axis);
        Check.Alike("ScatterAdd", this, source);
        CheckIndex("ScatterAdd", index, axis);
        Check.That(index.Shape == source.Shape && index.Rank == Rank && index.Shape.With(axis, 0) == Shape.With(axis, 0),
            $"ScatterAdd: index {index.Shape} and source {source.Shape} must be alike, and like {Shape} but for axis {axis}. Narrow or expand them.");
        var y = AllocateLike(Shape);
        CopyInto(y);
        using (var x = new Dense(source))
        using (var places = new Dense(index))
            Kernels.Indexing.ScatterAdd(Device.Compute, AxisOf(axis, index.Shape[axis]), x.Slice, places.Slice, y.Slice);
        return Graph.Record("ScatterAdd", y, [this, source], [index], (g, c) => [c.Needs(0) ? g : null, c.Needs(1) ? g.Gather(axis, c[0]) : null]);
    }

    /// <summary>Takes whole places of an axis, in any order and number: y[.., j, ..] = x[.., index[j], ..].</summary>
    /// <param name="axis">The axis.</param>
    /// <param name="index">Int32, [count].</param>
    /// <returns>This shape with <c>count</c> places on the axis.</returns>
    /// <inheritdoc cref="Gather"/>
    public Tensor IndexSelect(int axis, Tensor index)
    {
        axis = Shape.Axis(axis);
        CheckIndex("IndexSelect", index, axis);
        Check.Rank("IndexSelect", "index", index, 1, "[count]");
        var y = AllocateLike(Shape.With(axis, index.Elements));
        using (var x = new Dense(this))
        using (var places = new Dense(index))
            Kernels.Indexing.Select(Device.Compute, AxisOf(axis, index.Elements), x.Slice, places.Slice, y.Slice);
        return Graph.Needs(this) ? RecordedSelection(y, axis, Shape, index) : y;
    }

    private Tensor RecordedSelection(Tensor y, int axis, Shape from, Tensor index) =>
        Graph.Record("IndexSelect", y, [this], [index], (g, c) => [Zeros(from, g.Device, g.ElementType).IndexAdd(axis, c[0], g)]);

    /// <summary>Adds whole places of an axis: y = x, then y[.., index[j], ..] += source[.., j, ..], as PyTorch's index_add.</summary>
    /// <param name="axis">The axis.</param>
    /// <param name="index">Int32, [count].</param>
    /// <param name="source">What is added; this shape with <c>count</c> places on the axis.</param>
    /// <returns>This tensor's shape.</returns>
    /// <inheritdoc cref="Gather"/>
    /// <remarks>Gradient: that of the output, and for the source that at the positions.</remarks>
    public Tensor IndexAdd(int axis, Tensor index, Tensor source)
    {
        ArgumentNullException.ThrowIfNull(source);
        axis = Shape.Axis(axis);
        Check.Alike("IndexAdd", this, source);
        CheckIndex("IndexAdd", index, axis);
        Check.Rank("IndexAdd", "index", index, 1, "[count]");
        Check.That(source.Rank == Rank && source.Shape == Shape.With(axis, index.Elements), $"IndexAdd: source {source.Shape} is not {Shape} with {index.Elements} places on axis {axis}, as many as the index has.");
        var y = AllocateLike(Shape);
        CopyInto(y);
        using (var x = new Dense(source))
        using (var places = new Dense(index))
            Kernels.Indexing.SelectAdd(Device.Compute, AxisOf(axis, index.Elements), x.Slice, places.Slice, y.Slice);
        return Graph.Record("IndexAdd", y, [this, source], [index], (g, c) => [c.Needs(0) ? g : null, c.Needs(1) ? g.IndexSelect(axis, c[0]) : null]);
    }

    /// <summary>Looks up rows of this table.</summary>
    /// <param name="index">Int32, any shape: which row for each element.</param>
    /// <returns>The shape of <paramref name="index"/> and after it the width of the table, which is [rows, width].</returns>
    /// <inheritdoc cref="Gather"/>
    public Tensor Embedding(Tensor index)
    {
        ArgumentNullException.ThrowIfNull(index);
        Check.Rank("Embedding", "the table", this, 2, "[rows, width]");
        return IndexSelect(0, index.Reshape(-1)).Reshape([.. index.Shape, Shape[1]]);
    }

    /// <summary>Turns class numbers into rows that are 1 at the class and 0 elsewhere; a number out of range gives zeros.</summary>
    /// <param name="classes">The number of classes.</param>
    /// <param name="type">The type of the result.</param>
    /// <returns>This tensor's shape, and after it the classes. There is no gradient.</returns>
    public Tensor OneHot(int classes, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(classes);
        Check.Integer("OneHot", "the class numbers", this);
        if (type.IsNarrow())
            return OneHot(classes).To(type);
        var y = Allocate(new Shape([.. Shape, classes]), Device, type);
        using var index = new Dense(this);
        Kernels.Indexing.OneHot(Device.Compute, index.Slice, classes, y.Slice);
        return y;
    }

    private IndexedAxis AxisOf(int axis, int count)
    {
        var sizes = Shape.Span;
        return new(Product(sizes, 0, axis), sizes[axis], count, Product(sizes, axis + 1, Rank));
    }

    private void CheckIndex(string operation, Tensor index, int axis)
    {
        ArgumentNullException.ThrowIfNull(index);
        Check.Integer(operation, "the index", index);
        Check.SameDevice(operation, this, index);
        if (!Device.Compute.IsDirect)
            return;
        using var dense = new Dense(index);
        RangeCheck.Run(Device.Compute, dense.Slice, Shape[axis], null, new NoPosition(operation, Shape, axis));
    }

    private readonly record struct NoPosition(string Operation, Shape Shape, int Axis) : IRangeFault
    {
        public Exception Of(int number) =>
            new ArgumentOutOfRangeException("index", number, $"{Operation}: position {number} is not on axis {Axis} of {Shape}, which has 0 to {Shape[Axis] - 1}.");
    }
}
