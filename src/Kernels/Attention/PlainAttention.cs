using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>All that the kernels of one gradient take. Rows are those of the result: queries, or keys and values; columns are what is summed over.</summary>
internal readonly struct AttentionGradientArguments<T> where T : unmanaged
{
    /// <summary>What scores are products of.</summary>
    public readonly AttentionRows<T> Rows, Columns;

    /// <summary>What the derivative by the weights is products of: the value and the output's gradient.</summary>
    public readonly AttentionRows<T> RowValues, ColumnValues;

    /// <summary>What is summed, weighted, over the columns.</summary>
    public readonly AttentionRows<T> Factor;

    public readonly AttentionRows<T> Mask;
    public readonly ArrayView<T> LogSums, Products, Result;

    /// <summary>Width is that of the result; flags: 1 with a mask, 2 where rows are queries, 4 where the derivative by the scores is summed with, not the weights.</summary>
    public readonly int Batch, Inner, RowCount, ColumnCount, E, V, Width, Flags;

    public readonly T Scale;

    private AttentionGradientArguments(
        in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice result, in AttentionOperand factor, int width, int flags)
    {
        bool queries = (flags & 2) != 0;
        var mask = inputs.Mask ?? inputs.Query;
        (Rows, Columns) = (new(queries ? inputs.Query : inputs.Key), new(queries ? inputs.Key : inputs.Query));
        (RowValues, ColumnValues) = (new(queries ? gradient : inputs.Value), new(queries ? inputs.Value : gradient));
        (RowCount, ColumnCount) = queries ? (shape.L, shape.S) : (shape.S, shape.L);
        (Factor, Mask) = (new(factor), new(queries ? mask : mask with { Row = mask.Column, Column = mask.Row }));
        (LogSums, Products, Result) = (logSums.View<T>(), products.View<T>(), result.View<T>());
        (Batch, Inner, E, V, Width, Flags, Scale) = (shape.Batch, shape.Inner, shape.E, shape.V, width, flags + (inputs.Mask is null ? 0 : 1), shape.ScaleAs<T>());
    }

    public static AttentionGradientArguments<T> OfQuery(in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice result) =>
        new(shape, inputs, gradient, logSums, products, result, inputs.Key, shape.E, 2 + 4);

    public static AttentionGradientArguments<T> OfKey(in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice result) =>
        new(shape, inputs, gradient, logSums, products, result, inputs.Query, shape.E, 4);

    public static AttentionGradientArguments<T> OfValue(in AttentionShape shape, in AttentionInputs inputs, in AttentionOperand gradient, Slice logSums, Slice products, Slice result) =>
        new(shape, inputs, gradient, logSums, products, result, gradient, shape.V, 0);

    /// <summary>What a pair adds its factor by, from the products of its query and key, and of its value and the output's gradient.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L Weight<L>(int batch, int maskStart, int row, int column, L score, L derivative) where L : unmanaged, ILane<L, T>
    {
        int query = (Flags & 2) != 0 ? batch * RowCount + row : batch * ColumnCount + column;
        var scale = L.Splat(Scale);
        score *= scale;
        if ((Flags & 1) != 0)
            score += L.Splat(L.At(Mask.Data, maskStart + row * Mask.Row + column * Mask.Column));
        var weight = Elementary.ExpOfNegative<L, T>(score - L.Splat(L.At(LogSums, query)));
        return (Flags & 4) != 0 ? weight * (derivative - L.Splat(L.At(Products, query))) * scale : weight;
    }
}

/// <summary>One work item computes one row of the output, and its logarithm of the sum: on any machine, with no memory of its own.</summary>
internal readonly struct PlainAttention<T>(AttentionArguments<T> arguments) : IKernel<T> where T : unmanaged
{
    private readonly AttentionArguments<T> arguments = arguments;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (keys, values, output) = (arguments.Key, arguments.Value, arguments.Output);
        int batch = item / arguments.L, row = item - batch * arguments.L, inner = arguments.Inner, width = arguments.V, to = item * width;
        int query = arguments.Query.Start(batch, inner) + row * arguments.Query.Row, key = keys.Start(batch, inner), mask = arguments.Mask.Start(batch, inner) + row * arguments.Mask.Row;
        L low = L.Constant(double.NegativeInfinity), largest = low, sum = L.Constant(0);
        for (int j = 0; j < arguments.S; j++)
            largest = L.Max(largest, Score<L>(query, key, mask, j));
        var shift = L.IfEqual(largest, low, sum, largest);
        for (int x = 0; x < width; x++)
            L.At(output, to + x) = L.First(sum);
        for (int j = 0; j < arguments.S; j++)
        {
            var weight = Elementary.ExpOfNegative<L, T>(Score<L>(query, key, mask, j) - shift);
            sum += weight;
            int from = values.Start(batch, inner) + j * values.Row;
            for (int x = 0; x < width; x++)
                L.At(output, to + x) = L.First(L.MultiplyAdd(weight, L.Splat(L.At(values.Data, from + x)), L.Splat(L.At(output, to + x))));
        }
        for (int x = 0; x < width; x++)
            L.At(output, to + x) = L.First(L.Splat(L.At(output, to + x)) / sum);
        if ((arguments.Flags & 2) != 0)
            L.At(arguments.LogSums, item) = L.First(shift + Elementary.Log<L, T>(sum));
    }

    private L Score<L>(int query, int key, int mask, int j) where L : unmanaged, ILane<L, T>
    {
        var score = AttentionProducts.Dot<L, T>(arguments.Query.Data, query, arguments.Key.Data, key + j * arguments.Key.Row, arguments.E) * L.Splat(arguments.Scale);
        return (arguments.Flags & 1) != 0 ? score + L.Splat(L.At(arguments.Mask.Data, mask + j * arguments.Mask.Column)) : score;
    }
}

/// <summary>One work item computes one row of a gradient.</summary>
internal readonly struct PlainAttentionGradient<T>(AttentionGradientArguments<T> arguments) : IKernel<T> where T : unmanaged
{
    private readonly AttentionGradientArguments<T> arguments = arguments;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (factor, result) = (arguments.Factor, arguments.Result);
        int batch = item / arguments.RowCount, row = item - batch * arguments.RowCount, inner = arguments.Inner, to = item * arguments.Width, mask = arguments.Mask.Start(batch, inner);
        int own = arguments.Rows.Start(batch, inner) + row * arguments.Rows.Row, ownValue = arguments.RowValues.Start(batch, inner) + row * arguments.RowValues.Row;
        int other = arguments.Columns.Start(batch, inner), otherValue = arguments.ColumnValues.Start(batch, inner), from = factor.Start(batch, inner);
        for (int x = 0; x < arguments.Width; x++)
            L.At(result, to + x) = L.First(L.Constant(0));
        for (int column = 0; column < arguments.ColumnCount; column++)
        {
            var score = AttentionProducts.Dot<L, T>(arguments.Rows.Data, own, arguments.Columns.Data, other + column * arguments.Columns.Row, arguments.E);
            var derivative = AttentionProducts.Dot<L, T>(arguments.RowValues.Data, ownValue, arguments.ColumnValues.Data, otherValue + column * arguments.ColumnValues.Row, arguments.V);
            var weight = arguments.Weight(batch, mask, row, column, score, derivative);
            for (int x = 0; x < arguments.Width; x++)
                L.At(result, to + x) = L.First(L.MultiplyAdd(weight, L.Splat(L.At(factor.Data, from + column * factor.Row + x)), L.Splat(L.At(result, to + x))));
        }
    }
}

internal static class AttentionProducts
{
    /// <summary>The product of two rows, in every place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Dot<L, T>(ArrayView<T> a, int atA, ArrayView<T> b, int atB, int n) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L sum = L.Constant(0);
        for (int k = 0; k < n; k++)
            sum = L.MultiplyAdd(L.Splat(L.At(a, atA + k)), L.Splat(L.At(b, atB + k)), sum);
        return sum;
    }
}
