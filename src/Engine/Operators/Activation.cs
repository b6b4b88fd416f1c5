using TransferEngine.Kernels;

namespace TransferEngine;

public sealed partial class Tensor
{
    /// <summary>Cuts negative elements to zero: max(x, 0). NaN passes through.</summary>
    /// <returns>The same shape.</returns>
    /// <remarks>Gradient: that of the output where x &gt; 0, otherwise 0; 0 at x = 0, as PyTorch's.</remarks>
    public Tensor Relu() => Unary("Relu", default(Relu), static (g, y) => g * y.Greater(0));
}
