using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class PoolingTests
{
    /// <summary>Input, kernel, stride, padding, dilation, and whether the number of outputs is rounded up.</summary>
    private static readonly (int Planes, (int I, int K, int S, int P, int D, bool Up) Y, (int I, int K, int S, int P, int D, bool Up) X)[] Strided =
    [
        (0, (4, 2, 2, 0, 1, false), (4, 2, 2, 0, 1, false)),
        (1, (1, 1, 1, 0, 1, false), (1, 1, 1, 0, 1, false)),
        (3, (2, 3, 1, 0, 1, false), (5, 3, 1, 0, 1, false)),
        (3, (8, 2, 2, 0, 1, false), (10, 2, 2, 0, 1, false)),
        (2, (7, 2, 2, 0, 1, true), (9, 2, 2, 0, 1, true)),
        (2, (12, 3, 2, 1, 1, false), (37, 3, 2, 1, 1, false)),
        (2, (5, 3, 2, 1, 1, true), (6, 3, 2, 1, 1, true)),
        (1, (9, 4, 3, 2, 1, true), (50, 5, 4, 2, 1, false)),
        (2, (6, 3, 1, 1, 1, false), (20, 3, 1, 1, 1, false)),
        (2, (9, 3, 2, 2, 2, false), (11, 2, 3, 1, 4, false)),
        (2, (7, 7, 1, 0, 1, false), (7, 7, 7, 0, 1, false)),
    ];

    private static readonly (int Planes, int H, int W, int OutputH, int OutputW)[] Adaptive =
    [
        (2, 7, 7, 1, 1), (2, 5, 33, 3, 7), (1, 3, 2, 5, 4), (3, 8, 12, 4, 6), (0, 4, 4, 2, 2), (1, 6, 40, 6, 40), (1, 2, 5, 0, 3),
    ];

    public static TheoryData<string, ElementType> Machines
    {
        get
        {
            var cases = new TheoryData<string, ElementType>();
            foreach (string device in TestDevices.Names)
            {
                cases.Add(device, ElementType.Float32);
                cases.Add(device, ElementType.Float64);
            }
            return cases;
        }
    }

    [SkippableTheory, MemberData(nameof(Machines))]
    public void Strided_maxima_and_averages_follow_the_definition(string name, ElementType type)
    {
        var device = TestDevices.Get(name);
        foreach (var (planes, y, x) in Strided)
        {
            var (down, across) = (Axis(y), Axis(x));
            Maximum(device, type, planes, new StridedWindows(down, 1), new StridedWindows(across, 1));
            foreach (int include in (int[])[0, 1])
            {
                if (y.D == 1 && x.D == 1)
                    Average(device, type, planes, new StridedWindows(down, include), new StridedWindows(across, include), 0);
            }
        }
        Average(device, type, 2, new StridedWindows(new(7, 3, 2, 1, 1), 1), new StridedWindows(new(9, 3, 2, 1, 1), 1), 5);
    }

    [SkippableTheory, MemberData(nameof(Machines))]
    public void Adaptive_maxima_and_averages_follow_the_definition(string name, ElementType type)
    {
        var device = TestDevices.Get(name);
        foreach (var (planes, h, w, outputH, outputW) in Adaptive)
        {
            Maximum(device, type, planes, new AdaptiveWindows(h, outputH), new AdaptiveWindows(w, outputW));
            Average(device, type, planes, new AdaptiveWindows(h, outputH), new AdaptiveWindows(w, outputW), 0);
        }
    }

    [Fact]
    public void Rows_wider_than_the_scratch_area_are_pooled_by_the_plain_kernels()
    {
        var device = TestDevices.Get("direct");
        var (down, across) = (new StridedWindows(new(3, 3, 2, 1, 1), 1), new StridedWindows(new(5000, 3, 2, 1, 1), 1));
        Maximum(device, ElementType.Float32, 2, down, across);
        Average(device, ElementType.Float32, 2, down, across, 0);
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void NaN_wins_a_maximum_and_ties_go_to_the_first(string name)
    {
        var device = TestDevices.Get(name);
        var windows = new StridedWindows(new(4, 2, 2, 0, 1), 1);
        double[] values = [1, 1, double.NaN, 9, 1, 1, 9, 3, double.NegativeInfinity, double.NegativeInfinity, 2, 5, double.NegativeInfinity, double.NegativeInfinity, 5, 5];
        var x = Data.New(device, values, ElementType.Float32);
        var y = Data.New(device, new double[4], ElementType.Float32);
        var indices = Data.New(device, new double[4], ElementType.Int32);
        Pooling.Max(device, 1, windows, windows, x, y, indices);
        Assert.Equal([1, double.NaN, double.NegativeInfinity, 5], Data.Read(device, y));
        Assert.Equal([0, 2, 8, 11], Data.Read(device, indices));
    }

    private static ConvAxis Axis((int I, int K, int S, int P, int D, bool Up) a) =>
        new(a.I, a.K, a.S, a.P, a.D, StridedWindows.OutputSize(a.I, a.K, a.S, a.P, a.D, a.Up));

    private static void Maximum<W>(ComputeDevice device, ElementType type, int planes, W down, W across) where W : struct, IWindows
    {
        int input = down.Input * across.Input, output = down.Output * across.Output;
        var random = new Random(3);
        // Few different values, so that there are ties.
        double[] x = [.. Enumerable.Range(0, planes * input).Select(_ => (double)random.Next(-6, 6))], dy = Draw(random, planes * output);
        double[] y = [.. Enumerable.Repeat(double.NegativeInfinity, planes * output)], places = [.. Enumerable.Repeat(-1.0, planes * output)], dx = new double[planes * input];
        Walk(planes, down, across, (plane, place, o) =>
        {
            if (places[o] < 0 || x[plane * input + place] > y[o])
                (y[o], places[o]) = (x[plane * input + place], place);
        });
        for (int o = 0; o < places.Length; o++)
            if (places[o] >= 0)
                dx[o / output * input + (int)places[o]] += dy[o];
        var (source, gradient) = (Data.New(device, x, type), Data.New(device, dy, type));
        var (largest, found) = (Data.New(device, new double[y.Length], type), Data.New(device, new double[y.Length], ElementType.Int32));
        Pooling.Max(device, planes, down, across, source, largest, null);
        Close(y, Data.Read(device, largest));
        Pooling.Max(device, planes, down, across, source, largest, found);
        Close(y, Data.Read(device, largest));
        Assert.Equal(places, Data.Read(device, found));
        var spread = Data.New(device, [.. dx.Select(_ => double.NaN)], type);
        Pooling.Spread(device, planes, down, across, gradient, found, spread);
        Close(dx, Data.Read(device, spread));
        Pooling.Pick(device, planes, source, found, largest);
        Close([.. y.Select(v => double.IsInfinity(v) ? 0 : v)], Data.Read(device, largest));
    }

    private static void Average<W>(ComputeDevice device, ElementType type, int planes, W down, W across, int divisor) where W : struct, IWindows
    {
        int input = down.Input * across.Input, output = down.Output * across.Output;
        var random = new Random(3);
        double[] x = Draw(random, planes * input), dy = Draw(random, planes * output), y = new double[planes * output], dx = new double[planes * input];
        Walk(planes, down, across, (plane, place, o) =>
        {
            int oh = o % output / across.Output, ow = o % across.Output, by = divisor != 0 ? divisor : down.Divisor(oh) * across.Divisor(ow);
            y[o] += x[plane * input + place] / by;
            dx[plane * input + place] += dy[o] / by;
        });
        var (source, gradient) = (Data.New(device, x, type), Data.New(device, dy, type));
        var (mean, spread) = (Data.New(device, new double[y.Length], type), Data.New(device, [.. dx.Select(_ => double.NaN)], type));
        Pooling.Average(device, planes, down, across, divisor, source, mean);
        Close(y, Data.Read(device, mean));
        Pooling.AverageGradient(device, planes, down, across, divisor, gradient, spread);
        Close(dx, Data.Read(device, spread));
    }

    private static double[] Draw(Random random, int n) => [.. Enumerable.Range(0, n).Select(_ => random.Next(-64, 65) / 64.0)];

    private static void Walk<W>(int planes, W down, W across, Action<int, int, int> visit) where W : struct, IWindows
    {
        for (int o = 0; o < planes * down.Output * across.Output; o++)
        {
            int ow = o % across.Output, oh = o / across.Output % down.Output, plane = o / across.Output / down.Output;
            for (int kh = 0; kh < down.Taps(oh); kh++)
            {
                for (int kw = 0; kw < across.Taps(ow); kw++)
                {
                    int ih = down.Start(oh) + kh * down.Step, iw = across.Start(ow) + kw * across.Step;
                    if (ih >= 0 && ih < down.Input && iw >= 0 && iw < across.Input)
                        visit(plane, ih * across.Input + iw, o);
                }
            }
        }
    }

    private static void Close(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(expected[i].Equals(actual[i]) || Math.Abs(expected[i] - actual[i]) <= 1e-6 * (1 + Math.Abs(expected[i])), $"element {i}: {expected[i]} expected, {actual[i]} found");
    }
}
