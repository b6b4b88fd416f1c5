namespace TransferEngine.Conformance;

internal sealed class ShapingRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        Concat(0, [2, 3], [1, 3]), Concat(1, [2, 3], [2, 1], [2, 4]), Concat(-1, [2, 3, 2], [2, 3, 5]), Concat(0, [0, 3], [2, 3], [0, 3]), Concat(0, [5]), Concat(1, [64, 100], [64, 29]),
        new("Concat", "of views", [[3, 4], [2, 3]], x => Tensor.Concat([x[0].Transpose(), x[1]]), r => NdArray.Build([6, 3], i => i[0] < 4 ? r[0][i[1], i[0]] : r[1][i[0] - 4, i[1]])),
        new("Stack", "first", [[2, 3], [2, 3]], x => Tensor.Stack(x), r => NdArray.Build([2, 2, 3], i => r[i[0]][i[1], i[2]])),
        new("Stack", "last", [[2, 3], [2, 3], [2, 3]], x => Tensor.Stack(x, -1), r => NdArray.Build([2, 3, 3], i => r[i[2]][i[0], i[1]])),
        new("Stack", "scalars", [[], []], x => Tensor.Stack(x), r => NdArray.Build([2], i => r[i[0]].Values[0])),
        new("Narrow", "", [[4, 5, 3]], x => x[0].Narrow(1, 1, 3), r => NdArray.Build([4, 3, 3], i => r[0][i[0], i[1] + 1, i[2]])),
        new("Narrow", "with a step", [[3, 17]], x => x[0].Narrow(-1, -16, 6, 3), r => NdArray.Build([3, 6], i => r[0][i[0], 1 + 3 * i[1]])),
        new("Narrow", "nothing", [[3, 4]], x => x[0].Narrow(0, 3, 0), r => new NdArray(0, 4)),
        new("Narrow", "of a view", [[5, 7]], x => x[0].Transpose().Narrow(0, 2, 3), r => NdArray.Build([3, 5], i => r[0][i[1], i[0] + 2])),
        new("Select", "", [[4, 5]], x => x[0].Select(1, -2), r => NdArray.Build([4], i => r[0][i[0], 3])),
        new("Split", "by sizes", [[6, 3]], x => Weighted(x[0].Split([1, 0, 3, 2])), r => WeightedParts(r[0], 1, 0, 3, 2)),
        new("Split", "by one size", [[7, 3]], x => Weighted(x[0].Split(3)), r => WeightedParts(r[0], 3, 3, 1)),
        new("Chunk", "", [[7, 3]], x => Weighted(x[0].Chunk(4)), r => WeightedParts(r[0], 2, 2, 2, 1)),
        Pad([3, 4], 1.5, 1, 2), Pad([3, 4], -1, 0, 0, 2, 1), Pad([2, 3, 4, 5], 0, 1, 1, 2, 0), Pad([3, 6], 7, -1, -2, 1, 0), Pad([2, 3], 2, -2, 1), Pad([0, 3], 5, 0, 0, 1, 1),
        new("Flip", "one", [[3, 5]], x => x[0].Flip(1), r => NdArray.Build([3, 5], i => r[0][i[0], 4 - i[1]])),
        new("Flip", "two of a view", [[3, 5, 2]], x => x[0].Permute(2, 0, 1).Flip(0, -1), r => NdArray.Build([2, 3, 5], i => r[0][i[1], 4 - i[2], 1 - i[0]])),
        new("Repeat", "", [[2, 3]], x => x[0].Repeat(2, 1, 3), r => NdArray.Build([2, 2, 9], i => r[0][i[1], i[2] % 3])),
        new("Flatten", "", [[2, 3, 4, 5]], x => x[0].Flatten(1), r => new NdArray([2, 60], r[0].Values)),
        new("Flatten", "inner", [[2, 3, 4, 5]], x => x[0].Flatten(1, 2), r => new NdArray([2, 12, 5], r[0].Values)),
        new("Flatten", "scalar", [[]], x => x[0].Flatten(), r => new NdArray([1], r[0].Values)),
        new("Squeeze", "all", [[1, 3, 1, 2]], x => x[0].Squeeze(), r => new NdArray([3, 2], r[0].Values)),
        new("Squeeze", "one of a view", [[3, 1, 2]], x => x[0].Permute(2, 1, 0).Squeeze(1), r => NdArray.Build([2, 3], i => r[0][i[1], 0, i[0]])),
        new("Squeeze", "none", [[3, 2]], x => x[0].Squeeze(0) * 2, r => r[0].Map(v => 2 * v)),
        new("Unsqueeze", "", [[3, 2]], x => x[0].Unsqueeze(1), r => new NdArray([3, 1, 2], r[0].Values)),
        new("Unsqueeze", "last of a view", [[3, 2]], x => x[0].Transpose().Unsqueeze(-1), r => NdArray.Build([2, 3, 1], i => r[0][i[1], i[0]])),
    ];

    private static OperatorRow Concat(int axis, params int[][] shapes) => new("Concat", $"axis {axis}", shapes, x => Tensor.Concat(x, axis), r =>
    {
        int at = axis < 0 ? axis + shapes[0].Length : axis;
        int[] sizes = [.. shapes[0]];
        sizes[at] = shapes.Sum(shape => shape[at]);
        return NdArray.Build(sizes, index =>
        {
            int part = 0;
            int[] inside = [.. index];
            while (inside[at] >= shapes[part][at])
                inside[at] -= shapes[part++][at];
            return r[part][inside];
        });
    });

    private static OperatorRow Pad(int[] shape, double value, params int[] padding)
    {
        int Before(int axis) => shape.Length - 1 - axis is var pair && 2 * pair < padding.Length ? padding[2 * pair] : 0;
        int After(int axis) => shape.Length - 1 - axis is var pair && 2 * pair < padding.Length ? padding[2 * pair + 1] : 0;
        return new OperatorRow("Pad", $"[{string.Join(",", padding)}]", [shape], x => x[0].Pad(padding, value), r =>
            NdArray.Build([.. shape.Select((size, axis) => size + Before(axis) + After(axis))], index =>
            {
                int[] inside = [.. index.Select((i, axis) => i - Before(axis))];
                return inside.Select((i, axis) => i >= 0 && i < shape[axis]).All(there => there) ? r[0][inside] : value;
            }));
    }

    /// <summary>All parts in one tensor, each with another weight, so that a gradient in the wrong part shows.</summary>
    private static Tensor Weighted(Tensor[] parts) => Tensor.Concat([.. parts.Select((part, i) => part * (i + 1))]);

    private static NdArray WeightedParts(NdArray x, params int[] sizes)
    {
        int[] weights = [.. sizes.SelectMany((size, part) => Enumerable.Repeat(part + 1, size))];
        return NdArray.Build(x.Shape, i => x[i] * weights[i[0]]);
    }
}
