namespace TransferEngine.Conformance;

internal sealed class PoolingRows : RowFamily
{
    /// <summary>x, kernel, stride, padding, dilation, ceiling.</summary>
    private static readonly (int[] X, Size2d Kernel, Size2d? Stride, Size2d Padding, Size2d Dilation, bool Ceil)[] Cases =
    [
        ([1, 1, 1, 1], 1, null, 0, 1, false),
        ([0, 2, 4, 4], 2, null, 0, 1, false),
        ([2, 3, 6, 8], 2, null, 0, 1, false),
        ([1, 2, 7, 9], 3, 2, 1, 1, false),
        ([1, 2, 7, 10], 3, 2, 1, 1, true),
        ([2, 1, 5, 40], (2, 3), (1, 2), (1, 0), 1, false),
        ([1, 3, 7, 7], 7, null, 0, 1, false),
        ([1, 2, 9, 8], 3, 1, 1, 2, false),
        ([2, 5, 30, 31], 3, 2, 1, 1, false),
    ];

    public override IEnumerable<OperatorRow> Rows
    {
        get
        {
            foreach (var (x, k, stride, p, d, up) in Cases)
            {
                var s = stride ?? k;
                string name = $"window {k} stride {s} padding {p} dilation {d}{(up ? " rounded up" : "")}";
                int[] shape = [x[0], x[1], Size(x[2], k.Height, s.Height, p.Height, d.Height, up), Size(x[3], k.Width, s.Width, p.Width, d.Width, up)];
                int[][] Window(int[] at) => Pixels(x, Enumerable.Range(0, k.Height).Select(i => at[2] * s.Height - p.Height + i * d.Height), Enumerable.Range(0, k.Width).Select(i => at[3] * s.Width - p.Width + i * d.Width));
                yield return new("MaxPool2d", name, [x], t => t[0].MaxPool2d(k, stride, p, d, up), r => NdArray.Build(shape, at => Window(at).Max(i => r[0][at[0], at[1], i[0], i[1]])));
                yield return new("MaxPool2dWithIndices", name, [x], t => t[0].MaxPool2dWithIndices(k, stride, p, d, up).Indices, r => NdArray.Build(shape, at => Winner(r[0], at, Window(at)))) { Differentiable = false };
                yield return new("MaxPool2dWithIndices", $"{name}, values", [x], t => t[0].MaxPool2dWithIndices(k, stride, p, d, up).Values, r => NdArray.Build(shape, at => Window(at).Max(i => r[0][at[0], at[1], i[0], i[1]])));
                if (d != 1)
                    continue;
                foreach (bool include in new[] { true, false })
                {
                    yield return new("AvgPool2d", $"{name}{(include ? "" : " without padding")}", [x], t => t[0].AvgPool2d(k, stride, p, up, include), r => NdArray.Build(shape, at => Sum(r[0], at, Window(at))
                        / (include ? Reach(at[2], x[2], k.Height, s.Height, p.Height) * Reach(at[3], x[3], k.Width, s.Width, p.Width) : Window(at).Length)));
                }
            }
            yield return new("AvgPool2d", "divisor 5", [[2, 2, 5, 5]], t => t[0].AvgPool2d(3, 2, 1, divisorOverride: 5), r => NdArray.Build([2, 2, 3, 3],
                at => Sum(r[0], at, Pixels(r[0].Shape, Enumerable.Range(at[2] * 2 - 1, 3), Enumerable.Range(at[3] * 2 - 1, 3))) / 5));
            yield return new("MaxPool2d", "view", [[2, 2, 6, 6]], t => t[0].MaxPool2d(2), r => NdArray.Build([2, 2, 3, 3],
                at => Pixels(r[0].Shape, Enumerable.Range(at[2] * 2, 2), Enumerable.Range(at[3] * 2, 2)).Max(i => r[0][at[0], at[1], i[0], i[1]])))
            { Transposed = true };
            foreach (var (x, size) in new (int[], Size2d)[] { ([2, 3, 7, 7], 1), ([1, 2, 6, 8], (3, 4)), ([2, 1, 5, 33], (3, 7)), ([1, 2, 2, 3], (5, 4)), ([0, 2, 3, 3], 2), ([1, 2, 3, 4], (0, 2)), ([2, 8, 16, 16], 1) })
            {
                int[] shape = [x[0], x[1], size.Height, size.Width];
                int[][] Window(int[] at) => Pixels(x, Part(at[2], x[2], size.Height), Part(at[3], x[3], size.Width));
                yield return new("AdaptiveAvgPool2d", $"to {size}", [x], t => t[0].AdaptiveAvgPool2d(size), r => NdArray.Build(shape, at => Sum(r[0], at, Window(at)) / Window(at).Length));
                yield return new("AdaptiveMaxPool2d", $"to {size}", [x], t => t[0].AdaptiveMaxPool2d(size), r => NdArray.Build(shape, at => Window(at).Max(i => r[0][at[0], at[1], i[0], i[1]])));
                yield return new("AdaptiveMaxPool2dWithIndices", $"to {size}", [x], t => t[0].AdaptiveMaxPool2dWithIndices(size).Indices, r => NdArray.Build(shape, at => Winner(r[0], at, Window(at)))) { Differentiable = false };
            }
        }
    }

    private static int Size(int input, int kernel, int stride, int padding, int dilation, bool up)
    {
        double steps = (input + 2 * padding - dilation * (kernel - 1) - 1) / (double)stride;
        int size = (int)(up ? Math.Ceiling(steps) : Math.Floor(steps)) + 1;
        return up && (size - 1) * stride >= input + padding ? size - 1 : size;
    }

    private static int Reach(int at, int input, int kernel, int stride, int padding) => Math.Min(at * stride - padding + kernel, input + padding) - (at * stride - padding);

    private static IEnumerable<int> Part(int at, int input, int output)
    {
        int start = (int)Math.Floor((double)at * input / output), end = (int)Math.Ceiling((at + 1.0) * input / output);
        return Enumerable.Range(start, end - start);
    }

    private static int[][] Pixels(int[] x, IEnumerable<int> rows, IEnumerable<int> columns) =>
        [.. from row in rows where row >= 0 && row < x[2] from column in columns where column >= 0 && column < x[3] select new[] { row, column }];

    private static double Sum(NdArray x, int[] at, int[][] window) => window.Sum(i => x[at[0], at[1], i[0], i[1]]);

    private static double Winner(NdArray x, int[] at, int[][] window)
    {
        var best = window.MaxBy(i => x[at[0], at[1], i[0], i[1]])!;
        return best[0] * x.Shape[3] + best[1];
    }
}
