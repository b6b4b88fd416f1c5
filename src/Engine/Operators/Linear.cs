using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Applies an affine map to the last axis: x weightᵀ + bias, in one kernel.</summary>
    /// <param name="weight">[outputs, inputs] for this [..., inputs], as PyTorch stores it.</param>
    /// <param name="bias">[outputs], or null for none.</param>
    /// <returns>[..., outputs].</returns>
    /// <exception cref="ShapeException">The sizes do not fit.</exception>
    /// <remarks>Gradient: of this g weight, of the weight gᵀ x, of the bias g, both summed over all axes but the last; nothing is computed for what needs none. Under <see cref="Autocast"/> in 16 bits, all but the bias.</remarks>
    public Tensor Linear(Tensor weight, Tensor? bias = null)
    {
        ArgumentNullException.ThrowIfNull(weight);
        Check.Alike("Linear", this, weight);
        Check.That(Rank > 0, $"Linear: the input {Shape} is a scalar, wanted [..., inputs].");
        Check.Rank("Linear", "the weight", weight, 2, "[outputs, inputs]");
        Check.That(Shape[-1] == weight.Shape[1], $"Linear: the input {Shape} has {Shape[-1]} features, the weight {weight.Shape} takes {weight.Shape[1]}. Flatten the input, or transpose the weight?");
        if (bias is not null)
        {
            Check.Alike("Linear", this, bias);
            Check.That(bias.Rank == 1 && bias.Shape[0] == weight.Shape[0], $"Linear: the bias {bias.Shape} does not fit the weight {weight.Shape}, wanted [{weight.Shape[0]}].");
        }
        if (Rank == 2)
            return LinearRows(weight, bias);
        return Reshape(RowsOf(Shape), Shape[-1]).LinearRows(weight, bias).Reshape([.. Shape.ToArray()[..^1], weight.Shape[0]]);
    }

    private Tensor LinearRows(Tensor weight, Tensor? bias)
    {
        int rows = Shape[0], inputs = Shape[1], outputs = weight.Shape[0];
        var y = AllocateLike([rows, outputs]);
        if (y.Elements > 0)
        {
            using Operand left = new(this), right = new(weight);
            Matrix a = MatrixOf(left.Tensor), b = MatrixOf(right.Tensor).Transposed;
            if (bias is null)
            {
                Kernels.MatMul.Run(Device.Compute, Sizes(1, rows, outputs, inputs), a, b, y.Slice);
            }
            else
            {
                using var dense = new Dense(bias);
                Kernels.MatMul.Run(Device.Compute, Sizes(1, rows, outputs, inputs), a, b, dense.Slice, y.Slice);
            }
        }
        return bias is null
            ? Graph.Record("Linear", y, [this, weight], [this, weight], static (g, c) =>
                [c.Needs(0) ? g.Product(c[1]) : null, c.Needs(1) ? g.Transpose().Product(c[0]) : null], Autocast.Current)
            : Graph.Record("Linear", y, [this, weight, bias], [this, weight], static (g, c) =>
                [c.Needs(0) ? g.Product(c[1]) : null, c.Needs(1) ? g.Transpose().Product(c[0]) : null, c.Needs(2) ? g.Sum([0]) : null], Autocast.Current);
    }
}
