namespace TransferEngine.Conformance;

internal sealed class AttentionRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        Row("", [4, 3], [5, 3], [5, 2], null), Row("", [1, 1], [1, 1], [1, 1], null), Row("", [2, 4, 3], [2, 5, 3], [2, 5, 6], null),
        Row("heads", [2, 3, 5, 4], [2, 3, 5, 4], [2, 3, 5, 4], null), Row("scaled", [4, 3], [5, 3], [5, 2], 1.5), Row("", [0, 4, 3], [0, 5, 3], [0, 5, 2], null),
        Row("", [2, 4, 3], [2, 5, 3], [2, 5, 6], null) with { Transposed = true },
        Row("masked", [2, 4, 3], [2, 5, 3], [2, 5, 6], null, [4, 5]), Row("masked by batch", [2, 4, 3], [2, 5, 3], [2, 5, 6], 0.3, [2, 1, 5]),
        Row("masked by head", [2, 3, 5, 4], [2, 3, 5, 4], [2, 3, 5, 4], null, [3, 5, 1]), Row("masked", [3, 2], [4, 2], [4, 3], null, [4]),
        Row("without queries", [2, 0, 3], [2, 4, 3], [2, 4, 2], null), Row("without keys", [2, 3, 4], [2, 0, 4], [2, 0, 2], null), Row("without width", [3, 0], [4, 0], [4, 2], null),
        Row("broadcast", [3, 1, 2, 4], [1, 2, 3, 4], [3, 4], null), Row("broadcast", [2, 1, 2, 1, 3, 2], [1, 2, 1, 2, 4, 2], [2, 2, 2, 2, 4, 3], null, [2, 1, 1, 3, 4]),
        Still("half of it closed", [2, 17, 5], [2, 19, 5], [2, 19, 3], [17, 19], (row, column) => column > row + 2 ? double.NegativeInfinity : 0),
        // Past the tiles of GPUs and the blocks of keys and queries of the CPU, by a number that no size divides.
        Row("large", [2, 70, 20], [2, 150, 20], [2, 150, 70], null) with { GradientTolerance = 1e-5 }, Row("large", [301, 6], [530, 6], [530, 5], null) with { GradientTolerance = 1e-5 },
        Row("large", [530, 3], [270, 3], [270, 2], null, [530, 1]) with { GradientTolerance = 1e-5 }, Row("large", [2, 3, 66, 70], [2, 3, 65, 70], [2, 3, 65, 33], null, [2, 1, 1, 65]) with { GradientTolerance = 1e-5 },
        Still("large, the first blocks closed", [40, 4], [600, 4], [600, 4], [40, 600], (row, column) => column < 520 + row ? double.NegativeInfinity : 0) with { GradientTolerance = 1e-5 },
        new("ScaledDotProductAttention", "itself", [[2, 6, 4]], x => x[0].ScaledDotProductAttention(x[0], x[0]), r => Attention(r[0], r[0], r[0], null, 0.5)) { GradientTolerance = 1e-5 },
    ];

    private static OperatorRow Row(string name, int[] query, int[] key, int[] value, double? scale, int[]? mask = null) => new(
        "ScaledDotProductAttention", name, mask is null ? [query, key, value] : [query, key, value, mask],
        x => x[0].ScaledDotProductAttention(x[1], x[2], mask is null ? null : x[3], scale),
        r => Attention(r[0], r[1], r[2], mask is null ? null : r[3], scale ?? 1 / Math.Sqrt(Math.Max(1, query[^1]))));

    /// <summary>A row whose mask is given, and needs no gradient.</summary>
    private static OperatorRow Still(string name, int[] query, int[] key, int[] value, int[] mask, Func<int, int, double> closed)
    {
        var numbers = NdArray.Build(mask, at => closed(at[0], at[1]));
        return new("ScaledDotProductAttention", name, [query, key, value],
            x => x[0].ScaledDotProductAttention(x[1], x[2], Tensor.FromDoubles(numbers.Values, mask, x[0].Device, x[0].ElementType)),
            r => Attention(r[0], r[1], r[2], numbers, 1 / Math.Sqrt(query[^1])));
    }

    private static NdArray Attention(NdArray query, NdArray key, NdArray value, NdArray? mask, double scale)
    {
        int rows = key.Shape[^2], width = query.Shape[^1], columns = value.Shape[^1];
        int[] batch = [.. new NdArray(query.Shape[..^2]).Zip(new NdArray(key.Shape[..^2]), (_, _) => 0).Zip(new NdArray(value.Shape[..^2]), (_, _) => 0).Shape];
        var result = new NdArray([.. batch, query.Shape[^2], columns]);
        int next = 0;
        foreach (var at in NdArray.Indices([.. batch, query.Shape[^2]]))
        {
            var weights = new double[rows];
            for (int row = 0; row < rows; row++)
            {
                double sum = 0;
                for (int k = 0; k < width; k++)
                    sum += query.Broadcast([.. at, k]) * key.Broadcast([.. at[..^1], row, k]);
                weights[row] = Math.Exp(scale * sum + (mask?.Broadcast([.. at, row]) ?? 0));
            }
            for (int column = 0; column < columns; column++)
                result.Values[next++] = rows == 0 ? 0 : weights.Select((weight, row) => weight * value.Broadcast([.. at[..^1], row, column])).Sum() / weights.Sum();
        }
        return result;
    }
}
