using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>What all element-wise operators are made by.</summary>
public sealed partial class Tensor
{
    private delegate Tensor?[] BinaryGradient(Tensor gradient, BackwardContext context, Shape a, Shape b);

    /// <summary>
    /// Applies a function whose derivative is known: first-order gradients take its fused kernel, gradients of gradients
    /// <paramref name="composed"/>, which gets the gradient and the saved input or output (as the function's FromOutput says).
    /// </summary>
    private Tensor Unary<F>(string operation, F function, Func<Tensor, Tensor, Tensor> composed, ElementType cast = ElementType.Float32) where F : struct, IDifferentiable
    {
        Check.Floating(operation, this);
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Elementwise.Map(Device.Compute, function, x.Slice, y.Slice);
        return Graph.Record(operation, y, [this], [F.FromOutput ? y : this], (g, c) =>
        {
            var saved = c[0];
            return [c.CreatesGraph ? composed(g, saved) : Fused(new Chain<F>(function), g, saved)];
        }, cast);
    }

    /// <summary>As <see cref="Unary{F}(string, F, Func{Tensor, Tensor, Tensor}, ElementType)"/> for activations of networks, unlike what losses are made of: <see cref="Autocast"/> saves theirs in 16 bits.</summary>
    private Tensor Activated<F>(string operation, F function, Func<Tensor, Tensor, Tensor> composed) where F : struct, IDifferentiable => Unary(operation, function, composed, Autocast.Current);

    /// <summary>Applies a function whose gradient is only written in tensor operators.</summary>
    private Tensor Unary<F>(string operation, F function, Func<Tensor, Tensor, Tensor> composed, bool savesOutput) where F : struct, IUnary
    {
        Check.Floating(operation, this);
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Elementwise.Map(Device.Compute, function, x.Slice, y.Slice);
        return Graph.Record(operation, y, [this], [savesOutput ? y : this], (g, c) => [composed(g, c[0])]);
    }

    /// <summary>Applies a function of two tensors that broadcast.</summary>
    private static Tensor Binary<F>(string operation, F function, Tensor a, Tensor b, ReadOnlySpan<Tensor> saved, BinaryGradient gradient) where F : struct, IBinary
    {
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        Check.Alike(operation, a, b);
        var shape = Shape.Broadcast(operation, a.Shape, b.Shape);
        var y = a.AllocateLike(shape);
        if (a.Shape == b.Shape && a.IsContiguous && b.IsContiguous)
            Elementwise.Zip(a.Device.Compute, function, a.Slice, b.Slice, y.Slice);
        else if (shape.Elements > 0)
            Elementwise.Zip(a.Device.Compute, function, shape.Span, a.Slice, a.BroadcastStrides(shape), b.Slice, b.BroadcastStrides(shape), y.Slice);
        if (!Graph.Needs(a, b))
            return y;
        var (sa, sb) = (a.Shape, b.Shape);
        return Graph.Record(operation, y, [a, b], saved, (g, c) => gradient(g, c, sa, sb));
    }

    /// <summary>One fused kernel over two tensors of the same shape, outside any graph.</summary>
    private static Tensor Fused<F>(F function, Tensor a, Tensor b) where F : struct, IBinary
    {
        using var x = new Dense(a);
        using var y = new Dense(b);
        var result = a.AllocateLike(a.Shape);
        Elementwise.Zip(a.Device.Compute, function, x.Slice, y.Slice, result.Slice);
        return result;
    }

    /// <summary>Strides that walk this tensor through a shape that it broadcasts to: 0 on the axes where one element serves for all.</summary>
    private int[] BroadcastStrides(Shape shape)
    {
        var result = new int[shape.Rank];
        var own = Strides;
        for (int axis = 0; axis < Rank; axis++)
            result[shape.Rank - Rank + axis] = Shape[axis] == 1 ? 0 : own[axis];
        return result;
    }
}
