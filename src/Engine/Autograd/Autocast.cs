using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Computes products in 16 bits on its thread until it is disposed, as PyTorch's autocast: <see cref="Tensor.MatMul(Tensor)"/>, <see cref="Tensor.Linear"/>, the convolutions and
/// the two products of attention round their Float32 operands to Float16 or BFloat16 (to nearest even) and sum in Float32, to a Float32 result, on every device alike. Their
/// gradients round the incoming gradient and the same operands likewise, wherever the backward pass runs. Everything else stays Float32: weights and their gradients, softmax,
/// normalisation, reductions, losses, optimisers. Float64 operands are left alone. Scopes nest; <see cref="ElementType.Float32"/> turns an outer one off.
/// <para>What products and activation functions (ReLU and its like, GELU, SiLU, tanh) save of computed tensors for backward is kept in 16 bits, once for all that save it: about
/// half the memory in networks of such layers. The sigmoid and other functions that losses are made of save Float32.</para>
/// <para>Float16 holds neither large numbers (past 65504) nor gradients below 6e-8: scale the loss by a <see cref="GradScaler"/>. BFloat16 has float32's range and needs none.</para>
/// <para>On the CPU and on OpenCL this saves memory, not time: operands are widened again before the product. On CUDA, where <see cref="Device.AllowTunedMatMul"/> is set, products
/// and convolutions of such operands run on tensor cores of the type. The backward pass of a <see cref="CustomFunction"/> is not under autocast unless it opens a
/// scope of its own.</para>
/// </summary>
/// <example><code>
/// using (new Autocast(ElementType.BFloat16))
///     loss = model.Forward(x).CrossEntropy(y);
/// loss.Backward();
/// </code></example>
public sealed class Autocast : IDisposable
{
    [ThreadStatic]
    private static ElementType current;

    private readonly ElementType outer = current;

    /// <summary>Begins to round.</summary>
    /// <param name="type">BFloat16 or Float16; Float32 for not at all.</param>
    /// <exception cref="ElementTypeException">It is another type.</exception>
    public Autocast(ElementType type = ElementType.BFloat16)
    {
        CheckType(nameof(Autocast), type);
        current = type;
    }

    /// <summary>What products on this thread round their operands to; Float32 outside any scope.</summary>
    public static ElementType Current { get => current; internal set => current = value; }

    /// <summary>Goes back to what was before.</summary>
    public void Dispose() => current = outer;

    internal static void CheckType(string name, ElementType type)
    {
        if (type != ElementType.Float32 && !type.IsNarrow())
            throw new ElementTypeException($"{name}: products are not computed in {type}. Use BFloat16 or Float16, or Float32 for none.");
    }
}
