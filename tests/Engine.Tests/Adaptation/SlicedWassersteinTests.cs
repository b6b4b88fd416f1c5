using TransferEngine.Adaptation;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

public class SlicedWassersteinTests
{
    [Theory, InlineData(6, 6, 1), InlineData(6, 6, 2), InlineData(6, 4, 1), InlineData(6, 4, 2), InlineData(1, 5, 2), InlineData(7, 3, 1)]
    public void It_equals_the_transport_of_sorted_projections(int n, int m, int power)
    {
        const int D = 3, L = 5;
        double[][] s = Rows(n, D, 1, 0), t = Rows(m, D, 2, 0.4);
        double[] normal = Tensor.Normal([L, D], generator: new Generator(11), type: ElementType.Float64).ToArray<double>();
        double want = 0;
        for (int l = 0; l < L; l++)
        {
            double[] direction = normal[(l * D)..((l + 1) * D)];
            double length = Math.Sqrt(direction.Sum(x => x * x));
            // As many copies of each row as make both samples of one size, which permutations transport.
            double[] Sorted(double[][] rows, int copies) =>
                [.. rows.Select(row => row.Zip(direction, (a, b) => a * b / length).Sum()).Order().SelectMany(x => Enumerable.Repeat(x, copies))];
            want += Sorted(s, m).Zip(Sorted(t, n), (a, b) => Math.Pow(Math.Abs(a - b), power)).Average() / L;
        }
        AssertClose(want, new SlicedWasserstein(L, power, generator: new Generator(11)).Forward(From(s), From(t)).Item());
        AssertClose(Math.Pow(want, 1.0 / power), new SlicedWasserstein(L, power, root: true, generator: new Generator(11)).Forward(From(s), From(t)).Item());
    }

    [Theory, InlineData(6, 4, 1), InlineData(6, 4, 2), InlineData(6, 3, 2), InlineData(5, 5, 1)]
    public void On_a_line_it_is_the_exact_transport(int n, int m, int power)
    {
        double[][] s = Rows(n, 1, 3, 0), t = Rows(m, 1, 4, 0.4);
        double[] cost = [.. s.SelectMany(x => t.Select(y => Math.Pow(Math.Abs(x[0] - y[0]), power)))];
        double want = ExactTransport.Plan(cost, n, m).Zip(cost, (share, price) => share * price).Sum();
        AssertClose(want, new SlicedWasserstein(3, power).Forward(From(s), From(t)).Item());
    }

    [Theory, InlineData(6, 1), InlineData(6, 2), InlineData(4, 1), InlineData(4, 2)]
    public void Gradients_equal_central_differences(int m, int power) =>
        CheckGradient((s, t) => new SlicedWasserstein(8, power, generator: new Generator(3)).Forward(s, t), m);

    [Fact]
    public void It_is_zero_for_the_same_sample_in_any_order_or_number_and_sees_moves()
    {
        var s = Rows(8, 3, 1, 0);
        Assert.True(new SlicedWasserstein().Forward(From(s), From([.. s.Reverse()])).Item() < 1e-30);
        Assert.True(new SlicedWasserstein().Forward(From(s), From([.. s, .. s])).Item() < 1e-30); // the same distribution, twice as many rows
        // The mean over directions of (θ·v)² is |v|² / d: here 3 / 3, within 4 standard errors of 4,000 directions.
        double[][] moved = [.. s.Select(row => row.Select(x => x + 1).ToArray())];
        Assert.Equal(1, new SlicedWasserstein(4000, generator: new Generator(5)).Forward(From(s), From(moved)).Item(), 0.06);
    }

    [Fact]
    public void Directions_repeat_with_the_generators_state_and_differ_from_call_to_call()
    {
        double[][] s = Rows(8, 3, 1, 0), t = Rows(5, 3, 2, 0.3);
        double[] Twice(SlicedWasserstein sliced) => [sliced.Forward(From(s), From(t)).Item(), sliced.Forward(From(s), From(t)).Item()];
        double[] first = Twice(new(4, generator: new Generator(5)));
        Assert.Equal(first, Twice(new(4, generator: new Generator(5))));
        Assert.NotEqual(first[0], first[1]);
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlicedWasserstein(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlicedWasserstein(power: 3));
        Assert.Throws<ShapeException>(() => new SlicedWasserstein().Forward(Tensor.Zeros([3, 2]), Tensor.Zeros([3, 4])));
    }
}
