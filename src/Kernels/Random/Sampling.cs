using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Random numbers from a counter: the same state gives the same numbers at the same places, whatever the number of threads. A block of 16
/// counters serves 64 floats or 32 doubles in a row: word w of counter k is place 16 w + k, so that neighbouring threads write neighbours.
/// </summary>
internal static partial class Sampling
{
    /// <summary>The counters that <paramref name="n"/> numbers use up: what the state advances by.</summary>
    public static ulong Counters(int n, ElementType type)
    {
        int block = type == ElementType.Float64 ? 32 : 64;
        return ((ulong)n + (ulong)block - 1) / (ulong)block * 16;
    }

    /// <summary>Uniform in [low, high).</summary>
    public static void Uniform(ComputeDevice device, PhiloxState state, double low, double high, in Slice y) =>
        Draw(device, state, new UniformDraw(low, high), y, y);

    /// <summary>1 with the given probability, else 0.</summary>
    public static void Bernoulli(ComputeDevice device, PhiloxState state, double probability, in Slice y) =>
        Draw(device, state, new BernoulliDraw(probability), y, y);

    /// <summary>
    /// y = 0 with the given probability, else x / (1 - probability). The gradient is the same call on the gradient of y with the same state: the
    /// mask is drawn again rather than saved. x and y must not overlap.
    /// </summary>
    public static void Dropout(ComputeDevice device, PhiloxState state, double probability, in Slice x, in Slice y) =>
        Draw(device, state, new DropoutDraw(probability, probability < 1 ? 1 / (1 - probability) : 0), x, y);

    /// <summary>Integers in [low, high), by multiplication: a number's probability is off by at most 2^-32.</summary>
    public static void Integers(ComputeDevice device, PhiloxState state, int low, int high, in Slice y)
    {
        int counters = (int)Counters(y.Length, ElementType.Int32), chunk = device.IsDirect ? 1024 : 1;
        device.LaunchDrawing<float, IntegersKernel>((counters + chunk - 1) / chunk, new(state.Seed, state.Position, low, (uint)((long)high - low), y.View<int>(), chunk, counters, y.Length), state);
    }

    /// <summary>The numbers 0 to n - 1 in random order, drawn on the host (Fisher and Yates); uses <paramref name="n"/> counters.</summary>
    public static int[] Permutation(PhiloxState state, int n)
    {
        var order = new int[n];
        for (int i = 0; i < n; i++)
            order[i] = i;
        for (int i = n - 1; i > 0; i--)
        {
            var words = Philox.At(state.Seed, state.Position + (ulong)i);
            int j = (int)Math.BigMul(((ulong)words.W0 << 32) | words.W1, (ulong)(i + 1), out _);
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }

    private static void Draw<F>(ComputeDevice device, PhiloxState state, F function, in Slice x, in Slice y) where F : struct, IDraw
    {
        int counters = (int)Counters(y.Length, y.Type), chunk = device.IsDirect ? 1024 : 1, items = (counters + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.LaunchDrawing<double, DrawKernel<double, F>>(items, new(function, state.Seed, state.Position, x.View<double>(), y.View<double>(), chunk, counters, y.Length), state);
        else
            device.LaunchDrawing<float, DrawKernel<float, F>>(items, new(function, state.Seed, state.Position, x.View<float>(), y.View<float>(), chunk, counters, y.Length), state);
    }
}

/// <summary>Makes two numbers of two uniform ones in [0, 1), given the inputs at their places.</summary>
internal interface IDraw
{
    /// <summary>Whether the inputs are read at all.</summary>
    static abstract int Inputs { get; }

    void Apply<L, T>(ref L a, ref L b, L xa, L xb) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

internal readonly struct UniformDraw(double low, double high) : IDraw
{
    public static int Inputs => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Apply<L, T>(ref L a, ref L b, L xa, L xb) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        (a, b) = (One<L, T>(a), One<L, T>(b));

    // Rounding can reach the upper bound, which is not part of the interval: such a number becomes the lower one.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private L One<L, T>(L unit) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        var value = L.MultiplyAdd(unit, L.Constant(high - low), L.Constant(low));
        return L.IfLess(value, L.Constant(high), value, L.Constant(low));
    }
}

internal readonly struct BernoulliDraw(double probability) : IDraw
{
    public static int Inputs => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Apply<L, T>(ref L a, ref L b, L xa, L xb) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        a = L.IfLess(a, L.Constant(probability), L.Constant(1), L.Constant(0));
        b = L.IfLess(b, L.Constant(probability), L.Constant(1), L.Constant(0));
    }
}

internal readonly struct DropoutDraw(double probability, double scale) : IDraw
{
    public static int Inputs => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Apply<L, T>(ref L a, ref L b, L xa, L xb) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        a = L.IfLess(a, L.Constant(probability), L.Constant(0), xa * L.Constant(scale));
        b = L.IfLess(b, L.Constant(probability), L.Constant(0), xb * L.Constant(scale));
    }
}

/// <summary>One work item: the numbers of <c>chunk</c> counters, from the given position on; y only, of which x may be the input.</summary>
internal readonly struct DrawKernel<T, F>(F function, ulong seed, ulong position, ArrayView<T> x, ArrayView<T> y, int chunk, int counters, int n)
    : IKernel<T>, IDrawing<DrawKernel<T, F>> where T : unmanaged where F : struct, IDraw
{
    public DrawKernel<T, F> At(PhiloxState state) => new(function, state.Seed, state.Position, x, y, chunk, counters, n);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (f, source, destination) = (function, x, y);
        int words = L.FractionBits == 23 ? 4 : 2;
        int counter = item * chunk, end = Math.Min(counter + chunk, counters);
        // A whole block: its uniform numbers are laid out in y, then transformed there a vector at a time.
        for (; L.Width > 1 && counter + 16 <= end && (counter / 16 + 1) * 16 * words <= n; counter += 16)
        {
            int at = counter * words;
            for (int k = 0; k < 16; k++)
            {
                var drawn = Philox.At(seed, position + (ulong)(counter + k));
                if (words == 4)
                {
                    L.At(destination, at + k) = L.First(L.Constant(Philox.Unit(drawn.W0)));
                    L.At(destination, at + 16 + k) = L.First(L.Constant(Philox.Unit(drawn.W1)));
                    L.At(destination, at + 32 + k) = L.First(L.Constant(Philox.Unit(drawn.W2)));
                    L.At(destination, at + 48 + k) = L.First(L.Constant(Philox.Unit(drawn.W3)));
                }
                else
                {
                    L.At(destination, at + k) = L.First(L.Constant(Philox.Unit(drawn.W0, drawn.W1)));
                    L.At(destination, at + 16 + k) = L.First(L.Constant(Philox.Unit(drawn.W2, drawn.W3)));
                }
            }
            for (int half = at; half < at + 16 * words; half += 32)
            {
                for (int i = half; i < half + 16; i += L.Width)
                {
                    L a = L.Load(destination, i), b = L.Load(destination, i + 16);
                    f.Apply<L, T>(ref a, ref b, F.Inputs > 0 ? L.Load(source, i) : a, F.Inputs > 0 ? L.Load(source, i + 16) : b);
                    L.Store(destination, i, a);
                    L.Store(destination, i + 16, b);
                }
            }
        }
        for (; counter < end; counter++)
        {
            var drawn = Philox.At(seed, position + (ulong)counter);
            int at = counter / 16 * 16 * words + counter % 16;
            if (words == 4)
            {
                Pair<L>(f, source, destination, at, Philox.Unit(drawn.W0), Philox.Unit(drawn.W1));
                Pair<L>(f, source, destination, at + 32, Philox.Unit(drawn.W2), Philox.Unit(drawn.W3));
            }
            else
            {
                Pair<L>(f, source, destination, at, Philox.Unit(drawn.W0, drawn.W1), Philox.Unit(drawn.W2, drawn.W3));
            }
        }
    }

    private void Pair<L>(F f, ArrayView<T> source, ArrayView<T> destination, int i, double first, double second) where L : unmanaged, ILane<L, T>
    {
        if (i >= n)
            return;
        int j = Math.Min(i + 16, n - 1);
        L a = L.Constant(first), b = L.Constant(second);
        f.Apply<L, T>(ref a, ref b, F.Inputs > 0 ? L.Splat(L.At(source, i)) : a, F.Inputs > 0 ? L.Splat(L.At(source, j)) : b);
        L.At(destination, i) = L.First(a);
        if (i + 16 < n)
            L.At(destination, j) = L.First(b);
    }
}

/// <summary>One work item: the integers of <c>chunk</c> counters, laid out as floats are.</summary>
internal readonly struct IntegersKernel(ulong seed, ulong position, int low, uint range, ArrayView<int> y, int chunk, int counters, int n)
    : IKernel<float>, IDrawing<IntegersKernel>
{
    public IntegersKernel At(PhiloxState state) => new(state.Seed, state.Position, low, range, y, chunk, counters, n);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
    {
        var destination = y;
        int end = Math.Min(item * chunk + chunk, counters);
        for (int counter = item * chunk; counter < end; counter++)
        {
            var drawn = Philox.At(seed, position + (ulong)counter);
            int at = counter / 16 * 64 + counter % 16;
            Put<L>(destination, at, drawn.W0);
            Put<L>(destination, at + 16, drawn.W1);
            Put<L>(destination, at + 32, drawn.W2);
            Put<L>(destination, at + 48, drawn.W3);
        }
    }

    private void Put<L>(ArrayView<int> destination, int i, uint word) where L : unmanaged, ILane<L, float>
    {
        if (i < n)
            L.At(destination, i) = low + (int)(((ulong)word * range) >> 32);
    }
}
