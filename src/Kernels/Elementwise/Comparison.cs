namespace TransferEngine.Kernels;

// Masks: 1 where the comparison holds, 0 elsewhere and for NaN (but for NotEqual and IsNaN).

/// <summary>a == b, as 1 or 0.</summary>
internal readonly struct Equal : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(a, b, L.Constant(1), L.Constant(0));
}

/// <summary>a != b; 1 for NaN, as 1 or 0.</summary>
internal readonly struct NotEqual : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(a, b, L.Constant(0), L.Constant(1));
}

/// <summary>a &lt; b, as 1 or 0.</summary>
internal readonly struct Less : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(a, b, L.Constant(1), L.Constant(0));
}

/// <summary>a &lt;= b, as 1 or 0.</summary>
internal readonly struct LessOrEqual : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLessOrEqual(a, b, L.Constant(1), L.Constant(0));
}

/// <summary>a &gt; b, as 1 or 0.</summary>
internal readonly struct Greater : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLess(b, a, L.Constant(1), L.Constant(0));
}

/// <summary>a &gt;= b, as 1 or 0.</summary>
internal readonly struct GreaterOrEqual : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfLessOrEqual(b, a, L.Constant(1), L.Constant(0));
}

/// <summary>A comparison with a number on the right.</summary>
internal readonly struct With<F>(F comparison, double bound) : IUnary where F : struct, IBinary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => comparison.Apply<L, T>(x, L.Constant(bound));
}

/// <summary>Whether x is NaN, as 1 or 0.</summary>
internal readonly struct IsNaN : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(x, x, L.Constant(0), L.Constant(1));
}

/// <summary>Whether both are other than 0, as 1 or 0; NaN is other than 0.</summary>
internal readonly struct LogicalAnd : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(a, L.Constant(0), L.Constant(0), L.IfEqual(b, L.Constant(0), L.Constant(0), L.Constant(1)));
}

/// <summary>Whether either is other than 0, as 1 or 0; NaN is other than 0.</summary>
internal readonly struct LogicalOr : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(a, L.Constant(0), L.IfEqual(b, L.Constant(0), L.Constant(0), L.Constant(1)), L.Constant(1));
}

/// <summary>The larger; NaN if either is.</summary>
internal readonly struct Maximum : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Max(a, b);
}

/// <summary>The smaller; NaN if either is.</summary>
internal readonly struct Minimum : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => L.Min(a, b);
}

/// <summary>a to the power b.</summary>
internal readonly struct PowerOf : IBinary
{
    public L Apply<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => Elementary.Pow<L, T>(a, b);
}

/// <summary>b where the mask a is not 0, else c.</summary>
internal readonly struct Choose : ITernary
{
    public L Apply<L, T>(L a, L b, L c) where L : unmanaged, ILane<L, T> where T : unmanaged => L.IfEqual(a, L.Constant(0), c, b);
}
