namespace TransferEngine.Conformance;

internal sealed class SortingRows : RowFamily
{
    // 70 and 300 are more than one tile of the emulator's groups, 2,100 more than two of a GPU's.
    private static readonly (int[] Shape, int Axis)[] Cases =
        [([], -1), ([1], 0), ([7], -1), ([0], 0), ([3, 0], 1), ([0, 4], 1), ([4, 6], 1), ([5, 33], 0), ([2, 9, 4], 1), ([3, 70], 1), ([300], 0), ([2, 150, 3], -2), ([3, 2_100], 1), ([1_100, 5], 0), ([70, 257], 1)];

    public override IEnumerable<OperatorRow> Rows =>
    [
        .. Sort(false), .. Sort(true), .. Cases.Select(c => Arg(c.Shape, c.Axis, false)), .. Cases.Select(c => Arg(c.Shape, c.Axis, true)),
        Top([7], 3, 0, true), Top([4, 6], 6, -1, false), Top([5, 33], 2, 0, true), Top([2, 150, 3], 40, 1, true), Top([4, 6], 0, 1, true), Top([64, 300], 5, 1, true),
    ];

    private static IEnumerable<OperatorRow> Sort(bool descending)
    {
        foreach (var (shape, axis) in Cases)
        {
            yield return new("Sort", Name(axis, descending), [shape], x => x[0].Sort(axis, descending).Values, r => Sorted(r[0], axis, descending, (v, order) => v[order]))
            {
                // Among a thousand numbers some are closer than central differences reach, which then cross the kink where two change places.
                Differentiable = shape.Aggregate(1, (a, b) => a * b) < 1_000,
            };
        }
        yield return new("Sort", $"{Name(1, descending)} of a view", [[6, 5]], x => x[0].Sort(1, descending).Values, r => Sorted(r[0], 1, descending, (v, order) => v[order])) { Transposed = true };
        // Zeros of both signs, infinities and NaN, each more than once.
        yield return new("Sort", $"{Name(1, descending)} of anything", [[3, 90]], x => x[0].Sort(1, descending).Values, r => Sorted(r[0], 1, descending, (v, order) => v[order]))
        {
            Differentiable = false,
            Domain = (value, _) => value > 1.5 ? double.NaN : value > 1.2 ? double.PositiveInfinity : value < -1.5 ? double.NegativeInfinity : Math.Abs(value) < 0.4 ? Math.CopySign(0, value) : value,
        };
    }

    private static OperatorRow Arg(int[] shape, int axis, bool descending) =>
        new("ArgSort", Name(axis, descending), [shape], x => x[0].ArgSort(axis, descending), r => Sorted(r[0], axis, descending, (_, order) => order))
        {
            Differentiable = false,
            // Few values, of which NaN is one, so that what is equal must keep its order.
            Domain = (value, _) => value > 1.6 ? double.NaN : Math.Round(value * 3) * (value < 0 ? -1 : 1),
        };

    private static OperatorRow Top(int[] shape, int k, int axis, bool largest) =>
        new("TopK", $"{k} {Name(axis, largest)}", [shape], x => x[0].TopK(k, axis, largest).Values, r =>
        {
            var all = Sorted(r[0], axis, largest, (v, order) => v[order]);
            int along = axis < 0 ? axis + shape.Length : axis;
            return NdArray.Build([.. shape.Select((size, a) => a == along ? k : size)], i => all[i]);
        });

    private static string Name(int axis, bool descending) => $"axis {axis}{(descending ? " descending" : "")}";

    /// <summary>Orders each line along an axis by a stable sort of the base library, to which NaN is the largest, and takes something of the line at each place.</summary>
    private static NdArray Sorted(NdArray x, int axis, bool descending, Func<double[], int, double> take)
    {
        int along = x.Rank == 0 ? 0 : axis < 0 ? axis + x.Rank : axis, n = x.Rank == 0 ? 1 : x.Shape[along];
        int inner = x.Shape.Skip(along + 1).Aggregate(1, (a, b) => a * b);
        var y = new NdArray(x.Shape);
        for (int line = 0; n > 0 && line < x.Values.Length / n; line++)
        {
            int start = line / inner * n * inner + line % inner;
            double[] v = [.. Enumerable.Range(0, n).Select(j => x.Values[start + j * inner])];
            var rank = Comparer<double>.Create((a, b) => double.IsNaN(a) || double.IsNaN(b) ? double.IsNaN(a).CompareTo(double.IsNaN(b)) : a.CompareTo(b));
            int[] order = [.. descending ? Enumerable.Range(0, n).OrderByDescending(j => v[j], rank) : Enumerable.Range(0, n).OrderBy(j => v[j], rank)];
            for (int j = 0; j < n; j++)
                y.Values[start + j * inner] = take(v, order[j]);
        }
        return y;
    }
}
