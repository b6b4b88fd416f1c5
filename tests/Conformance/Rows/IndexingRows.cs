namespace TransferEngine.Conformance;

internal sealed class IndexingRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        Gather([5], [9], 0), Gather([4, 6], [4, 2], 1), Gather([4, 6], [3, 6], 0), Gather([3, 5, 4], [2, 7, 3], 1), Gather([3, 5], [3, 0], 1), Gather([64, 100], [64, 1], 1),
        Indexed(new("Gather", "of a view", [[6, 4], [4, 2]], x => x[0].Transpose().Gather(1, x[1]), r => NdArray.Build([4, 2], i => r[0][(int)r[1][i], i[0]])), 6),
        ScatterAdd([5], [9], 0), ScatterAdd([4, 6], [4, 3], 1), ScatterAdd([4, 6], [7, 6], 0), ScatterAdd([2, 3, 4], [2, 9, 4], 1), ScatterAdd([3, 5], [3, 0], 1),
        IndexSelect([5], 0, 9), IndexSelect([4, 6], 0, 3), IndexSelect([4, 6], -1, 17), IndexSelect([2, 3, 4], 1, 5), IndexSelect([3, 4], 0, 0), IndexSelect([100, 64], 0, 40),
        IndexAdd([5], 0, 9), IndexAdd([4, 6], 0, 3), IndexAdd([2, 3, 4], 1, 5), IndexAdd([3, 4], 1, 0),
        Indexed(new("Embedding", "", [[7, 5], [2, 3]], x => x[0].Embedding(x[1]), r => NdArray.Build([2, 3, 5], i => r[0][(int)r[1][i[0], i[1]], i[2]])), 7),
        Indexed(new("Embedding", "one", [[7, 5], []], x => x[0].Embedding(x[1]), r => NdArray.Build([5], i => r[0][(int)r[1].Values[0], i[0]])), 7),
        new("OneHot", "", [[2, 3]], x => x[0].OneHot(4), r => NdArray.Build([2, 3, 4], i => (int)r[0][i[0], i[1]] == i[2] ? 1 : 0)) { Integers = [0], Range = (0, 4), Differentiable = false },
    ];

    private static OperatorRow Gather(int[] shape, int[] index, int axis) => Indexed(
        new("Gather", $"axis {axis}", [shape, index], x => x[0].Gather(axis, x[1]), r => NdArray.Build(index, i => r[0][Moved(i, axis, (int)r[1][i])])), shape[axis]);

    private static OperatorRow ScatterAdd(int[] shape, int[] index, int axis) => Indexed(
        new("ScatterAdd", $"axis {axis}", [shape, index, index], x => x[0].ScatterAdd(axis, x[1], x[2]), r =>
        {
            var y = r[0].Map(v => v);
            foreach (var i in NdArray.Indices(index))
                y[Moved(i, axis, (int)r[1][i])] += r[2][i];
            return y;
        }), shape[axis]);

    private static OperatorRow IndexSelect(int[] shape, int axis, int count)
    {
        int at = axis < 0 ? axis + shape.Length : axis;
        return Indexed(new("IndexSelect", $"axis {axis}", [shape, [count]], x => x[0].IndexSelect(axis, x[1]), r =>
            NdArray.Build(Moved(shape, at, count), i => r[0][Moved(i, at, (int)r[1][i[at]])])), shape[at]);
    }

    private static OperatorRow IndexAdd(int[] shape, int axis, int count) => Indexed(
        new("IndexAdd", $"axis {axis}", [shape, [count], Moved(shape, axis, count)], x => x[0].IndexAdd(axis, x[1], x[2]), r =>
        {
            var y = r[0].Map(v => v);
            foreach (var i in NdArray.Indices(r[2].Shape))
                y[Moved(i, axis, (int)r[1][i[axis]])] += r[2][i];
            return y;
        }), shape[axis]);

    /// <summary>Makes the second input positions on an axis of the given size.</summary>
    private static OperatorRow Indexed(OperatorRow row, int size) => row with { Integers = [1], Domain = (value, input) => input == 1 ? (value + 2) / 4 * size : value };

    /// <summary>An index, or a shape, with another number at one axis.</summary>
    private static int[] Moved(int[] index, int axis, int place) => [.. index.Select((i, a) => a == axis ? place : i)];
}
