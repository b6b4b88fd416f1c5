namespace TransferEngine.Conformance;

internal sealed class MatMulRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows
    {
        get
        {
            int[][][] products =
            [
                [[3], [3]], [[3], [3, 5]], [[2, 3], [3]], [[1, 1], [1, 1]], [[3, 4], [4, 5]], [[13, 17], [17, 33]], [[35, 5], [5, 34]], [[0, 3], [3, 2]], [[2, 0], [0, 3]], [[2, 3], [3, 0]],
                [[2, 3, 4], [4, 5]], [[2, 3, 4], [2, 4, 5]], [[3, 4], [2, 4, 5]], [[2, 1, 3, 4], [3, 4, 2]], [[2, 2, 3, 4], [2, 1, 4, 2]], [[4], [2, 4, 3]], [[2, 3, 4], [4]],
                [[0, 3, 4], [4, 5]], [[70, 80], [80, 75]], [[130, 300], [300, 70]],
            ];
            foreach (var pair in products)
                yield return new OperatorRow("MatMul", "", pair, x => x[0].MatMul(x[1]), r => Product(r[0], r[1])) { Tolerance32 = 2e-5 };
            yield return new OperatorRow("MatMul", "", [[3, 4], [4, 5]], x => x[0].MatMul(x[1]), r => Product(r[0], r[1])) { Transposed = true };
            yield return new OperatorRow("MatMul", "", [[2, 3, 4], [2, 4, 5]], x => x[0].MatMul(x[1]), r => Product(r[0], r[1])) { Transposed = true };
            yield return new OperatorRow("MatMul", "with itself", [[4, 4]], x => x[0].MatMul(x[0]), r => Product(r[0], r[0]));
            yield return new OperatorRow("MatMul", "permuted batch", [[3, 2, 4, 5], [2, 3, 5, 2]], x => x[0].Permute(1, 0, 2, 3).MatMul(x[1]),
                r => Product(NdArray.Build([2, 3, 4, 5], i => r[0][i[1], i[0], i[2], i[3]]), r[1]));
            foreach (int[] shape in new int[][] { [5, 3], [3], [2, 4, 3], [0, 3], [1, 3] })
            {
                yield return new OperatorRow("Linear", "", [shape, [4, 3], [4]], x => x[0].Linear(x[1], x[2]), r => Affine(r[0], r[1], r[2]));
                yield return new OperatorRow("Linear", "no bias", [shape, [4, 3]], x => x[0].Linear(x[1]), r => Affine(r[0], r[1], new NdArray(4)));
            }
            yield return new OperatorRow("Linear", "", [[5, 3], [4, 3], [1, 4]], x => x[0].Linear(x[1], x[2].Squeeze(0)), r => Affine(r[0], r[1], new NdArray([4], r[2].Values))) { Transposed = true };
            yield return new OperatorRow("Linear", "", [[40, 130], [37, 130], [37]], x => x[0].Linear(x[1], x[2]), r => Affine(r[0], r[1], r[2])) { Tolerance32 = 2e-5 };
            foreach (int n in new[] { 0, 1, 7, 1000 })
                yield return new OperatorRow("Dot", "", [[n], [n]], x => x[0].Dot(x[1]), r => Product(r[0], r[1])) { Tolerance32 = 2e-5 };
            yield return new OperatorRow("Outer", "", [[3], [5]], x => x[0].Outer(x[1]), r => NdArray.Build([3, 5], i => r[0][i[0]] * r[1][i[1]]));
            yield return new OperatorRow("Outer", "", [[0], [5]], x => x[0].Outer(x[1]), r => new NdArray(0, 5));
        }
    }

    /// <summary>PyTorch's matmul, element by element.</summary>
    private static NdArray Product(NdArray a, NdArray b)
    {
        if (a.Rank == 1)
            return Without(Product(new NdArray([1, a.Shape[0]], a.Values), b), b.Rank == 1 ? 0 : b.Rank - 2);
        if (b.Rank == 1)
            return Without(Product(a, new NdArray([b.Shape[0], 1], b.Values)), a.Rank - 1);
        int ranks = Math.Max(a.Rank, b.Rank) - 2;
        int[] batch = [.. Enumerable.Range(0, ranks).Select(axis => At(a, axis) == 1 ? At(b, axis) : At(a, axis))];
        int inner = a.Shape[^1];
        return NdArray.Build([.. batch, a.Shape[^2], b.Shape[^1]], index =>
        {
            double sum = 0;
            for (int k = 0; k < inner; k++)
                sum += a.Broadcast([.. index[..^1], k]) * b.Broadcast([.. index[..^2], k, index[^1]]);
            return sum;
        });

        int At(NdArray x, int axis) => axis - (ranks - (x.Rank - 2)) is var own && own < 0 ? 1 : x.Shape[own];
    }

    private static NdArray Without(NdArray x, int axis) => new([.. x.Shape.Where((_, i) => i != axis)], x.Values);

    private static NdArray Affine(NdArray x, NdArray weight, NdArray bias) =>
        NdArray.Build([.. x.Shape[..^1], weight.Shape[0]], index =>
            bias[index[^1]] + Enumerable.Range(0, weight.Shape[1]).Sum(k => x[[.. index[..^1], k]] * weight[index[^1], k]));
}
