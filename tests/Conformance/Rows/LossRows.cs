namespace TransferEngine.Conformance;

internal sealed class LossRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. Softmax("Softmax", (x, axis) => x.Softmax(axis), log: false), .. Softmax("LogSoftmax", (x, axis) => x.LogSoftmax(axis), log: true),
        Classes("CrossEntropy", "", [[3, 5], [3]], x => x[0].CrossEntropy(x[1]), r => CrossEntropy(r[0], r[1], null, 0).Mean),
        Classes("CrossEntropy", "one", [[1, 2], [1]], x => x[0].CrossEntropy(x[1]), r => CrossEntropy(r[0], r[1], null, 0).Mean),
        Classes("CrossEntropy", "large", [[40, 1003], [40]], x => x[0].CrossEntropy(x[1], reduction: LossReduction.Sum), r => CrossEntropy(r[0], r[1], null, 0).Sum),
        Classes("CrossEntropy", "smoothed", [[4, 6], [4]], x => x[0].CrossEntropy(x[1], labelSmoothing: 0.2, reduction: LossReduction.None), r => CrossEntropy(r[0], r[1], null, 0.2).Each),
        Classes("CrossEntropy", "images", [[2, 3, 4], [2, 4]], x => x[0].CrossEntropy(x[1]), r => CrossEntropy(Last(r[0]), r[1], null, 0).Mean),
        Classes("CrossEntropy", "ignoring", [[5, 3], [5]], x => x[0].CrossEntropy(x[1], ignoreIndex: 1), r => CrossEntropy(r[0], r[1], null, 0, ignored: 1).Mean),
        Classes("CrossEntropy", "weighted", [[5, 3], [5], [3]], x => x[0].CrossEntropy(x[1], x[2].Detach(), labelSmoothing: 0.1), r => CrossEntropy(r[0], r[1], r[2], 0.1).Mean),
        Shares("", [[3, 5], [3, 5]], x => x[0].CrossEntropy(x[1]), r => Soft(r, 0).Mean),
        Shares("one", [[1, 2], [1, 2]], x => x[0].CrossEntropy(x[1]), r => Soft(r, 0).Mean),
        Shares("large", [[40, 1003], [40, 1003]], x => x[0].CrossEntropy(x[1], reduction: LossReduction.Sum), r => Soft(r, 0).Sum),
        Shares("smoothed", [[4, 6], [4, 6]], x => x[0].CrossEntropy(x[1], labelSmoothing: 0.2, reduction: LossReduction.None), r => Soft(r, 0.2).Each),
        Shares("images", [[2, 3, 4], [2, 3, 4]], x => x[0].CrossEntropy(x[1]), r => Soft([Last(r[0]), Last(r[1])], 0).Mean),
        Shares("weighted", [[5, 3], [5, 3], [3]], x => x[0].CrossEntropy(x[1], x[2].Detach(), labelSmoothing: 0.1), r => Soft(r, 0.1).Mean),
        Classes("NllLoss", "", [[5, 3], [5]], x => x[0].NllLoss(x[1]), r => Nll(r[0], r[1])),
        .. OperatorRow.Binary("MseLoss", (a, b) => a.MseLoss(b, LossReduction.None), (a, b) => (a - b) * (a - b)),
        .. OperatorRow.Binary("L1Loss", (a, b) => a.L1Loss(b, LossReduction.Sum).Reshape(1), (a, b) => 0).Where(row => row.Inputs[0].Length == 2 && row.Inputs[0][0] == 3).Select(row => row with { Reference = r => Total(r[0].Zip(r[1], (a, b) => Math.Abs(a - b))) }),
        .. OperatorRow.Binary("SmoothL1Loss", (a, b) => a.SmoothL1Loss(b, 0.7, LossReduction.None), (a, b) => Math.Abs(a - b) < 0.7 ? (a - b) * (a - b) / 1.4 : Math.Abs(a - b) - 0.35),
        new("BinaryCrossEntropyWithLogits", "", [[3, 5], [3, 5]], x => x[0].BinaryCrossEntropyWithLogits(x[1], reduction: LossReduction.None), r => r[0].Zip(r[1], (x, t) => -t * Math.Log(Sigmoid(x)) - (1 - t) * Math.Log(1 - Sigmoid(x)))) { Domain = Target },
        new("BinaryCrossEntropyWithLogits", "weighted", [[3, 5], [3, 5]], x => x[0].BinaryCrossEntropyWithLogits(x[1], Tensor.Full([5], 3, x[0].Device, x[0].ElementType), LossReduction.None), r => r[0].Zip(r[1], (x, t) => -3 * t * Math.Log(Sigmoid(x)) - (1 - t) * Math.Log(1 - Sigmoid(x)))) { Domain = Target },
        new("KlDiv", "", [[3, 5], [3, 5]], x => x[0].KlDiv(x[1], LossReduction.None), r => r[0].Zip(r[1], (x, t) => t * (Math.Log(t) - x))) { Domain = Target },
    ];

    private static double Target(double value, int input) => input == 1 ? 0.1 + 0.8 * (value + 2) / 4 : value;

    private static NdArray Total(NdArray x) => new([1], [x.Values.Sum()]);

    private static double Sigmoid(double v) => 1 / (1 + Math.Exp(-v));

    private static IEnumerable<OperatorRow> Softmax(string name, Func<Tensor, int, Tensor> expression, bool log)
    {
        foreach (var (shape, axis) in new (int[], int)[] { ([7], 0), ([3, 5], 1), ([3, 5], 0), ([2, 3, 4], 1), ([1, 1], -1), ([0, 3], 1), ([33, 1003], 1), ([2, 17], -1) })
        {
            yield return new(name, $"along {axis}", [shape], x => expression(x[0] * 5, axis), r =>
            {
                int along = axis < 0 ? axis + shape.Length : axis;
                return NdArray.Build(shape, index =>
                {
                    double sum = 0;
                    int[] other = [.. index];
                    for (other[along] = 0; other[along] < shape[along]; other[along]++)
                        sum += Math.Exp(5 * (r[0][other] - r[0][index]));
                    return log ? -Math.Log(sum) : 1 / sum;
                });
            });
        }
    }

    private static OperatorRow Classes(string name, string what, int[][] shapes, Func<Tensor[], Tensor> expression, Func<NdArray[], NdArray> reference) => new(name, what, shapes, expression, reference)
    {
        Integers = [1],
        Still = [2],
        Range = (0, 1),
        Domain = (value, input) => input switch { 1 => Math.Floor(value * shapes[0][1] * 0.999), 2 => value + 0.2, _ => 4 * value - 2 },
    };

    /// <summary>Cross-entropy with probabilities, the second input.</summary>
    private static OperatorRow Shares(string what, int[][] shapes, Func<Tensor[], Tensor> expression, Func<NdArray[], NdArray> reference) => new("CrossEntropy", ("probabilities " + what).Trim(), shapes, expression, reference)
    {
        Still = [2],
        Domain = (value, input) => input == 0 ? value : 0.1 + (value + 2) / 4,
    };

    private static (NdArray Each, NdArray Sum, NdArray Mean) Soft(NdArray[] r, double smoothing)
    {
        int n = r[0].Shape[0], classes = r[0].Shape[1];
        var losses = new double[n];
        for (int i = 0; i < n; i++)
        {
            double sum = Enumerable.Range(0, classes).Sum(c => Math.Exp(r[0][i, c]));
            losses[i] = Enumerable.Range(0, classes).Sum(c => (r.Length > 2 ? r[2].Values[c] : 1) * (r[1][i, c] * (1 - smoothing) + smoothing / classes) * (Math.Log(sum) - r[0][i, c]));
        }
        return (new([n], losses), new([], [losses.Sum()]), new([], [losses.Average()]));
    }

    private static NdArray Last(NdArray x) => NdArray.Build([x.Shape[0] * x.Shape[2], x.Shape[1]], i => x[i[0] / x.Shape[2], i[1], i[0] % x.Shape[2]]);

    private static NdArray Nll(NdArray x, NdArray target) => new([], [-target.Values.Select((t, i) => x[i, (int)t]).Average()]);

    private static (NdArray Each, NdArray Sum, NdArray Mean) CrossEntropy(NdArray x, NdArray target, NdArray? weight, double smoothing, int ignored = -1)
    {
        int n = x.Shape[0], classes = x.Shape[1];
        double[] losses = new double[n], weights = new double[n];
        for (int i = 0; i < n; i++)
        {
            int t = (int)target.Values[i];
            if (t == ignored)
                continue;
            double W(int c) => weight?.Values[c] ?? 1;
            double sum = Enumerable.Range(0, classes).Sum(c => Math.Exp(x[i, c]));
            weights[i] = W(t);
            losses[i] = (1 - smoothing) * W(t) * (Math.Log(sum) - x[i, t]) + smoothing / classes * Enumerable.Range(0, classes).Sum(c => W(c) * (Math.Log(sum) - x[i, c]));
        }
        return (new(target.Shape, losses), new([], [losses.Sum()]), new([], [losses.Sum() / weights.Sum()]));
    }
}
