namespace TransferEngine.Conformance;

internal sealed class AttentionRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        Row("", [4, 3], [5, 3], [5, 2], null), Row("", [1, 1], [1, 1], [1, 1], null), Row("", [2, 4, 3], [2, 5, 3], [2, 5, 6], null),
        Row("heads", [2, 3, 5, 4], [2, 3, 5, 4], [2, 3, 5, 4], null), Row("scaled", [4, 3], [5, 3], [5, 2], 1.5), Row("", [0, 4, 3], [0, 5, 3], [0, 5, 2], null),
        Row("", [2, 4, 3], [2, 5, 3], [2, 5, 6], null) with { Transposed = true },
        Row("masked", [2, 4, 3], [2, 5, 3], [2, 5, 6], null, [4, 5]), Row("masked by batch", [2, 4, 3], [2, 5, 3], [2, 5, 6], 0.3, [2, 1, 5]),
        new("ScaledDotProductAttention", "itself", [[2, 6, 4]], x => x[0].ScaledDotProductAttention(x[0], x[0]), r => Attention(r[0], r[0], r[0], null, 0.5)) { GradientTolerance = 1e-5 },
    ];

    private static OperatorRow Row(string name, int[] query, int[] key, int[] value, double? scale, int[]? mask = null) => new(
        "ScaledDotProductAttention", name, mask is null ? [query, key, value] : [query, key, value, mask],
        x => x[0].ScaledDotProductAttention(x[1], x[2], mask is null ? null : x[3], scale),
        r => Attention(r[0], r[1], r[2], mask is null ? null : r[3], scale ?? 1 / Math.Sqrt(query[^1])));

    private static NdArray Attention(NdArray query, NdArray key, NdArray value, NdArray? mask, double scale)
    {
        int rows = key.Shape[^2], width = query.Shape[^1];
        return NdArray.Build([.. query.Shape[..^1], value.Shape[^1]], at =>
        {
            int[] batch = at[..^2];
            double[] weights = [.. Enumerable.Range(0, rows).Select(row => Math.Exp(
                scale * Enumerable.Range(0, width).Sum(k => query[[.. batch, at[^2], k]] * key[[.. batch, row, k]]) + (mask?.Broadcast([.. batch, at[^2], row]) ?? 0)))];
            return weights.Select((weight, row) => weight * value[[.. batch, row, at[^1]]]).Sum() / weights.Sum();
        });
    }
}
