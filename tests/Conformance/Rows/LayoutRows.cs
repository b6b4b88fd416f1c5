namespace TransferEngine.Conformance;

internal sealed class LayoutRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        new("Reshape", "", [[2, 3, 4]], x => x[0].Reshape(4, -1), r => new NdArray([4, 6], r[0].Values)),
        new("Reshape", "of a view", [[5, 7]], x => x[0].Transpose().Reshape(-1), r => NdArray.Build([35], i => r[0][i[0] % 5, i[0] / 5])),
        new("Permute", "", [[2, 3, 4, 5]], x => x[0].Permute(2, 0, 3, 1), r => NdArray.Build([4, 2, 5, 3], i => r[0][i[1], i[3], i[0], i[2]])),
        new("Permute", "six axes", [[2, 3, 2, 2, 3, 2]], x => x[0].Permute(5, 3, 1, 4, 2, 0), r => NdArray.Build([2, 2, 3, 3, 2, 2], i => r[0][i[5], i[2], i[4], i[1], i[3], i[0]])),
        new("Transpose", "", [[3, 0]], x => x[0].Transpose(), r => new NdArray(0, 3)),
        new("Transpose", "", [[130, 257]], x => x[0].Transpose(), r => NdArray.Build([257, 130], i => r[0][i[1], i[0]])),
        new("Contiguous", "", [[5, 7]], x => x[0].Transpose().Contiguous(), r => NdArray.Build([7, 5], i => r[0][i[1], i[0]])),
        new("Clone", "", [[5, 7]], x => x[0].Transpose().Clone(), r => NdArray.Build([7, 5], i => r[0][i[1], i[0]])),
        new("Expand", "", [[3, 1]], x => x[0].Expand([2, 3, 4]), r => NdArray.Build([2, 3, 4], i => r[0][i[1], 0])),
        new("SumTo", "", [[2, 3, 4]], x => x[0].SumTo([3, 1]), r =>
        {
            var y = new NdArray(3, 1);
            foreach (var i in NdArray.Indices(r[0].Shape))
                y[i[1], 0] += r[0][i];
            return y;
        }),
    ];
}
