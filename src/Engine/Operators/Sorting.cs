using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Elements in order. NaN counts as the largest, -0 as 0; equal elements keep their order, on every device.</summary>
public sealed partial class Tensor
{
    /// <summary>Sorts along an axis, stably, as PyTorch's sort.</summary>
    /// <param name="axis">The axis.</param>
    /// <param name="descending">Whether the largest come first, NaN before them, rather than the smallest.</param>
    /// <returns>The sorted elements, and Int32 their positions before: <c>Values = x.Gather(axis, Indices)</c>. Both of this shape.</returns>
    /// <exception cref="ShapeException">There is no such axis.</exception>
    /// <remarks>Gradient: that of the values, each to the position that its element comes from. A scalar is sorted as it is.</remarks>
    public (Tensor Values, Tensor Indices) Sort(int axis = -1, bool descending = false)
    {
        Check.Floating("Sort", this);
        int along = Rank == 0 && axis is 0 or -1 ? 0 : Shape.Axis(axis);
        Tensor values = AllocateLike(Shape), indices = Allocate(Shape, Device, ElementType.Int32);
        int[] sizes = Rank == 0 ? [1] : Shape.ToArray();
        using (var x = new Dense(this))
            Sorting.Sort(Device.Compute, new(Product(sizes, 0, along), sizes[along], Product(sizes, along + 1, sizes.Length), descending ? 1 : 0), x.Slice, values.Slice, indices.Slice);
        if (Rank == 0)
            return (Graph.Record("Sort", values, [this], [], static (g, _) => [g]), indices);
        return (Graph.Record("Sort", values, [this], [indices], (g, c) => [Zeros(g.Shape, g.Device, g.ElementType).ScatterAdd(along, c[0], g)]), indices);
    }

    /// <summary>Finds the order that sorts along an axis: the Int32 positions that <see cref="Sort"/> gives.</summary>
    /// <inheritdoc cref="Sort"/>
    /// <returns>Int32, of this shape. There is no gradient.</returns>
    public Tensor ArgSort(int axis = -1, bool descending = false)
    {
        using (new NoGrad())
        {
            var (values, indices) = Sort(axis, descending);
            values.Dispose();
            return indices;
        }
    }

    /// <summary>Takes the largest or the smallest elements along an axis, in order, as PyTorch's topk; of equal elements the first.</summary>
    /// <param name="k">How many: from 0 to the size of the axis.</param>
    /// <param name="axis">The axis.</param>
    /// <param name="largest">Whether the largest, NaN before them, rather than the smallest.</param>
    /// <returns>The elements, and Int32 their positions; of this shape with k places on the axis.</returns>
    /// <exception cref="ShapeException">The axis has fewer places.</exception>
    /// <inheritdoc cref="Sort"/>
    public (Tensor Values, Tensor Indices) TopK(int k, int axis = -1, bool largest = true)
    {
        int size = Shape[Shape.Axis(axis)];
        Check.That(k >= 0 && k <= size, $"TopK: {k} elements were wanted of axis {axis} of {Shape}, which has {size}. Take 0 to {size}.");
        var (values, indices) = Sort(axis, largest);
        return (values.Narrow(axis, 0, k).Contiguous(), indices.Narrow(axis, 0, k).Contiguous());
    }
}
