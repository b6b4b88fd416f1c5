namespace TransferEngine.Conformance;

internal sealed class ReductionRows : RowFamily
{
    private static readonly (int[] Shape, int[] Axes, bool Keep)[] Cases =
    [
        ([], [], false), ([7], [0], true), ([3, 5], [1], false), ([3, 5], [0], true), ([2, 3, 4, 5], [0, 2, 3], false), ([2, 3, 4, 5], [-1, 1], true), ([5, 1, 3], [1], false),
        ([2, 3, 2, 3, 2], [0, 2, 4], false), ([130, 257], [0], false), ([130, 257], [1], false), ([40_001], [], false), ([700, 3, 19], [0], true), ([2, 700, 19], [1], false),
    ];

    public override IEnumerable<OperatorRow> Rows =>
    [
        .. Over("Sum", (x, axes, keep) => x.Sum(axes, keep), v => v.Sum()), Row("Sum", [4, 0, 3], [1], false, (x, axes, keep) => x.Sum(axes, keep), v => v.Sum()),
        .. Over("Mean", (x, axes, keep) => x.Mean(axes, keep), v => v.Average()),
        .. Over("Prod", (x, axes, keep) => x.Prod(axes, keep), v => v.Aggregate(1.0, (a, b) => a * b)).Where(row => row.Inputs[0].Aggregate(1, (a, b) => a * b) < 200),
        Row("Prod", [3, 5], [1], false, (x, axes, keep) => x.Prod(axes, keep), v => v.Aggregate(1.0, (a, b) => a * b)) with { Domain = (value, _) => value > 1.2 ? 0 : value, TwiceDifferentiable = false },
        .. Over("Max", (x, axes, keep) => x.Max(axes, keep), v => v.Max()),
        .. Over("Min", (x, axes, keep) => x.Min(axes, keep), v => v.Min()),
        .. Over("Var", (x, axes, keep) => x.Var(axes, 0, keep), v => Variance(v, 0)),
        .. Over("Var", (x, axes, keep) => x.Var(axes, 1, keep), v => Variance(v, 1)).Where(row => row.Case.Contains("[0]") && row.Inputs[0].Length > 0),
        .. Over("Std", (x, axes, keep) => x.Std(axes, 1, keep), v => Math.Sqrt(Variance(v, 1))).Where(row => row.Case.Contains("[0]") && row.Inputs[0].Length > 0),
        .. Over("LogSumExp", (x, axes, keep) => (x * 20).LogSumExp(axes, keep), v => v.Max() * 20 + Math.Log(v.Sum(a => Math.Exp(20 * (a - v.Max()))))),
        .. Over("Norm", (x, axes, keep) => x.Norm(2, axes, keep), v => Math.Sqrt(v.Sum(a => a * a))),
        .. Over("Norm", (x, axes, keep) => x.Norm(1, axes, keep), v => v.Sum(Math.Abs)).Select(Domains.NotAt(0)),
        .. Over("Norm", (x, axes, keep) => x.Norm(3, axes, keep), v => Math.Cbrt(v.Sum(a => Math.Pow(Math.Abs(a), 3)))).Select(Domains.NotAt(0)).Select(row => row with { Tolerance32 = 2e-5 }),
        .. Over("Norm", (x, axes, keep) => x.Norm(double.PositiveInfinity, axes, keep), v => v.Max(Math.Abs)).Select(Domains.NotAt(0)),
        .. Arg("ArgMax", (x, axis, keep) => x.ArgMax(axis, keep), v => v.Max()), .. Arg("ArgMin", (x, axis, keep) => x.ArgMin(axis, keep), v => v.Min()),
    ];

    /// <summary>Folds the elements that reduce to one, all axes if none are named.</summary>
    internal static NdArray Reduce(NdArray x, int[] axes, bool keep, Func<double[], double> fold)
    {
        bool[] reduced = [.. Enumerable.Range(0, x.Rank).Select(axis => axes.Length == 0 || axes.Contains(axis) || axes.Contains(axis - x.Rank))];
        int[] kept = [.. x.Shape.Select((size, axis) => reduced[axis] ? 1 : size)];
        var place = new NdArray(kept);
        for (int i = 0; i < place.Values.Length; i++)
            place.Values[i] = i;
        var groups = Enumerable.Range(0, place.Values.Length).Select(_ => new List<double>()).ToArray();
        foreach (var index in NdArray.Indices(x.Shape))
            groups[(int)place[[.. index.Select((i, axis) => reduced[axis] ? 0 : i)]]].Add(x[index]);
        return new NdArray(keep ? kept : [.. x.Shape.Where((_, axis) => !reduced[axis])], [.. groups.Select(group => fold([.. group]))]);
    }

    private static IEnumerable<OperatorRow> Over(string name, Func<Tensor, int[], bool, Tensor> expression, Func<double[], double> fold) =>
        Cases.Select(c => Row(name, c.Shape, c.Axes, c.Keep, expression, fold));

    private static OperatorRow Row(string name, int[] shape, int[] axes, bool keep, Func<Tensor, int[], bool, Tensor> expression, Func<double[], double> fold) => new(
        name, $"over [{string.Join(",", axes)}]{(keep ? " kept" : "")}", [shape], x => expression(x[0], axes, keep), r => Reduce(r[0], axes, keep, fold));

    private static IEnumerable<OperatorRow> Arg(string name, Func<Tensor, int?, bool, Tensor> expression, Func<double[], double> extreme)
    {
        foreach (var (shape, axis, keep) in new (int[], int?, bool)[] { ([7], null, false), ([3, 5], 1, false), ([3, 5], -2, true), ([130, 57], 0, false), ([3, 40_000], 1, false), ([2, 3], null, true) })
        {
            yield return new(name, $"over {axis?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "all"}", [shape], x => expression(x[0], axis, keep),
                r => Reduce(r[0], axis is { } a ? [a] : [], keep, v => Array.IndexOf(v, extreme(v))))
            {
                Differentiable = false,
                // Few values, so that the extreme occurs more than once.
                Domain = (value, _) => Math.Round(value * 3),
            };
        }
    }

    private static double Variance(double[] v, int correction)
    {
        double mean = v.Average();
        return v.Sum(a => (a - mean) * (a - mean)) / (v.Length - correction);
    }
}
