using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Comparisons give masks: 1 where they hold and 0 elsewhere, in the operands' own type; with NaN only NotEqual and IsNaN hold. No gradient flows through them.
/// </summary>
public sealed partial class Tensor
{
    /// <summary>Whether each element equals a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor Equal(double other) => Mask("Equal", new With<Equal>(default, other));

    /// <summary>Whether each element equals that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor Equal(Tensor other) => Mask("Equal", default(Equal), this, other);

    /// <summary>Whether each element differs from a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor NotEqual(double other) => Mask("NotEqual", new With<NotEqual>(default, other));

    /// <summary>Whether each element differs from that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor NotEqual(Tensor other) => Mask("NotEqual", default(NotEqual), this, other);

    /// <summary>Whether each element is less than a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor Less(double other) => Mask("Less", new With<Less>(default, other));

    /// <summary>Whether each element is less than that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor Less(Tensor other) => Mask("Less", default(Less), this, other);

    /// <summary>Whether each element is at most a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor LessOrEqual(double other) => Mask("LessOrEqual", new With<LessOrEqual>(default, other));

    /// <summary>Whether each element is at most that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor LessOrEqual(Tensor other) => Mask("LessOrEqual", default(LessOrEqual), this, other);

    /// <summary>Whether each element is greater than a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor Greater(double other) => Mask("Greater", new With<Greater>(default, other));

    /// <summary>Whether each element is greater than that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor Greater(Tensor other) => Mask("Greater", default(Greater), this, other);

    /// <summary>Whether each element is at least a number.</summary>
    /// <param name="other">The number, rounded to the tensor's type.</param>
    /// <returns>A mask of this shape.</returns>
    public Tensor GreaterOrEqual(double other) => Mask("GreaterOrEqual", new With<GreaterOrEqual>(default, other));

    /// <summary>Whether each element is at least that of another tensor; shapes broadcast.</summary>
    /// <param name="other">The other tensor.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor GreaterOrEqual(Tensor other) => Mask("GreaterOrEqual", default(GreaterOrEqual), this, other);

    /// <summary>Whether each element is NaN.</summary>
    /// <returns>A mask of this shape.</returns>
    public Tensor IsNaN() => Mask("IsNaN", default(IsNaN));

    /// <summary>Whether each element is 0; NaN is not.</summary>
    /// <returns>A mask of this shape.</returns>
    public Tensor LogicalNot() => Mask("LogicalNot", new With<Equal>(default, 0));

    /// <summary>Whether each element and that of another tensor are other than 0 (NaN is); shapes broadcast.</summary>
    /// <param name="other">The other mask.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor LogicalAnd(Tensor other) => Mask("LogicalAnd", default(LogicalAnd), this, other);

    /// <summary>Whether each element or that of another tensor is other than 0 (NaN is); shapes broadcast.</summary>
    /// <param name="other">The other mask.</param>
    /// <returns>A mask of the broadcast shape.</returns>
    public Tensor LogicalOr(Tensor other) => Mask("LogicalOr", default(LogicalOr), this, other);

    /// <summary>Takes the larger of two elements, NaN if either is; shapes broadcast.</summary>
    /// <param name="a">One tensor.</param>
    /// <param name="b">The other.</param>
    /// <remarks>Gradient: to the larger one; half to each where they are equal, as PyTorch's.</remarks>
    public static Tensor Maximum(Tensor a, Tensor b) => Binary("Maximum", default(Maximum), a, b, [a, b], static (g, c, sa, sb) =>
        [c.Needs(0) ? (g * Share(c[0], c[1])).SumTo(sa) : null, c.Needs(1) ? (g * Share(c[1], c[0])).SumTo(sb) : null]);

    /// <summary>Takes the smaller of two elements, NaN if either is; shapes broadcast.</summary>
    /// <param name="a">One tensor.</param>
    /// <param name="b">The other.</param>
    /// <remarks>Gradient: to the smaller one; half to each where they are equal, as PyTorch's.</remarks>
    public static Tensor Minimum(Tensor a, Tensor b) => Binary("Minimum", default(Minimum), a, b, [a, b], static (g, c, sa, sb) =>
        [c.Needs(0) ? (g * Share(c[1], c[0])).SumTo(sa) : null, c.Needs(1) ? (g * Share(c[0], c[1])).SumTo(sb) : null]);

    /// <summary>Takes elements of one tensor where a mask is not 0, of the other elsewhere; shapes broadcast.</summary>
    /// <param name="mask">The mask, of the tensors' type.</param>
    /// <param name="then">Taken where the mask is not 0.</param>
    /// <param name="otherwise">Taken where it is 0.</param>
    /// <remarks>Gradient: to the tensor that was taken; none to the mask.</remarks>
    public static Tensor Where(Tensor mask, Tensor then, Tensor otherwise)
    {
        ArgumentNullException.ThrowIfNull(mask);
        ArgumentNullException.ThrowIfNull(then);
        ArgumentNullException.ThrowIfNull(otherwise);
        Check.Alike("Where", mask, then);
        Check.Alike("Where", mask, otherwise);
        var shape = Shape.Broadcast("Where", Shape.Broadcast("Where", mask.Shape, then.Shape), otherwise.Shape);
        var y = then.AllocateLike(shape);
        if (shape.Elements > 0)
        {
            Elementwise.Zip(y.Device.Compute, default(Choose), shape.Span, mask.Slice, mask.BroadcastStrides(shape), then.Slice, then.BroadcastStrides(shape),
                otherwise.Slice, otherwise.BroadcastStrides(shape), y.Slice);
        }
        var (sa, sb) = (then.Shape, otherwise.Shape);
        return Graph.Record("Where", y, [then, otherwise], [mask], (g, c) =>
            [c.Needs(0) ? (g * c[0].NotEqual(0)).SumTo(sa) : null, c.Needs(1) ? (g * c[0].Equal(0)).SumTo(sb) : null]);
    }

    /// <summary>The part of a gradient that the larger of two gets: 1, 0, or half where they are equal.</summary>
    private static Tensor Share(Tensor larger, Tensor smaller) => (larger.Greater(smaller) + larger.GreaterOrEqual(smaller)) * 0.5;

    private Tensor Mask<F>(string operation, F function) where F : struct, IUnary
    {
        Check.Floating(operation, this);
        var y = AllocateLike(Shape);
        using var x = new Dense(this);
        Elementwise.Map(Device.Compute, function, x.Slice, y.Slice);
        return y;
    }

    private static Tensor Mask<F>(string operation, F function, Tensor a, Tensor b) where F : struct, IBinary
    {
        using (new NoGrad())
            return Binary(operation, function, a, b, [], static (_, _, _, _) => [null, null]);
    }
}
