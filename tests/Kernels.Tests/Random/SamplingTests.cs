using TransferEngine.Kernels;
using TransferEngine.Tests;

namespace TransferEngine.Kernels.Tests;

public class SamplingTests
{
    private static readonly PhiloxState Seeded = new(0x1234_5678_9ABC_DEF0, 77);

    public static TheoryData<string, int, ElementType> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, ElementType>();
            foreach (string device in TestDevices.Names)
                foreach (int n in new[] { 0, 1, 17, 64, 200, 5_001 })
                {
                    cases.Add(device, n, ElementType.Float32);
                    cases.Add(device, n, ElementType.Float64);
                }
            return cases;
        }
    }

    /// <summary>The test vectors that the authors publish with Random123 (kat_vectors, philox4x32 10).</summary>
    [Theory]
    [InlineData(0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8)]
    [InlineData(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd)]
    [InlineData(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1)]
    public void Philox_gives_the_published_words(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3)
    {
        var words = Philox.Words(c0, c1, c2, c3, k0, k1);
        Assert.Equal((w0, w1, w2, w3), (words.W0, words.W1, words.W2, words.W3));
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Uniform_numbers_are_the_words_of_the_counter_on_every_machine(string name, int n, ElementType type)
    {
        var device = TestDevices.Get(name);
        var y = Data.New(device, new double[n], type);
        Sampling.Uniform(device, Seeded, 0, 1, y);
        int numbers = type == ElementType.Float64 ? 2 : 4;
        double[] expected = [.. Enumerable.Range(0, n).Select(i =>
        {
            var w = Philox.At(Seeded.Seed, Seeded.Position + (ulong)(i / (16 * numbers) * 16 + i % 16));
            int word = i / 16 % numbers;
            return type == ElementType.Float64
                ? (word == 0 ? Philox.Unit(w.W0, w.W1) : Philox.Unit(w.W2, w.W3))
                : Philox.Unit(word switch { 0 => w.W0, 1 => w.W1, 2 => w.W2, _ => w.W3 });
        })];
        Assert.Equal(expected, Data.Read(device, y));
    }

    [SkippableTheory, MemberData(nameof(TestDevices.All), MemberType = typeof(TestDevices))]
    public void Numbers_have_the_moments_of_their_distributions(string name)
    {
        var device = TestDevices.Get(name);
        int n = name == "emulator" ? 20_000 : 200_000;
        double error = 5 / Math.Sqrt(n);
        foreach (var type in new[] { ElementType.Float32, ElementType.Float64 })
        {
            var y = Data.New(device, new double[n], type);
            Sampling.Uniform(device, Seeded, -1, 3, y);
            var drawn = Data.Read(device, y);
            Assert.All(drawn, v => Assert.InRange(v, -1, 3 - 1e-9));
            Assert.Equal(1, drawn.Average(), 2 * error);
            Assert.Equal(16 / 12.0, drawn.Select(v => (v - 1) * (v - 1)).Average(), 4 * error);
            Sampling.Normal(device, Seeded, 2, 0.5, y);
            drawn = Data.Read(device, y);
            Assert.Equal(2, drawn.Average(), 0.5 * error);
            Assert.Equal(0.25, drawn.Select(v => (v - 2) * (v - 2)).Average(), 0.25 * 1.5 * error);
            Assert.Equal(3 * 0.0625, drawn.Select(v => Math.Pow(v - 2, 4)).Average(), 0.0625 * 10 * error);
            Assert.Equal(0, drawn.Zip(drawn.Skip(16), (a, b) => (a - 2) * (b - 2)).Average(), 0.25 * error);
            Sampling.Bernoulli(device, Seeded, 0.3, y);
            drawn = Data.Read(device, y);
            Assert.All(drawn, v => Assert.True(v is 0 or 1));
            Assert.Equal(0.3, drawn.Average(), error);
        }
        var whole = Data.New(device, new double[n], ElementType.Int32);
        Sampling.Integers(device, Seeded, -3, 4, whole);
        var counts = Data.Read(device, whole).CountBy(v => v).ToDictionary();
        Assert.Equal([-3, -2, -1, 0, 1, 2, 3], counts.Keys.Order());
        Assert.All(counts.Values, count => Assert.Equal(1 / 7.0, count / (double)n, error));
    }

    [SkippableTheory, MemberData(nameof(Cases))]
    public void Dropout_scales_what_stays_and_draws_the_same_mask_again(string name, int n, ElementType type)
    {
        var device = TestDevices.Get(name);
        double[] values = [.. Enumerable.Range(1, n).Select(i => (double)i)];
        var (x, y, ones, mask, bits) = (Data.New(device, values, type), Data.New(device, values, type), Data.New(device, [.. values.Select(_ => 1.0)], type), Data.New(device, values, type), Data.New(device, values, type));
        Sampling.Dropout(device, Seeded, 0.75, x, y);
        Sampling.Dropout(device, Seeded, 0.75, ones, mask);
        Sampling.Bernoulli(device, Seeded, 0.75, bits);
        Assert.Equal(Data.Read(device, bits).Select(dropped => dropped == 1 ? 0.0 : 4.0), Data.Read(device, mask));
        Assert.Equal(Data.Read(device, mask).Zip(values, (m, v) => m * v), Data.Read(device, y));
    }

    [Fact]
    public void The_same_bits_come_with_any_number_of_workers()
    {
        var device = TestDevices.Get("direct");
        int degree = device.Team.MaxDegreeOfParallelism;
        var drawn = new List<double[]>();
        foreach (int workers in new[] { 1, 3 })
        {
            device.Team.MaxDegreeOfParallelism = workers;
            var y = Data.New(device, new double[100_000], ElementType.Float32);
            Sampling.Uniform(device, Seeded, 0, 1, y);
            drawn.Add(Data.Read(device, y));
        }
        device.Team.MaxDegreeOfParallelism = degree;
        Assert.Equal(drawn[0], drawn[1]);
    }

    [Fact]
    public void Permutation_is_one_and_differs_by_state()
    {
        int[] order = Sampling.Permutation(Seeded, 1000), other = Sampling.Permutation(Seeded.Advance(1000), 1000);
        Assert.Equal(Enumerable.Range(0, 1000), order.Order());
        Assert.NotEqual(order, other);
        Assert.Equal(order, Sampling.Permutation(Seeded, 1000));
    }
}
