namespace TransferEngine.Kernels;

/// <summary>
/// A reduction: what each element becomes before it is combined (given the centre of its row, where the reduction has one), how two partial
/// results combine, and what an empty row gives.
/// </summary>
internal interface IReduction
{
    static abstract double Identity { get; }

    L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged;

    static abstract L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged;

    /// <summary>Combines the places of one lane.</summary>
    static abstract T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged;
}

/// <summary>The sum of elements, of a function of them and the centre that <typeparamref name="F"/> names.</summary>
internal readonly struct SumOf<F>(F function) : IReduction where F : struct, IBinary
{
    public static double Identity => 0;

    public L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => function.Apply<L, T>(x, centre);

    public static L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a + b;

    public static T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Sum(x);
}

/// <summary>The product of the elements.</summary>
internal readonly struct ProductOf : IReduction
{
    public static double Identity => 1;

    public L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => x;

    public static L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => a * b;

    public static T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Product(x);
}

/// <summary>The largest of a function of the elements; NaN if any is.</summary>
internal readonly struct LargestOf<F>(F function) : IReduction where F : struct, IBinary
{
    public static double Identity => double.NegativeInfinity;

    public L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => function.Apply<L, T>(x, centre);

    public static L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Max(a, b);

    public static T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Largest(x);
}

/// <summary>The smallest of the elements; NaN if any is.</summary>
internal readonly struct SmallestOf : IReduction
{
    public static double Identity => double.PositiveInfinity;

    public L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => x;

    public static L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Min(a, b);

    public static T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Smallest(x);
}

/// <summary>The element itself.</summary>
internal readonly struct Itself : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => x;
}

/// <summary>(x - centre)².</summary>
internal readonly struct SquaredDeviation : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => (x - centre) * (x - centre);
}

/// <summary>e to the (x - centre); 1 at an infinite centre that is the element, 0 elsewhere there.</summary>
internal readonly struct ExpDeviation : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        L.IfEqual(x, centre, L.Constant(1), Elementary.Exp<L, T>(x - centre));
}

/// <summary>|x|.</summary>
internal readonly struct Magnitude : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Abs(x);
}

/// <summary>x².</summary>
internal readonly struct SquareOf : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => x * x;
}

/// <summary>|x| to the power p, 0 at 0.</summary>
internal readonly struct PowerOfMagnitude(double p) : IBinary
{
    public L Apply<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged =>
        Elementary.Exp<L, T>(L.Constant(p) * Elementary.Log<L, T>(L.Abs(x)));
}

/// <summary>log a + b: a logarithm of a sum, put back to the centre that it was taken from.</summary>
internal readonly struct LogPlus : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Log<L, T>(a) + b;
}
