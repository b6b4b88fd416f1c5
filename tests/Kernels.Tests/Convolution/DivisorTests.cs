namespace TransferEngine.Kernels.Tests;

public class DivisorTests
{
    [Fact]
    public void Every_quotient_and_rest_is_that_of_a_division()
    {
        var random = new Random(3);
        int[] divisors = [.. Enumerable.Range(1, 300), .. Enumerable.Range(0, 31).SelectMany(bit => new[] { 1 << bit, (1 << bit) + 1, Math.Max(1, (1 << bit) - 1) }), int.MaxValue, .. Enumerable.Range(0, 500).Select(_ => random.Next(1, int.MaxValue))];
        foreach (int d in divisors)
        {
            var divisor = new Divisor(d);
            // Where quotients change, at the ends, and anywhere.
            long last = int.MaxValue / d * (long)d;
            foreach (long n in new[] { 0, 1, d - 1L, d, d + 1L, last - 1, last, int.MaxValue, random.Next(), random.Next(), random.Next(int.MaxValue / d) * (long)d })
            {
                if (n is < 0 or > int.MaxValue)
                    continue;
                Assert.Equal(Math.DivRem((int)n, d), (divisor.Divide((int)n, out int rest), rest));
                Assert.Equal((int)n / d, divisor.Divide((int)n));
            }
        }
    }
}
