using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Comparisons give masks: 1 where they hold and 0 elsewhere, in the operands' own type. No gradient flows through them.</summary>
public sealed partial class Tensor
{
    /// <summary>Whether each element is greater than a number.</summary>
    /// <param name="bound">The number, rounded to the tensor's type.</param>
    /// <returns>1 or 0 for each element; 0 for NaN.</returns>
    public Tensor Greater(double bound) => Mask("Greater", new GreaterThan(bound));

    private Tensor Mask<F>(string operation, F function) where F : struct, IUnary
    {
        Check.Floating(operation, this);
        var y = AllocateLike(Shape);
        using var x = new Dense(this);
        Elementwise.Map(Device.Compute, function, x.Slice, y.Slice);
        return y;
    }
}
