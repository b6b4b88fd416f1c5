namespace TransferEngine.Conformance;

internal sealed class DistanceRows : RowFamily
{
    private static readonly double[] Bandwidths = [0.5, 2, 8];

    public override IEnumerable<OperatorRow> Rows =>
    [
        Between([3, 4], [5, 4]), Between([1, 1], [1, 1]), Between([0, 3], [2, 3]), Between([17, 5], [33, 5]), Between([70, 40], [30, 40]), Between([3, 0], [2, 0]),
        Between([5, 7], [5, 7]) with { Transposed = true },
        new("PairwiseSquaredDistances", "with itself", [[6, 5]], x => x[0].PairwiseSquaredDistances(x[0]), r => Squared(r[0], r[0])) { Tolerance32 = 8e-6 },
        .. OperatorRow.Unary("GaussianKernel", x => x.GaussianKernel(Widths(x)), d => Bandwidths.Sum(b => Math.Exp(-d / b)), row => row with { Range = (0, 6) }),
        PairSum([7, 3], 3, false), PairSum([7, 3], 3, true), PairSum([2, 5], 1, false), PairSum([4, 2], 4, true), PairSum([40, 20], 25, false), PairSum([60, 64], 30, true),
    ];

    private static OperatorRow Between(int[] x, int[] y) => new(
        "PairwiseSquaredDistances", "", [x, y], t => t[0].PairwiseSquaredDistances(t[1]), r => Squared(r[0], r[1]))
    { Tolerance32 = 8e-6 };

    private static OperatorRow PairSum(int[] shape, int split, bool skip) => new(
        "GaussianPairSum", $"{split}{(skip ? " without its diagonal" : "")}", [shape], x => Tensor.GaussianPairSum(x[0], split, 0.5, -0.25, 0.75, Widths, skip), r =>
        {
            var d = Squared(r[0], r[0]);
            double sum = 0;
            foreach (var i in NdArray.Indices(d.Shape))
            {
                double weight = i[0] < split ? i[1] < split ? 0.5 : -0.25 : i[1] < split ? -0.25 : 0.75;
                sum += skip && i[0] == i[1] ? 0 : weight * Bandwidths.Sum(b => Math.Exp(-d[i] / b));
            }
            return new NdArray([], [sum]);
        })
    { Range = (-1, 1) };

    private static NdArray Squared(NdArray x, NdArray y) => NdArray.Build([x.Shape[0], y.Shape[0]], i =>
    {
        double sum = 0;
        for (int k = 0; k < x.Shape[1]; k++)
            sum += (x[i[0], k] - y[i[1], k]) * (x[i[0], k] - y[i[1], k]);
        return sum;
    });

    private static Tensor Widths(Tensor like) => like.ElementType == ElementType.Float64
        ? Tensor.From(Bandwidths, like.Device)
        : Tensor.From(Array.ConvertAll(Bandwidths, b => (float)b), like.Device);
}
