namespace TransferEngine.Conformance;

internal sealed class ConvolutionRows : RowFamily
{
    /// <summary>x, weight, stride, padding, dilation, groups.</summary>
    private static readonly (int[] X, int[] W, Size2d Stride, Size2d Padding, Size2d Dilation, int Groups)[] Cases =
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 1, 0, 1, 1),
        ([0, 2, 4, 4], [3, 2, 3, 3], 1, 0, 1, 1),
        ([2, 3, 5, 7], [4, 3, 1, 1], 1, 0, 1, 1),
        ([2, 3, 5, 7], [4, 3, 3, 3], 1, 1, 1, 1),
        ([1, 2, 9, 8], [3, 2, 3, 3], 2, 1, 1, 1),
        ([1, 2, 9, 11], [3, 2, 2, 5], (3, 2), (1, 2), (2, 1), 1),
        ([2, 4, 6, 5], [6, 2, 3, 3], 1, (1, 0), 1, 2),
        ([2, 4, 6, 9], [4, 1, 3, 3], 1, 1, 1, 4),
        ([1, 3, 9, 9], [6, 1, 5, 5], 2, 2, 1, 3),
        ([2, 1, 8, 8], [3, 1, 5, 5], 1, 0, 1, 1),
        ([1, 2, 12, 5], [2, 2, 3, 2], 1, (4, 1), (3, 2), 1),
    ];

    public override IEnumerable<OperatorRow> Rows
    {
        get
        {
            foreach (var (x, w, s, p, d, g) in Cases)
            {
                string name = $"stride {s} padding {p} dilation {d} groups {g}";
                yield return new("Conv2d", name, [x, w], t => t[0].Conv2d(t[1], null, s, p, d, g), r => Convolve(r[0], r[1], null, s, p, d, g)) { Tolerance32 = 1e-5 };
                yield return new("Conv2d", $"{name} bias", [x, w, [w[0]]], t => t[0].Conv2d(t[1], t[2], s, p, d, g), r => Convolve(r[0], r[1], r[2], s, p, d, g)) { Tolerance32 = 1e-5 };
            }
            yield return new("Conv2d", "views", [[2, 3, 6, 6], [4, 3, 3, 3]], t => t[0].Conv2d(t[1], null, 1, 1), r => Convolve(r[0], r[1], null, 1, 1, 1, 1)) { Transposed = true, Tolerance32 = 1e-5 };
            yield return new("Conv2d", "large", [[2, 40, 17, 19], [50, 40, 3, 3], [50]], t => t[0].Conv2d(t[1], t[2], 1, 1), r => Convolve(r[0], r[1], r[2], 1, 1, 1, 1)) { Tolerance32 = 2e-5 };
            yield return new("Conv2d", "large, strided", [[1, 21, 33, 30], [37, 21, 3, 3]], t => t[0].Conv2d(t[1], null, 2, 1), r => Convolve(r[0], r[1], null, 2, 1, 1, 1)) { Tolerance32 = 2e-5 };
            foreach (var (x, w, s, p, extra, d, g) in new (int[], int[], Size2d, Size2d, Size2d, Size2d, int)[]
            {
                ([1, 1, 1, 1], [1, 1, 1, 1], 1, 0, 0, 1, 1), ([0, 2, 3, 3], [2, 3, 3, 3], 1, 0, 0, 1, 1), ([2, 3, 4, 5], [3, 2, 3, 3], 2, 1, 1, 1, 1), ([1, 4, 3, 6], [4, 2, 4, 2], (2, 3), (1, 0), (0, 2), 1, 2),
                ([2, 3, 5, 4], [3, 1, 3, 3], 1, 0, (1, 0), 2, 3), ([1, 5, 7, 7], [5, 4, 2, 2], 2, 0, 0, 1, 1),
            })
            {
                string name = $"stride {s} padding {p} output padding {extra} dilation {d} groups {g}";
                yield return new("ConvTranspose2d", name, [x, w], t => t[0].ConvTranspose2d(t[1], null, s, p, extra, g, d), r => Spread(r[0], r[1], null, s, p, extra, d, g)) { Tolerance32 = 1e-5 };
                yield return new("ConvTranspose2d", $"{name} bias", [x, w, [w[1] * g]], t => t[0].ConvTranspose2d(t[1], t[2], s, p, extra, g, d), r => Spread(r[0], r[1], r[2], s, p, extra, d, g)) { Tolerance32 = 1e-5 };
            }
        }
    }

    private static NdArray Convolve(NdArray x, NdArray w, NdArray? bias, Size2d s, Size2d p, Size2d d, int groups)
    {
        int[] shape = [x.Shape[0], w.Shape[0], (x.Shape[2] + 2 * p.Height - d.Height * (w.Shape[2] - 1) - 1) / s.Height + 1, (x.Shape[3] + 2 * p.Width - d.Width * (w.Shape[3] - 1) - 1) / s.Width + 1];
        return NdArray.Build(shape, at =>
        {
            double sum = bias?[at[1]] ?? 0;
            int first = at[1] / (w.Shape[0] / groups) * w.Shape[1];
            foreach (var tap in NdArray.Indices([w.Shape[1], w.Shape[2], w.Shape[3]]))
            {
                int row = at[2] * s.Height - p.Height + tap[1] * d.Height, column = at[3] * s.Width - p.Width + tap[2] * d.Width;
                if (row >= 0 && row < x.Shape[2] && column >= 0 && column < x.Shape[3])
                    sum += x[at[0], first + tap[0], row, column] * w[at[1], tap[0], tap[1], tap[2]];
            }
            return sum;
        });
    }

    private static NdArray Spread(NdArray x, NdArray w, NdArray? bias, Size2d s, Size2d p, Size2d extra, Size2d d, int groups)
    {
        int outputs = w.Shape[1];
        int height = (x.Shape[2] - 1) * s.Height - 2 * p.Height + d.Height * (w.Shape[2] - 1) + extra.Height + 1, width = (x.Shape[3] - 1) * s.Width - 2 * p.Width + d.Width * (w.Shape[3] - 1) + extra.Width + 1;
        var y = NdArray.Build([x.Shape[0], outputs * groups, height, width], at => bias?[at[1]] ?? 0);
        foreach (var at in NdArray.Indices(x.Shape))
        {
            foreach (var tap in NdArray.Indices([outputs, w.Shape[2], w.Shape[3]]))
            {
                int row = at[2] * s.Height - p.Height + tap[1] * d.Height, column = at[3] * s.Width - p.Width + tap[2] * d.Width;
                if (row >= 0 && row < height && column >= 0 && column < width)
                    y[at[0], at[1] / (x.Shape[1] / groups) * outputs + tap[0], row, column] += x[at] * w[at[1], tap[0], tap[1], tap[2]];
            }
        }
        return y;
    }
}
