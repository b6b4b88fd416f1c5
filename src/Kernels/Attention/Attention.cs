using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>The sizes of <see cref="Outer"/> x <see cref="Inner"/> attentions: queries [L, E], keys [S, E], values [S, V], all at least 1 but E and V; what scores are multiplied by.</summary>
internal readonly record struct AttentionShape(int Outer, int Inner, int L, int S, int E, int V, double Scale)
{
    public int Batch => Outer * Inner;

    /// <summary>The scale rounded to an element's type: kernels of float32 then have no float64 in them.</summary>
    public T ScaleAs<T>() where T : unmanaged => typeof(T) == typeof(float) ? (T)(object)(float)Scale : (T)(object)Scale;
}

/// <summary>Matrices in a slice, by strides in elements over both batch axes and rows, 0 where they are shared; <see cref="Column"/> is 1 for all but masks, and for those 0 or 1.</summary>
internal readonly record struct AttentionOperand(Slice Data, int Outer, int Inner, int Row, int Column);

/// <summary>What attention reads: scores are scale · query keyᵀ + mask.</summary>
internal readonly record struct AttentionInputs(AttentionOperand Query, AttentionOperand Key, AttentionOperand Value, AttentionOperand? Mask);

/// <summary>
/// Attention without its matrix of weights (Dao et al., FlashAttention, NeurIPS 2022): softmax(scores) value is summed over one block of keys after the other, rescaled
/// whenever a larger score comes (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018). What is kept for the gradient is one number a query, the logarithm
/// of its sum of exponentials, from which the weights of a block are computed anew. This is the one place that chooses the variant: blocks of packed panels on the CPU's
/// direct path, tiles in shared memory on GPUs, one work item a row on ILGPU's CPU accelerator.
/// </summary>
internal static class Attention
{
    /// <summary>output [Batch, L, V] = softmax(scores) value; if given, logSums [Batch, L] = log Σ exp(scores).</summary>
    public static void Forward(ComputeDevice device, in AttentionShape shape, in AttentionInputs inputs, Slice output, Slice? logSums)
    {
        if (output.Type == ElementType.Float64)
            Forward<double, Side8>(device, shape, inputs, output, logSums);
        else
            Forward<float, Side16>(device, shape, inputs, output, logSums);
    }

    /// <summary>
    /// The gradients of those inputs whose slices are given, dense: of the value Pᵀ g, of the query scale · D key, of the key scale · Dᵀ query, with the weights P = exp(scores - logSums)
    /// and the derivative by the scores D = P (g valueᵀ - products).
    /// </summary>
    /// <param name="device">Where.</param>
    /// <param name="shape">The sizes.</param>
    /// <param name="inputs">What forward read.</param>
    /// <param name="gradient">Of the output, g.</param>
    /// <param name="logSums">What forward left.</param>
    /// <param name="products">What <see cref="RowProducts"/> made of the output and its gradient.</param>
    /// <param name="query">[Batch, L, E], or null.</param>
    /// <param name="key">[Batch, S, E], or null.</param>
    /// <param name="value">[Batch, S, V], or null.</param>
    public static void Backward(
        ComputeDevice device, in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice? query, Slice? key, Slice? value)
    {
        if (logSums.Type == ElementType.Float64)
            Backward<double, Side8>(device, shape, inputs, gradient, logSums, products, query, key, value);
        else
            Backward<float, Side16>(device, shape, inputs, gradient, logSums, products, query, key, value);
    }

    /// <summary>products [Batch, L] = Σ over a row of output [Batch, L, V] times its gradient.</summary>
    public static void RowProducts(ComputeDevice device, in AttentionShape shape, Slice output, in AttentionOperand gradient, Slice products)
    {
        if (output.Type == ElementType.Float64)
            RowProducts<double>(device, shape, output, gradient, products);
        else
            RowProducts<float>(device, shape, output, gradient, products);
    }

    private static void Forward<T, S>(ComputeDevice device, in AttentionShape shape, in AttentionInputs inputs, Slice output, Slice? logSums)
        where T : unmanaged where S : unmanaged, IGroupSide
    {
        var arguments = new AttentionArguments<T>(shape, inputs, output, logSums);
        if (device.IsDirect)
            DirectAttention.Run(device, arguments);
        else if (device.IsEmulated)
            device.Launch<T, PlainAttention<T>>(shape.Batch * shape.L, new(arguments));
        else
            device.LaunchGroups<T, TiledAttention<T, S>>(new(TiledAttention<T, S>.Groups(arguments), S.Side * S.Side), new(arguments));
    }

    private static void Backward<T, S>(
        ComputeDevice device, in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice? query, Slice? key, Slice? value)
        where T : unmanaged where S : unmanaged, IGroupSide
    {
        if (device.IsDirect)
        {
            DirectAttentionGradient.Run(device, new AttentionArguments<T>(shape, inputs, products, logSums), new(gradient), query, key, value);
            return;
        }
        if (query is { } dq)
            Launch<T, S>(device, AttentionGradientArguments<T>.OfQuery(shape, inputs, gradient, logSums, products, dq));
        if (key is { } dk)
            Launch<T, S>(device, AttentionGradientArguments<T>.OfKey(shape, inputs, gradient, logSums, products, dk));
        if (value is { } dv)
            Launch<T, S>(device, AttentionGradientArguments<T>.OfValue(shape, inputs, gradient, logSums, products, dv));
    }

    private static void Launch<T, S>(ComputeDevice device, in AttentionGradientArguments<T> arguments) where T : unmanaged where S : unmanaged, IGroupSide
    {
        if (device.IsEmulated)
            device.Launch<T, PlainAttentionGradient<T>>(arguments.Batch * arguments.RowCount, new(arguments));
        else
            device.LaunchGroups<T, TiledAttentionGradient<T, S>>(new(TiledAttentionGradient<T, S>.Groups(arguments), S.Side * S.Side), new(arguments));
    }

    private static void RowProducts<T>(ComputeDevice device, in AttentionShape shape, Slice output, in AttentionOperand gradient, Slice products) where T : unmanaged
    {
        int rows = shape.Batch * shape.L, chunk = device.IsDirect ? Math.Max(1, 8192 / Math.Max(1, shape.V)) : 1;
        device.Launch<T, RowProductsKernel<T>>((rows + chunk - 1) / chunk, new(output.View<T>(), new(gradient), products.View<T>(), shape.Inner, shape.L, shape.V, chunk, rows));
    }
}

/// <summary>An operand as a kernel's argument.</summary>
internal readonly struct AttentionRows<T>(in AttentionOperand operand) where T : unmanaged
{
    public readonly ArrayView<T> Data = operand.Data.View<T>();
    public readonly int Outer = operand.Outer, Inner = operand.Inner, Row = operand.Row, Column = operand.Column;

    /// <summary>Where a matrix begins, of so many along the inner batch axis.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Start(int batch, int inner)
    {
        int outer = batch / inner;
        return outer * Outer + (batch - outer * inner) * Inner;
    }

    /// <summary>The address of a row; only on the CPU's direct path.</summary>
    public unsafe T* Pointer(int batch, int inner, int row)
    {
        var data = Data;
        return (T*)Unsafe.AsPointer(ref Direct.At(ref data, Start(batch, inner) + row * Row));
    }
}

/// <summary>All that the forward kernels take; flags: 1 with a mask, 2 with <see cref="LogSums"/>.</summary>
internal readonly struct AttentionArguments<T>(in AttentionShape shape, in AttentionInputs inputs, Slice output, Slice? logSums) where T : unmanaged
{
    public readonly AttentionRows<T> Query = new(inputs.Query), Key = new(inputs.Key), Value = new(inputs.Value), Mask = new(inputs.Mask ?? inputs.Query);
    public readonly ArrayView<T> Output = output.View<T>(), LogSums = (logSums ?? output).View<T>();
    public readonly int Batch = shape.Batch, Inner = shape.Inner, L = shape.L, S = shape.S, E = shape.E, V = shape.V, Flags = (inputs.Mask is null ? 0 : 1) + (logSums is null ? 0 : 2);
    public readonly T Scale = shape.ScaleAs<T>();
}

/// <summary>One work item: <c>chunk</c> rows of products.</summary>
internal readonly struct RowProductsKernel<T>(ArrayView<T> output, AttentionRows<T> gradient, ArrayView<T> products, int inner, int rowsOfBatch, int width, int chunk, int rows) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (values, incoming, destination) = (output, gradient.Data, products);
        for (int row = item * chunk; row < Math.Min(item * chunk + chunk, rows); row++)
        {
            int batch = row / rowsOfBatch, at = gradient.Start(batch, inner) + (row - batch * rowsOfBatch) * gradient.Row;
            L zero = L.Constant(0), sum = zero;
            for (int j = 0; j < width; j += L.Width)
                sum = L.MultiplyAdd(L.Load(values, row * width + j, width - j, zero), L.Load(incoming, at + j, width - j, zero), sum);
            L.At(destination, row) = L.Sum(sum);
        }
    }
}
