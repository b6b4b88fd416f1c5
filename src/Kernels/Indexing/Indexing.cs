using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>The sizes of indexing along an axis: x is [outer, size, inner], the indexed result [outer, count, inner].</summary>
internal readonly record struct IndexedAxis(int Outer, int Size, int Count, int Inner);

/// <summary>
/// Reads and adds at positions that integers name. An index out of range is read as 0 and never written, as its check belongs to the caller.
/// Sums are in the order of the indices: each column, which no other touches, is walked through by one work item.
/// </summary>
internal static class Indexing
{
    /// <summary>y[o, j, i] = x[o, index[j], i]: rows; embedding is the case of one outer. y is <paramref name="axis"/>'s result.</summary>
    public static void Select(ComputeDevice device, IndexedAxis axis, in Slice x, in Slice index, in Slice y)
    {
        if (y.Length == 0)
            return;
        // On a GPU a thread copies one element, so that neighbouring threads read neighbours.
        int rows = axis.Outer * axis.Count, chunk = device.IsDirect ? Rows(axis.Inner) : 1, piece = device.IsDirect ? axis.Inner : 1;
        int items = device.IsDirect ? (rows + chunk - 1) / chunk : y.Length;
        if (x.Type.IsNarrow())
            device.Launch<float, SelectNarrowKernel>(items, new(axis, x.View<ushort>(), index.View<int>(), y.View<ushort>(), chunk, piece));
        else if (x.Type.Size() == 8)
            device.Launch<double, SelectKernel<double>>(items, new(axis, x.View<double>(), index.View<int>(), y.View<double>(), chunk, piece));
        else
            device.Launch<float, SelectKernel<float>>(items, new(axis, x.View<float>(), index.View<int>(), y.View<float>(), chunk, piece));
    }

    /// <summary>y[o, index[j], i] += x[o, j, i]: the gradient of <see cref="Select"/>, where x is the axis's result and y its source.</summary>
    public static void SelectAdd(ComputeDevice device, IndexedAxis axis, in Slice x, in Slice index, in Slice y)
    {
        int columns = axis.Outer * axis.Inner, chunk = device.IsDirect ? Columns(axis.Count) : 1, items = (columns + chunk - 1) / chunk;
        if (x.Type == ElementType.Float64)
            device.Launch<double, SelectAddKernel<double>>(items, new(axis, x.View<double>(), index.View<int>(), y.View<double>(), chunk));
        else
            device.Launch<float, SelectAddKernel<float>>(items, new(axis, x.View<float>(), index.View<int>(), y.View<float>(), chunk));
    }

    /// <summary>y[o, j, i] = x[o, index[o, j, i], i].</summary>
    public static void Gather(ComputeDevice device, IndexedAxis axis, in Slice x, in Slice index, in Slice y)
    {
        int chunk = device.ChunkOf(y.Length), items = (y.Length + chunk - 1) / chunk;
        if (x.Type.IsNarrow())
            device.Launch<float, GatherKernel<ushort>>(items, new(axis, x.View<ushort>(), index.View<int>(), y.View<ushort>(), chunk, y.Length));
        else if (x.Type.Size() == 8)
            device.Launch<float, GatherKernel<double>>(items, new(axis, x.View<double>(), index.View<int>(), y.View<double>(), chunk, y.Length));
        else
            device.Launch<float, GatherKernel<float>>(items, new(axis, x.View<float>(), index.View<int>(), y.View<float>(), chunk, y.Length));
    }

    /// <summary>y[o, index[o, j, i], i] += x[o, j, i]: scatter-add, and the gradient of <see cref="Gather"/>.</summary>
    public static void ScatterAdd(ComputeDevice device, IndexedAxis axis, in Slice x, in Slice index, in Slice y)
    {
        int columns = axis.Outer * axis.Inner, chunk = device.IsDirect ? Columns(axis.Count) : 1, items = (columns + chunk - 1) / chunk;
        if (x.Type == ElementType.Float64)
            device.Launch<double, ScatterAddKernel<double>>(items, new(axis, x.View<double>(), index.View<int>(), y.View<double>(), chunk));
        else
            device.Launch<float, ScatterAddKernel<float>>(items, new(axis, x.View<float>(), index.View<int>(), y.View<float>(), chunk));
    }

    /// <summary>y[n, c] = 1 where index[n] is c, else 0; y is [count, <paramref name="classes"/>].</summary>
    public static void OneHot(ComputeDevice device, in Slice index, int classes, in Slice y)
    {
        int chunk = device.ChunkOf(y.Length), items = (y.Length + chunk - 1) / chunk;
        if (y.Type == ElementType.Float64)
            device.Launch<double, OneHotKernel<double>>(items, new(index.View<int>(), classes, y.View<double>(), 1, chunk, y.Length));
        else
            device.Launch<float, OneHotKernel<float>>(items, new(index.View<int>(), classes, y.View<float>(), y.Type == ElementType.Int32 ? BitConverter.Int32BitsToSingle(1) : 1, chunk, y.Length));
    }

    /// <summary>Rows of one work item on the CPU: some 8,000 elements.</summary>
    private static int Rows(int inner) => Math.Max(1, 8192 / Math.Max(1, inner));

    /// <summary>Columns of one work item on the CPU: whole cache lines, at least, of some 32,000 elements.</summary>
    private static int Columns(int count) => Math.Max(64, 32768 / Math.Max(1, count) & -16);
}

/// <summary>One work item: <c>chunk</c> rows, each cut into pieces of which it copies one (on the CPU a row is one piece).</summary>
internal readonly struct SelectKernel<T>(IndexedAxis axis, ArrayView<T> x, ArrayView<int> index, ArrayView<T> y, int chunk, int piece) : IKernel<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, places, destination) = (x, index, y);
        int pieces = axis.Inner / piece, start = item % pieces * piece;
        int end = Math.Min(item / pieces * chunk + chunk, axis.Outer * axis.Count);
        for (int row = item / pieces * chunk; row < end; row++)
        {
            int place = L.At(places, row % axis.Count), to = row * axis.Inner + start;
            int from = (row / axis.Count * axis.Size + place) * axis.Inner + start;
            // Unsigned, so that one comparison tells the negative ones too.
            bool there = (uint)place < (uint)axis.Size;
            for (int i = 0; i < piece; i += L.Width)
                L.Store(destination, to + i, piece - i, there ? L.Load(source, from + i, piece - i, L.Constant(0)) : L.Constant(0));
        }
    }
}

/// <summary>One work item: <c>chunk</c> columns of y, to which the rows of x are added in their order.</summary>
internal readonly struct SelectAddKernel<T>(IndexedAxis axis, ArrayView<T> x, ArrayView<int> index, ArrayView<T> y, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, places, destination) = (x, index, y);
        int column = item * chunk, end = Math.Min(column + chunk, axis.Outer * axis.Inner);
        while (column < end)
        {
            int outer = column / axis.Inner, start = column - outer * axis.Inner, run = Math.Min(axis.Inner - start, end - column);
            for (int j = 0; j < axis.Count; j++)
            {
                int place = L.At(places, j);
                if ((uint)place >= (uint)axis.Size)
                    continue;
                int from = (outer * axis.Count + j) * axis.Inner + start, to = (outer * axis.Size + place) * axis.Inner + start;
                for (int i = 0; i < run; i += L.Width)
                    L.Store(destination, to + i, run - i, L.Load(destination, to + i, run - i, L.Constant(0)) + L.Load(source, from + i, run - i, L.Constant(0)));
            }
            column += run;
        }
    }
}

/// <summary>As <see cref="SelectKernel{T}"/>, of numbers of 16 bits.</summary>
internal readonly struct SelectNarrowKernel(IndexedAxis axis, ArrayView<ushort> x, ArrayView<int> index, ArrayView<ushort> y, int chunk, int piece) : IKernel<float>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
    {
        var (source, places, destination) = (x, index, y);
        int pieces = axis.Inner / piece, start = item % pieces * piece;
        int end = Math.Min(item / pieces * chunk + chunk, axis.Outer * axis.Count);
        for (int row = item / pieces * chunk; row < end; row++)
        {
            int place = L.At(places, row % axis.Count), to = row * axis.Inner + start;
            int from = (row / axis.Count * axis.Size + place) * axis.Inner + start;
            bool there = (uint)place < (uint)axis.Size;
            for (int i = 0; i < piece; i++)
                L.At(destination, to + i) = there ? L.At(source, from + i) : (ushort)0;
        }
    }
}

/// <summary>One work item: <c>chunk</c> elements of y, of any type.</summary>
internal readonly struct GatherKernel<T>(IndexedAxis axis, ArrayView<T> x, ArrayView<int> index, ArrayView<T> y, int chunk, int n) : IKernel<float> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, float>
    {
        var (source, places, destination) = (x, index, y);
        int end = Math.Min(item * chunk + chunk, n), slab = axis.Count * axis.Inner;
        for (int i = item * chunk; i < end; i++)
        {
            int place = L.At(places, i);
            L.At(destination, i) = (uint)place < (uint)axis.Size
                ? L.At(source, (i / slab * axis.Size + place) * axis.Inner + i % axis.Inner)
                : default;
        }
    }
}

/// <summary>One work item: <c>chunk</c> columns of y, to which those of x are added in their order.</summary>
internal readonly struct ScatterAddKernel<T>(IndexedAxis axis, ArrayView<T> x, ArrayView<int> index, ArrayView<T> y, int chunk) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, places, destination) = (x, index, y);
        int column = item * chunk, end = Math.Min(column + chunk, axis.Outer * axis.Inner);
        while (column < end)
        {
            int outer = column / axis.Inner, start = column - outer * axis.Inner, run = Math.Min(axis.Inner - start, end - column);
            for (int j = 0; j < axis.Count; j++)
            {
                int from = (outer * axis.Count + j) * axis.Inner + start;
                for (int i = 0; i < run; i++)
                {
                    int place = L.At(places, from + i);
                    if ((uint)place < (uint)axis.Size)
                    {
                        int to = (outer * axis.Size + place) * axis.Inner + start + i;
                        L.At(destination, to) = L.First(L.Splat(L.At(destination, to)) + L.Splat(L.At(source, from + i)));
                    }
                }
            }
            column += run;
        }
    }
}

/// <summary>One work item: <c>chunk</c> elements of y.</summary>
internal readonly struct OneHotKernel<T>(ArrayView<int> index, int classes, ArrayView<T> y, T one, int chunk, int n) : IKernel<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (places, destination) = (index, y);
        int end = Math.Min(item * chunk + chunk, n);
        for (int i = item * chunk; i < end; i++)
            L.At(destination, i) = L.At(places, i / classes) == i % classes ? one : L.First(L.Constant(0));
    }
}
