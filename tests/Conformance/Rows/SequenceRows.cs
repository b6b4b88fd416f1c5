namespace TransferEngine.Conformance;

/// <summary>Sequences [N, C, L], against sums over their own one axis.</summary>
internal sealed class SequenceRows : RowFamily
{
    /// <summary>x, weight, stride, padding, dilation, groups.</summary>
    private static readonly (int[] X, int[] W, int Stride, int Padding, int Dilation, int Groups)[] Convolutions =
    [
        ([1, 1, 1], [1, 1, 1], 1, 0, 1, 1),
        ([0, 2, 5], [3, 2, 3], 1, 0, 1, 1),
        ([2, 3, 7], [4, 3, 1], 1, 0, 1, 1),
        ([2, 3, 19], [4, 3, 5], 1, 2, 1, 1),
        ([2, 9, 33], [6, 9, 8], 1, 4, 1, 1),
        ([1, 2, 20], [3, 2, 3], 3, 1, 2, 1),
        ([2, 4, 17], [6, 2, 3], 2, 0, 1, 2),
        ([1, 4, 9], [4, 1, 3], 1, 1, 1, 4),
        ([4, 9, 128], [64, 9, 5], 1, 2, 1, 1),
    ];

    /// <summary>x, kernel, stride, padding, dilation, ceiling.</summary>
    private static readonly (int[] X, int Kernel, int? Stride, int Padding, int Dilation, bool Ceil)[] Poolings =
    [
        ([1, 1, 1], 1, null, 0, 1, false),
        ([0, 2, 4], 2, null, 0, 1, false),
        ([2, 3, 9], 2, null, 0, 1, false),
        ([2, 3, 66], 2, 2, 1, 1, false),
        ([1, 2, 10], 3, 2, 1, 1, true),
        ([1, 2, 11], 3, 1, 1, 2, false),
    ];

    public override IEnumerable<OperatorRow> Rows
    {
        get
        {
            foreach (var (x, w, s, p, d, g) in Convolutions)
            {
                string name = $"stride {s} padding {p} dilation {d} groups {g}";
                yield return new("Conv1d", name, [x, w], t => t[0].Conv1d(t[1], null, s, p, d, g), r => Convolve(r[0], r[1], null, s, p, d, g)) { Tolerance32 = 1e-5 };
                yield return new("Conv1d", $"{name} bias", [x, w, [w[0]]], t => t[0].Conv1d(t[1], t[2], s, p, d, g), r => Convolve(r[0], r[1], r[2], s, p, d, g)) { Tolerance32 = 1e-5 };
            }
            yield return new("Conv1d", "views", [[2, 3, 6], [4, 3, 3]], t => t[0].Conv1d(t[1], padding: 1), r => Convolve(r[0], r[1], null, 1, 1, 1, 1)) { Transposed = true, Tolerance32 = 1e-5 };
            foreach (var (x, k, stride, p, d, up) in Poolings)
            {
                int s = stride ?? k;
                string name = $"window {k} stride {s} padding {p} dilation {d}{(up ? " rounded up" : "")}";
                int[] shape = [x[0], x[1], Length(x[2], k, s, p, d, up)];
                int[] Window(int at) => [.. Enumerable.Range(0, k).Select(i => at * s - p + i * d).Where(i => i >= 0 && i < x[2])];
                yield return new("MaxPool1d", name, [x], t => t[0].MaxPool1d(k, stride, p, d, up), r => NdArray.Build(shape, at => Window(at[2]).Max(i => r[0][at[0], at[1], i])));
                if (d != 1)
                    continue;
                foreach (bool include in new[] { true, false })
                {
                    yield return new("AvgPool1d", $"{name}{(include ? "" : " without padding")}", [x], t => t[0].AvgPool1d(k, stride, p, up, include), r => NdArray.Build(shape, at =>
                        Window(at[2]).Sum(i => r[0][at[0], at[1], i]) / (include ? Math.Min(at[2] * s - p + k, x[2] + p) - (at[2] * s - p) : Window(at[2]).Length)));
                }
            }
            foreach (var (x, size) in new (int[], int)[] { ([2, 3, 7], 1), ([1, 2, 8], 4), ([1, 2, 7], 3), ([1, 2, 3], 5), ([0, 2, 3], 2), ([1, 2, 3], 0) })
            {
                int[] shape = [x[0], x[1], size];
                int[] Window(int at) => [.. Enumerable.Range(0, x[2]).Where(i => i >= at * x[2] / size && i < Math.Ceiling((at + 1.0) * x[2] / size))];
                yield return new("AdaptiveAvgPool1d", $"to {size}", [x], t => t[0].AdaptiveAvgPool1d(size), r => NdArray.Build(shape, at => Window(at[2]).Average(i => r[0][at[0], at[1], i])));
                yield return new("AdaptiveMaxPool1d", $"to {size}", [x], t => t[0].AdaptiveMaxPool1d(size), r => NdArray.Build(shape, at => Window(at[2]).Max(i => r[0][at[0], at[1], i])));
            }
        }
    }

    private static NdArray Convolve(NdArray x, NdArray w, NdArray? bias, int stride, int padding, int dilation, int groups)
    {
        int[] shape = [x.Shape[0], w.Shape[0], Length(x.Shape[2], w.Shape[2], stride, padding, dilation, false)];
        return NdArray.Build(shape, at =>
        {
            double sum = bias?[at[1]] ?? 0;
            int first = at[1] / (w.Shape[0] / groups) * w.Shape[1];
            foreach (var tap in NdArray.Indices([w.Shape[1], w.Shape[2]]))
            {
                int place = at[2] * stride - padding + tap[1] * dilation;
                if (place >= 0 && place < x.Shape[2])
                    sum += x[at[0], first + tap[0], place] * w[at[1], tap[0], tap[1]];
            }
            return sum;
        });
    }

    private static int Length(int input, int kernel, int stride, int padding, int dilation, bool up)
    {
        double steps = (input + 2 * padding - dilation * (kernel - 1) - 1) / (double)stride;
        int size = (int)(up ? Math.Ceiling(steps) : Math.Floor(steps)) + 1;
        return up && (size - 1) * stride >= input + padding ? size - 1 : size;
    }
}
