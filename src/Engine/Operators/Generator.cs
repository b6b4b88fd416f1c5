using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>Where a generator stands: all that a checkpoint keeps of it.</summary>
/// <param name="Seed">The seed.</param>
/// <param name="Position">How far the stream has been used.</param>
public readonly record struct GeneratorState(ulong Seed, ulong Position);

/// <summary>
/// A stream of random numbers, computed from a seed and a counter by Philox4x32-10 (Salmon et al., SC 2011). The same state gives the same
/// numbers on every device, up to the rounding of the transformations (a normal number takes a logarithm), and the same bits on one device.
/// May be used by several threads; what each then gets depends on their order.
/// </summary>
/// <param name="seed">The seed.</param>
public sealed class Generator(ulong seed = 0)
{
    private readonly PhiloxStream stream = new(seed);

    /// <summary>The generator that is used where none is given, seeded with 0: set its state to choose another seed.</summary>
    public static Generator Default { get; } = new();

    /// <summary>The present state; set it to go back, or elsewhere.</summary>
    public GeneratorState State
    {
        get
        {
            var state = stream.State;
            return new(state.Seed, state.Position);
        }
        set => stream.State = new(value.Seed, value.Position);
    }

    /// <summary>Another stream, which shares no numbers with this one for all that is practical: its seed is drawn from this one.</summary>
    public Generator Fork()
    {
        var taken = stream.TakeHere("Generator.Fork", 1);
        var words = Philox.At(taken.Seed, taken.Position);
        return new(((ulong)words.W0 << 32) | words.W1);
    }

    /// <summary>The numbers 0 to n - 1 in random order.</summary>
    /// <param name="n">How many.</param>
    public int[] Permutation(int n)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(n);
        return Sampling.Permutation(stream.TakeHere("Generator.Permutation", (ulong)n), n);
    }

    /// <summary>One number in [0, 1).</summary>
    public double NextDouble()
    {
        var taken = stream.TakeHere("Generator.NextDouble", 1);
        var words = Philox.At(taken.Seed, taken.Position);
        return Philox.Unit(words.W0, words.W1);
    }

    /// <summary>One integer in [low, high).</summary>
    /// <param name="low">The lowest.</param>
    /// <param name="high">One above the highest.</param>
    public int NextInteger(int low, int high)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(low, high);
        return (int)(low + Math.Floor(NextDouble() * ((long)high - low)));
    }

    /// <summary>One number in [0, 1] of the Beta distribution: the share that a Gamma variable has in its sum with another.</summary>
    /// <param name="alpha">Its first parameter, above 0; greater ones move the number towards 1.</param>
    /// <param name="beta">Its second, towards 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">A parameter is not above 0, or not finite.</exception>
    public double NextBeta(double alpha, double beta)
    {
        // In logarithms, for both variables of parameters near 0 can be too small for a double.
        double first = LogOfGamma(nameof(alpha), alpha), second = LogOfGamma(nameof(beta), beta);
        return 1 / (1 + Math.Exp(second - first));
    }

    /// <summary>The logarithm of a Gamma variable: Marsaglia and Tsang, ACM TOMS 26 (2000), and for a shape below 1 one of shape + 1 times u^(1 / shape).</summary>
    private double LogOfGamma(string name, double shape)
    {
        if (!(shape > 0 && double.IsFinite(shape)))
            throw new ArgumentOutOfRangeException(name, shape, "Generator.NextBeta: a parameter is above 0, and finite.");
        double less = shape < 1 ? Math.Max(double.MinValue, Math.Log(1 - NextDouble()) / shape) : 0, d = (shape < 1 ? shape + 1 : shape) - 1 / 3.0, c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            double normal = Math.Sqrt(-2 * Math.Log(1 - NextDouble())) * Math.Cos(2 * Math.PI * NextDouble()), root = 1 + c * normal, cube = root * root * root;
            if (cube > 0 && Math.Log(1 - NextDouble()) < 0.5 * normal * normal + d * (1 - cube + Math.Log(cube)))
                return less + Math.Log(d * cube);
        }
    }

    /// <summary>The state for a kernel that fills a tensor; this stream goes on after what it uses.</summary>
    internal PhiloxState Take(Tensor y) => stream.Take(Sampling.Counters(y.Elements, y.ElementType));
}
