using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Adds, element by element; shapes broadcast.</summary>
    /// <param name="a">Any shape.</param>
    /// <param name="b">A shape that broadcasts with a's, of the same type and device.</param>
    public static Tensor operator +(Tensor a, Tensor b) => Binary("Add", default(Add), a, b, [],
        static (g, c, sa, sb) => [c.Needs(0) ? g.SumTo(sa) : null, c.Needs(1) ? g.SumTo(sb) : null]);

    /// <summary>Subtracts, element by element; shapes broadcast.</summary>
    /// <inheritdoc cref="operator +(Tensor, Tensor)"/>
    public static Tensor operator -(Tensor a, Tensor b) => Binary("Subtract", default(Subtract), a, b, [],
        static (g, c, sa, sb) => [c.Needs(0) ? g.SumTo(sa) : null, c.Needs(1) ? (-g).SumTo(sb) : null]);

    /// <summary>Multiplies, element by element; shapes broadcast.</summary>
    /// <inheritdoc cref="operator +(Tensor, Tensor)"/>
    public static Tensor operator *(Tensor a, Tensor b) => Binary("Multiply", default(Multiply), a, b, [a, b],
        static (g, c, sa, sb) => [c.Needs(0) ? (g * c[1]).SumTo(sa) : null, c.Needs(1) ? (g * c[0]).SumTo(sb) : null]);

    /// <summary>Divides, element by element; shapes broadcast. Division by zero gives infinity or NaN, as IEEE 754.</summary>
    /// <inheritdoc cref="operator +(Tensor, Tensor)"/>
    public static Tensor operator /(Tensor a, Tensor b) => Binary("Divide", default(Divide), a, b, [a, b],
        static (g, c, sa, sb) => [c.Needs(0) ? (g / c[1]).SumTo(sa) : null, c.Needs(1) ? (-(g * c[0]) / (c[1] * c[1])).SumTo(sb) : null]);

    /// <summary>Changes the sign.</summary>
    /// <param name="x">Any shape.</param>
    public static Tensor operator -(Tensor x) => x.Scaled("Negate", -1, 0);

    /// <summary>Adds a number to each element.</summary>
    /// <param name="x">Any shape.</param>
    /// <param name="y">The number, rounded to the tensor's type.</param>
    public static Tensor operator +(Tensor x, double y) => x.Scaled("Add", 1, y);

    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator +(double y, Tensor x) => x.Scaled("Add", 1, y);

    /// <summary>Subtracts a number from each element.</summary>
    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator -(Tensor x, double y) => x.Scaled("Subtract", 1, -y);

    /// <summary>Subtracts each element from a number.</summary>
    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator -(double y, Tensor x) => x.Scaled("Subtract", -1, y);

    /// <summary>Multiplies each element by a number.</summary>
    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator *(Tensor x, double y) => x.Scaled("Multiply", y, 0);

    /// <inheritdoc cref="operator *(Tensor, double)"/>
    public static Tensor operator *(double y, Tensor x) => x.Scaled("Multiply", y, 0);

    /// <summary>Divides each element by a number.</summary>
    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator /(Tensor x, double y) => x.Scaled("Divide", 1 / y, 0);

    /// <summary>Divides a number by each element.</summary>
    /// <inheritdoc cref="operator +(Tensor, double)"/>
    public static Tensor operator /(double y, Tensor x) => x.Unary("Divide", new Reciprocal(y), (g, input) => -g * y / (input * input), savesOutput: false);

    /// <summary>x * scale + shift in one kernel, whose gradient is scaled alike.</summary>
    private Tensor Scaled(string operation, double scale, double shift)
    {
        Check.Floating(operation, this);
        var y = AllocateLike(Shape);
        using (var x = new Dense(this))
            Elementwise.Map(Device.Compute, new Affine(scale, shift), x.Slice, y.Slice);
        return Graph.Record(operation, y, [this], [], (g, _) => [scale == 1 ? g : g.Scaled(operation, scale, 0)]);
    }
}
