namespace TransferEngine.Conformance;

internal sealed class NormalizationRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. Batch([4, 3]), .. Batch([5, 2, 1, 2]), .. Batch([3, 2, 5, 7]), .. Batch([2, 3, 33]), .. Batch([4, 5, 24, 24]).Take(1),
        new("BatchNorm", "by running statistics", [[3, 2, 5, 7], [2], [2]], x => x[0].BatchNorm(Tensor.Full([2], 0.3, x[0].Device, x[0].ElementType), Tensor.Full([2], 2, x[0].Device, x[0].ElementType), x[1], x[2]),
            r => NdArray.Build([3, 2, 5, 7], i => (r[0][i] - (double)(float)0.3) / Math.Sqrt(2 + 1e-5) * r[1][i[1]] + r[2][i[1]])) { Tolerance64 = 1e-7, GradientTolerance = 1e-6 },
        Layer([7], 1, true), Layer([3, 5], 1, true), Layer([3, 5], 2, true), Layer([2, 3, 17], 1, true), Layer([130, 33], 1, true), Layer([3, 5], 1, false), Layer([0, 4], 1, true),
        Group([2, 6, 5], 3, true), Group([2, 4, 3, 3], 1, true), Group([2, 4, 3, 3], 4, false), Group([3, 4], 2, true),
    ];

    private static IEnumerable<OperatorRow> Batch(int[] shape)
    {
        int c = shape[1];
        yield return new("BatchNorm", "training", [shape, [c], [c]], x => x[0].BatchNorm(null, null, x[1], x[2], training: true),
            r => Normalized(r[0], i => i[1], r[1], r[2], i => i[1]))
        { Tolerance64 = 1e-9, GradientTolerance = 1e-5 };
        yield return new("BatchNorm", "plain, with running statistics", [shape], x =>
        {
            Tensor mean = Tensor.Zeros([c], x[0].Device, x[0].ElementType), variance = Tensor.Ones([c], x[0].Device, x[0].ElementType);
            return x[0].BatchNorm(mean, variance, training: true);
        }, r => Normalized(r[0], i => i[1], null, null, i => i[1]))
        { Tolerance64 = 1e-9, GradientTolerance = 1e-5 };
    }

    private static OperatorRow Layer(int[] shape, int rank, bool affine)
    {
        int[] last = shape[^rank..];
        int n = last.Aggregate(1, (a, b) => a * b);
        int Place(int[] index) => index[^rank..].Zip(last).Aggregate(0, (at, pair) => at * pair.Second + pair.First);
        return new("LayerNorm", affine ? "" : "plain", affine ? [shape, last, last] : [shape], x => affine ? x[0].LayerNorm(last, x[1], x[2]) : x[0].LayerNorm(last),
            r => Normalized(r[0], i => i[..^rank].Zip(shape).Aggregate(0, (at, pair) => at * pair.Second + pair.First), affine ? new([n], r[1].Values) : null, affine ? new([n], r[2].Values) : null, Place))
        { Tolerance64 = 1e-9, GradientTolerance = 1e-5 };
    }

    private static OperatorRow Group(int[] shape, int groups, bool affine) => new(
        "GroupNorm", affine ? $"{groups} groups" : $"{groups} groups, plain", affine ? [shape, [shape[1]], [shape[1]]] : [shape], x => affine ? x[0].GroupNorm(groups, x[1], x[2]) : x[0].GroupNorm(groups),
        r => Normalized(r[0], i => i[0] * groups + i[1] / (shape[1] / groups), affine ? r[1] : null, affine ? r[2] : null, i => i[1]))
    { Tolerance64 = 1e-9, GradientTolerance = 1e-5 };

    /// <summary>Normalises the elements of each group by their mean and variance, then scales and shifts by the parameter at a place.</summary>
    private static NdArray Normalized(NdArray x, Func<int[], int> group, NdArray? weight, NdArray? bias, Func<int[], int> place)
    {
        var members = NdArray.Indices(x.Shape).Select(index => (Group: group(index), Value: x[index])).GroupBy(pair => pair.Group)
            .ToDictionary(g => g.Key, g => (Mean: g.Average(p => p.Value), Values: g.Select(p => p.Value).ToArray()));
        var deviation = members.ToDictionary(m => m.Key, m => Math.Sqrt(m.Value.Values.Average(v => (v - m.Value.Mean) * (v - m.Value.Mean)) + 1e-5));
        return NdArray.Build(x.Shape, index => (x[index] - members[group(index)].Mean) / deviation[group(index)] * (weight?.Values[place(index)] ?? 1) + (bias?.Values[place(index)] ?? 0));
    }
}
