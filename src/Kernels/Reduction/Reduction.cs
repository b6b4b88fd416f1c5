using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Reductions over the middle axis of [outer, n, inner]. A long axis is cut into pieces of fixed length whose partial results a further launch
/// reduces: there is work for many, a float sum keeps its precision, and the bits do not depend on how many work.
/// </summary>
internal static class Reduction
{
    /// <summary>Elements of a piece: on the CPU a few hundred additions in each place of several sums.</summary>
    private const int DirectPiece = 16_384, GpuPiece = 256;

    /// <summary>y[o, i] = sum over j of x[o, j, i].</summary>
    public static void Sum(ComputeDevice device, in Slice x, int outer, int n, int inner, in Slice y) =>
        Run(device, default(SumOf<Itself>), x, outer, n, inner, y);

    /// <summary>y[o, i] = the reduction over j of x[o, j, i], each taken with centre[o, i] if there is one.</summary>
    public static void Run<R>(ComputeDevice device, R reduction, in Slice x, int outer, int n, int inner, in Slice y, Slice? centre = null) where R : struct, IReduction
    {
        if (x.Type == ElementType.Float64)
            Run<double, R>(device, reduction, x, outer, n, inner, y, centre);
        else
            Run<float, R>(device, reduction, x, outer, n, inner, y, centre);
    }

    /// <summary>y[o, i] = the first j at which x[o, j, i] is the largest, or the smallest if <paramref name="sign"/> is -1; a NaN counts as such. Int32.</summary>
    public static void Arg(ComputeDevice device, int sign, in Slice x, int outer, int n, int inner, in Slice y)
    {
        int lines = outer * inner, chunk = device.IsDirect ? Math.Max(1, 8192 / Math.Max(1, n)) : 1, items = (lines + chunk - 1) / chunk;
        if (x.Type == ElementType.Float64)
            device.Launch<double, ArgKernel<double>>(items, new(sign, x.View<double>(), y.View<int>(), n, inner, chunk, lines));
        else
            device.Launch<float, ArgKernel<float>>(items, new(sign, x.View<float>(), y.View<int>(), n, inner, chunk, lines));
    }

    private static void Run<T, R>(ComputeDevice device, R reduction, in Slice x, int outer, int n, int inner, in Slice y, Slice? centre)
        where T : unmanaged where R : struct, IReduction
    {
        if (y.Length == 0)
            return;
        int piece = inner == 1 ? device.IsDirect ? DirectPiece : GpuPiece : 256, pieces = Math.Max(1, (n + piece - 1) / piece);
        if (pieces == 1)
        {
            Stage<T, R>(device, reduction, x, outer, n, inner, n, 1, y, centre);
            return;
        }
        var block = device.Memory.Rent((long)outer * pieces * inner * x.Type.Size(), "partial results of a reduction");
        var partial = new Slice(block, 0, outer * pieces * inner, x.Type);
        Stage<T, R>(device, reduction, x, outer, n, inner, piece, pieces, partial, centre);
        Run<T, Merging<R>>(device, default, partial, outer, pieces, inner, y, null);
        device.Memory.Return(block);
    }

    private static void Stage<T, R>(ComputeDevice device, R reduction, in Slice x, int outer, int n, int inner, int piece, int pieces, in Slice y, Slice? centre)
        where T : unmanaged where R : struct, IReduction
    {
        var centres = (centre ?? y).View<T>();
        int hasCentre = centre is null ? 0 : 1;
        if (inner == 1)
        {
            // Short rows are taken several to an item.
            int lines = outer * pieces, chunk = device.IsDirect ? Math.Max(1, DirectPiece / Math.Max(1, Math.Min(n, piece))) : 1;
            device.Launch<T, RowReductionKernel<T, R>>((lines + chunk - 1) / chunk, new(reduction, x.View<T>(), centres, hasCentre, y.View<T>(), n, piece, pieces, chunk, lines));
        }
        else
        {
            int strip = device.IsDirect ? Math.Min(inner, 1024) : 1, strips = (inner + strip - 1) / strip;
            device.Launch<T, ColumnReductionKernel<T, R>>(outer * pieces * strips, new(reduction, x.View<T>(), centres, hasCentre, y.View<T>(), n, inner, piece, pieces, strip, strips));
        }
    }
}

/// <summary>Combines partial results of another reduction.</summary>
internal readonly struct Merging<R> : IReduction where R : struct, IReduction
{
    public static double Identity => R.Identity;

    public L Map<L, T>(L x, L centre) where L : unmanaged, ILane<L, T> where T : unmanaged => x;

    public static L Combine<L, T>(L a, L b) where L : unmanaged, ILane<L, T> where T : unmanaged => R.Combine<L, T>(a, b);

    public static T Across<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => R.Across<L, T>(x);
}

/// <summary>One work item: <c>chunk</c> pieces of rows, each reduced along the row into one element of y, [outer, pieces].</summary>
internal readonly struct RowReductionKernel<T, R>(R reduction, ArrayView<T> x, ArrayView<T> centres, int hasCentre, ArrayView<T> y, int n, int piece, int pieces, int chunk, int lines)
    : IKernel<T> where T : unmanaged where R : struct, IReduction
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (r, source) = (reduction, x);
        L identity = L.Constant(R.Identity);
        for (int line = item * chunk; line < Math.Min(item * chunk + chunk, lines); line++)
        {
            int row = line / pieces, start = (line - row * pieces) * piece, end = Math.Min(start + piece, n), at = row * n;
            var centre = hasCentre != 0 ? L.Splat(L.At(centres, row)) : identity;
            L a = identity, b = identity, c = identity, d = identity;
            int j = start;
            for (; j + 4 * L.Width <= end; j += 4 * L.Width)
            {
                a = R.Combine<L, T>(a, r.Map<L, T>(L.LoadNext(source, at + j), centre));
                b = R.Combine<L, T>(b, r.Map<L, T>(L.LoadNext(source, at + j + L.Width), centre));
                c = R.Combine<L, T>(c, r.Map<L, T>(L.LoadNext(source, at + j + 2 * L.Width), centre));
                d = R.Combine<L, T>(d, r.Map<L, T>(L.LoadNext(source, at + j + 3 * L.Width), centre));
            }
            for (; j + L.Width <= end; j += L.Width)
                a = R.Combine<L, T>(a, r.Map<L, T>(L.Load(source, at + j), centre));
            if (j < end)
            {
                // Places past the end take the identity after the map, which may not keep it.
                var mapped = r.Map<L, T>(L.Load(source, at + j, end - j, centre), centre);
                b = R.Combine<L, T>(b, L.IfLess(L.Ramp(), L.Constant(end - j), mapped, identity));
            }
            L.At(y, line) = R.Across<L, T>(R.Combine<L, T>(R.Combine<L, T>(a, b), R.Combine<L, T>(c, d)));
        }
    }
}

/// <summary>One work item: a piece of the axis for a strip of the inner positions, into y, [outer, pieces, inner].</summary>
internal readonly struct ColumnReductionKernel<T, R>(R reduction, ArrayView<T> x, ArrayView<T> centres, int hasCentre, ArrayView<T> y, int n, int inner, int piece, int pieces, int strip, int strips)
    : IKernel<T> where T : unmanaged where R : struct, IReduction
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (r, source) = (reduction, x);
        int line = item / strips, outer = line / pieces, first = (item - line * strips) * strip, last = Math.Min(first + strip, inner);
        int start = (line - outer * pieces) * piece, end = Math.Min(start + piece, n);
        for (int i = first; i < last; i += L.Width)
        {
            int left = last - i;
            L result = L.Constant(R.Identity), centre = hasCentre != 0 ? L.Load(centres, outer * inner + i, left, result) : result;
            for (int j = start; j < end; j++)
                result = R.Combine<L, T>(result, r.Map<L, T>(L.Load(source, (outer * n + j) * inner + i, left, L.Constant(0)), centre));
            L.Store(y, line * inner + i, left, result);
        }
    }
}

/// <summary>One work item: <c>chunk</c> positions of the first extreme along the axis.</summary>
internal readonly struct ArgKernel<T>(int sign, ArrayView<T> x, ArrayView<int> y, int n, int inner, int chunk, int lines) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        for (int line = item * chunk; line < Math.Min(item * chunk + chunk, lines); line++)
        {
            int outer = line / inner, at = outer * n * inner + line - outer * inner;
            L best = L.Splat(L.At(x, at)) * L.Constant(sign);
            int high = 0;
            for (int j = 1; j < n; j++)
            {
                var value = L.Splat(L.At(x, at + j * inner)) * L.Constant(sign);
                // A number is replaced by a larger one or by NaN; NaN, which equals nothing, stays.
                var better = L.IfLess(best, value, L.Constant(1), L.IfEqual(value, value, L.Constant(0), L.IfEqual(best, best, L.Constant(1), L.Constant(0))));
                best = L.IfEqual(better, L.Constant(1), value, best);
                high = L.IsOne(better) ? j : high;
            }
            L.At(y, line) = high;
        }
    }
}
