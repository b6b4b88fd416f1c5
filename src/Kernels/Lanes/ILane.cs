using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// <see cref="Width"/> numbers of type <typeparamref name="T"/> that a kernel computes with at once. Kernels are written once over a lane:
/// <see cref="Scalar32"/> and <see cref="Scalar64"/> are one GPU thread, <see cref="Simd128{T}"/> to <see cref="Simd512{T}"/> a vector of the CPU.
/// A comparison stands inside a selection, so that no mask type is needed; with NaN it is false. Elementary functions are in
/// <see cref="Elementary"/>, written over these primitives.
/// </summary>
internal interface ILane<L, T> where L : unmanaged, ILane<L, T> where T : unmanaged
{
    static abstract int Width { get; }

    /// <summary>The bits of the fraction: 23 or 52.</summary>
    static abstract int FractionBits { get; }

    /// <summary>One element of any type, wherever the view's memory is. Kernels never index a view themselves.</summary>
    static abstract ref U At<U>(ArrayView<U> view, int index) where U : unmanaged;

    /// <summary>The elements from <paramref name="index"/> on.</summary>
    static abstract L Load(ArrayView<T> view, int index);

    /// <summary>As <see cref="Load(ArrayView{T}, int)"/>, in a loop over a long stretch: has memory some way on brought nearer, which processors themselves do up to the end of a page only.</summary>
    static abstract L LoadNext(ArrayView<T> view, int index);

    /// <summary>As <see cref="Load(ArrayView{T}, int)"/> where only <paramref name="remaining"/> elements (1 or more) may be read; the rest is <paramref name="fill"/>.</summary>
    static abstract L Load(ArrayView<T> view, int index, int remaining, L fill);

    /// <summary>Elements a stride apart, at most <paramref name="remaining"/> (1 or more) of them; the rest is 1.</summary>
    static abstract L Gather(ArrayView<T> view, int index, int stride, int remaining);

    static abstract void Store(ArrayView<T> view, int index, L value);

    /// <summary>As <see cref="Store(ArrayView{T}, int, L)"/> where only <paramref name="remaining"/> elements (1 or more) may be written.</summary>
    static abstract void Store(ArrayView<T> view, int index, int remaining, L value);

    /// <summary>Stores numbers that are integers as Int32, at most <paramref name="remaining"/> (1 or more) of them.</summary>
    static abstract void StoreIntegers(ArrayView<int> view, int index, int remaining, L value);

    static abstract L Splat(T value);

    /// <summary>A constant in every place, rounded to T.</summary>
    static abstract L Constant(double value);

    /// <summary>0, 1, 2, ... Width - 1.</summary>
    static abstract L Ramp();

    /// <summary>The number in the first place.</summary>
    static abstract T First(L x);

    static abstract L operator +(L a, L b);
    static abstract L operator -(L a, L b);
    static abstract L operator *(L a, L b);
    static abstract L operator /(L a, L b);
    static abstract L operator -(L a);

    /// <summary>a * b + c, rounded once where the machine can.</summary>
    static abstract L MultiplyAdd(L a, L b, L c);

    static abstract L Abs(L x);
    static abstract L Sqrt(L x);
    static abstract L Floor(L x);

    /// <summary>The smaller; NaN if either is, as PyTorch's.</summary>
    static abstract L Min(L a, L b);

    /// <summary>The larger; NaN if either is, as PyTorch's.</summary>
    static abstract L Max(L a, L b);

    /// <summary>a &lt; b ? then : otherwise, place by place.</summary>
    static abstract L IfLess(L a, L b, L then, L otherwise);

    /// <summary>a &lt;= b ? then : otherwise, place by place.</summary>
    static abstract L IfLessOrEqual(L a, L b, L then, L otherwise);

    /// <summary>a == b ? then : otherwise, place by place.</summary>
    static abstract L IfEqual(L a, L b, L then, L otherwise);

    /// <summary>2 to the power of <paramref name="n"/>, which holds integers in the range of the exponents of normal numbers.</summary>
    static abstract L PowerOfTwo(L n);

    /// <summary>The exponent e of x = m 2^e with 1 &lt;= m &lt; 2, as a number; for positive normal x.</summary>
    static abstract L Exponent(L x);

    /// <summary>The sum over the places, in a fixed order.</summary>
    static abstract T Sum(L x);

    /// <summary>The product of the places, in a fixed order.</summary>
    static abstract T Product(L x);

    /// <summary>Whether the number in the first place is 1: how a kernel branches on a selection.</summary>
    static abstract bool IsOne(L x);

    /// <summary>The largest of the places; NaN if any is.</summary>
    static abstract T Largest(L x);

    /// <summary>The smallest of the places; NaN if any is.</summary>
    static abstract T Smallest(L x);
}
