using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>A linear map of a few numbers to a few, applied to the columns and then to the rows of a small square.</summary>
internal unsafe interface ISquareTransform
{
    static abstract int Inputs { get; }

    static abstract int Outputs { get; }

    /// <summary>The map along one line: inputs and outputs lie <paramref name="step"/> and <paramref name="next"/> elements apart.</summary>
    static abstract void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>;
}

/// <summary>
/// The maps of Winograd's minimal filtering with the points 0, 1, -1, 2, -2 and infinity: F(4, 3), four outputs of a filter of three taps, and F(3, 4),
/// three sums over four gradients, of the same six inputs (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, section 4).
/// </summary>
internal static unsafe class WinogradTransforms
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    /// <summary>Applies a map in both directions; <paramref name="half"/> holds at least 36 vectors.</summary>
    [MethodImpl(Inline)]
    public static void Square<L, F>(float* from, nint down, nint across, float* half, float* to, nint toDown, nint toAcross)
        where L : unmanaged, ILane<L, float> where F : struct, ISquareTransform
    {
        for (int j = 0; j < F.Inputs; j++)
            F.Apply<L>(from + j * across, down, half + j * L.Width, F.Inputs * L.Width);
        for (int i = 0; i < F.Outputs; i++)
            F.Apply<L>(half + i * F.Inputs * L.Width, L.Width, to + i * toDown, toAcross);
    }

    [MethodImpl(Inline)]
    private static L Of<L>(float* from, nint step, int i) where L : unmanaged => *(L*)(from + i * step);

    [MethodImpl(Inline)]
    private static void Put<L>(float* to, nint next, int i, L value) where L : unmanaged => *(L*)(to + i * next) = value;

    /// <summary>Six neighbouring pixels.</summary>
    public readonly struct Image : ISquareTransform
    {
        public static int Inputs => 6;

        public static int Outputs => 6;

        [MethodImpl(Inline)]
        public static void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>
        {
            L two = L.Constant(2), four = L.Constant(4), five = L.Constant(5);
            L d0 = Of<L>(from, step, 0), d1 = Of<L>(from, step, 1), d2 = Of<L>(from, step, 2), d3 = Of<L>(from, step, 3), d4 = Of<L>(from, step, 4), d5 = Of<L>(from, step, 5);
            L even = d4 - four * d2, odd = d3 - four * d1, outer = d4 - d2, inner = two * (d3 - d1);
            Put(to, next, 0, four * d0 - five * d2 + d4);
            Put(to, next, 1, even + odd);
            Put(to, next, 2, even - odd);
            Put(to, next, 3, outer + inner);
            Put(to, next, 4, outer - inner);
            Put(to, next, 5, four * d1 - five * d3 + d5);
        }
    }

    /// <summary>Three taps.</summary>
    public readonly struct Filter : ISquareTransform
    {
        public static int Inputs => 3;

        public static int Outputs => 6;

        [MethodImpl(Inline)]
        public static void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>
        {
            L g0 = Of<L>(from, step, 0), g1 = Of<L>(from, step, 1), g2 = Of<L>(from, step, 2);
            L near = L.Constant(-1.0 / 6) * (g0 + g2), far = L.MultiplyAdd(L.Constant(1.0 / 6), g2, L.Constant(1.0 / 24) * g0);
            L nearOdd = L.Constant(-1.0 / 6) * g1, farOdd = L.Constant(1.0 / 12) * g1;
            Put(to, next, 0, L.Constant(0.25) * g0);
            Put(to, next, 1, near + nearOdd);
            Put(to, next, 2, near - nearOdd);
            Put(to, next, 3, far + farOdd);
            Put(to, next, 4, far - farOdd);
            Put(to, next, 5, g2);
        }
    }

    /// <summary>Products to four outputs.</summary>
    public readonly struct Output : ISquareTransform
    {
        public static int Inputs => 6;

        public static int Outputs => 4;

        [MethodImpl(Inline)]
        public static void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>
        {
            L m0 = Of<L>(from, step, 0), m1 = Of<L>(from, step, 1), m2 = Of<L>(from, step, 2), m3 = Of<L>(from, step, 3), m4 = Of<L>(from, step, 4), m5 = Of<L>(from, step, 5);
            L near = m1 + m2, nearOdd = m1 - m2, far = m3 + m4, farOdd = m3 - m4;
            Put(to, next, 0, m0 + near + far);
            Put(to, next, 1, L.MultiplyAdd(L.Constant(2), farOdd, nearOdd));
            Put(to, next, 2, L.MultiplyAdd(L.Constant(4), far, near));
            Put(to, next, 3, L.MultiplyAdd(L.Constant(8), farOdd, nearOdd) + m5);
        }
    }

    /// <summary>Four neighbouring gradients.</summary>
    public readonly struct Gradient : ISquareTransform
    {
        public static int Inputs => 4;

        public static int Outputs => 6;

        [MethodImpl(Inline)]
        public static void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>
        {
            L g0 = Of<L>(from, step, 0), g1 = Of<L>(from, step, 1), g2 = Of<L>(from, step, 2), g3 = Of<L>(from, step, 3);
            L near = L.Constant(-1.0 / 6) * (g0 + g2), nearOdd = L.Constant(-1.0 / 6) * (g1 + g3);
            L far = L.MultiplyAdd(L.Constant(1.0 / 6), g2, L.Constant(1.0 / 24) * g0), farOdd = L.MultiplyAdd(L.Constant(1.0 / 3), g3, L.Constant(1.0 / 12) * g1);
            Put(to, next, 0, L.Constant(0.25) * g0);
            Put(to, next, 1, near + nearOdd);
            Put(to, next, 2, near - nearOdd);
            Put(to, next, 3, far + farOdd);
            Put(to, next, 4, far - farOdd);
            Put(to, next, 5, g3);
        }
    }

    /// <summary>Products to the gradients of three taps.</summary>
    public readonly struct FilterGradient : ISquareTransform
    {
        public static int Inputs => 6;

        public static int Outputs => 3;

        [MethodImpl(Inline)]
        public static void Apply<L>(float* from, nint step, float* to, nint next) where L : unmanaged, ILane<L, float>
        {
            L m0 = Of<L>(from, step, 0), m1 = Of<L>(from, step, 1), m2 = Of<L>(from, step, 2), m3 = Of<L>(from, step, 3), m4 = Of<L>(from, step, 4), m5 = Of<L>(from, step, 5);
            L near = m1 + m2, far = m3 + m4;
            Put(to, next, 0, m0 + near + far);
            Put(to, next, 1, L.MultiplyAdd(L.Constant(2), m3 - m4, m1 - m2));
            Put(to, next, 2, L.MultiplyAdd(L.Constant(4), far, near) + m5);
        }
    }
}
