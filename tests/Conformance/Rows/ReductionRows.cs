namespace TransferEngine.Conformance;

internal sealed class ReductionRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        Sum([], [], false), Sum([0], [0], false), Sum([7], [0], true), Sum([3, 5], [1], false), Sum([3, 5], [0], true), Sum([2, 3, 4, 5], [0, 2, 3], false),
        Sum([2, 3, 4, 5], [-1, 1], true), Sum([4, 0, 3], [1], false), Sum([130, 257], [0], false), Sum([130, 257], [1], false), Sum([40_001], [0], false),
    ];

    private static OperatorRow Sum(int[] shape, int[] axes, bool keep) => new(
        "Sum", $"over [{string.Join(",", axes)}]{(keep ? " kept" : "")}", [shape], x => x[0].Sum(axes, keep), r => Reduce(r[0], axes, keep, 0, (a, b) => a + b));

    /// <summary>Folds over axes; all if there are none.</summary>
    internal static NdArray Reduce(NdArray x, int[] axes, bool keep, double start, Func<double, double, double> fold)
    {
        bool[] reduced = [.. Enumerable.Range(0, x.Rank).Select(axis => axes.Length == 0 || axes.Contains(axis) || axes.Contains(axis - x.Rank))];
        var y = new NdArray([.. x.Shape.Select((size, axis) => reduced[axis] ? 1 : size)]);
        Array.Fill(y.Values, start);
        foreach (var index in NdArray.Indices(x.Shape))
        {
            int[] at = [.. index.Select((i, axis) => reduced[axis] ? 0 : i)];
            y[at] = fold(y[at], x[index]);
        }
        return keep ? y : new NdArray([.. x.Shape.Where((_, axis) => !reduced[axis])], y.Values);
    }
}
