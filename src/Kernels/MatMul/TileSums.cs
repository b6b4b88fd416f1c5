using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Four numbers in registers: a struct's fields stay there, an array's elements do not.</summary>
internal struct Four<L, T>(L x0, L x1, L x2, L x3) where L : unmanaged, ILane<L, T> where T : unmanaged
{
    public L X0 = x0, X1 = x1, X2 = x2, X3 = x3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Four<L, T> Splat(L x) => new(x, x, x, x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Four<L, T> operator *(in Four<L, T> a, L b) => new(a.X0 * b, a.X1 * b, a.X2 * b, a.X3 * b);

    /// <summary>a b + this.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly Four<L, T> Add(L a, in Four<L, T> b) => new(L.MultiplyAdd(a, b.X0, X0), L.MultiplyAdd(a, b.X1, X1), L.MultiplyAdd(a, b.X2, X2), L.MultiplyAdd(a, b.X3, X3));

    /// <summary>Numbers a side apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Four<L, T> Load(ArrayView<T> strip, int at, int side) => new(L.Splat(strip[at]), L.Splat(strip[at + side]), L.Splat(strip[at + 2 * side]), L.Splat(strip[at + 3 * side]));
}

/// <summary>The 4 x 4 sums that a thread of a group of side x side keeps of a tile of 4 sides by 4 sides: a side apart, so that neighbours hold neighbouring columns.</summary>
internal struct TileSums<L, T> where L : unmanaged, ILane<L, T> where T : unmanaged
{
    public Four<L, T> Row0, Row1, Row2, Row3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TileSums<L, T> Zero()
    {
        var row = Four<L, T>.Splat(L.Constant(0));
        return new() { Row0 = row, Row1 = row, Row2 = row, Row3 = row };
    }

    /// <summary>Adds the products of numbers of a strip of rows and of one of columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly TileSums<L, T> Add(ArrayView<T> rows, int atRow, ArrayView<T> columns, int atColumn, int side)
    {
        Four<L, T> a = Four<L, T>.Load(rows, atRow, side), b = Four<L, T>.Load(columns, atColumn, side);
        return new() { Row0 = Row0.Add(a.X0, b), Row1 = Row1.Add(a.X1, b), Row2 = Row2.Add(a.X2, b), Row3 = Row3.Add(a.X3, b) };
    }
}
