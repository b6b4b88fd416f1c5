using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>Sorts on GPUs: tiles in shared memory, then tiles two and two by merging, until a line is one.</summary>
internal static class TiledSort<T, S> where T : unmanaged where S : unmanaged, IGroupSide
{
    public static void Run(ComputeDevice device, SortedAxis axis, in Slice x, in Slice y, in Slice index)
    {
        int tile = 4 * S.Side * S.Side, tiles = (axis.Size + tile - 1) / tile;
        var groups = new KernelConfig(axis.Lines * tiles, S.Side * S.Side);
        if (tiles == 1)
        {
            device.LaunchGroups<T, TileSort<T, S>>(groups, new(axis, axis.Inner, x.View<T>(), y.View<T>(), index.View<int>()));
            return;
        }
        // Lines lie one after the other until the last merge puts the elements where they belong. Merges go from one buffer to the other.
        MemoryBlock values = device.Memory.Rent(2L * y.Length * x.Type.Size(), "tiles of a sort"), places = device.Memory.Rent(2L * y.Length * sizeof(int), "tiles of a sort");
        Slice source = new(values, 0, y.Length, x.Type), sourceIndex = new(places, 0, y.Length, ElementType.Int32);
        Slice target = source with { Offset = y.Length }, targetIndex = sourceIndex with { Offset = y.Length };
        device.LaunchGroups<T, TileSort<T, S>>(groups, new(axis, 1, x.View<T>(), source.View<T>(), sourceIndex.View<int>()));
        for (long width = tile; width < axis.Size; width *= 2)
        {
            bool isLast = 2 * width >= axis.Size;
            var (merged, mergedIndex) = isLast ? (y, index) : (target, targetIndex);
            device.Launch<T, MergeKernel<T>>(y.Length, new(axis, (int)width, isLast ? axis.Inner : 1, source.View<T>(), sourceIndex.View<int>(), merged.View<T>(), mergedIndex.View<int>()));
            (source, sourceIndex, target, targetIndex) = (target, targetIndex, source, sourceIndex);
        }
        device.Memory.Return(values);
        device.Memory.Return(places);
    }
}

/// <summary>
/// One work group: a tile of a line, brought to shared memory, sorted there by Batcher's bitonic network, and written with its positions to y and
/// index, whose elements of a line are <c>inner</c> apart. Every step puts the smaller in front, so that a comparison with what is
/// past the end, and would be larger, is left out. Equal elements are told apart by their positions, as the network is not stable.
/// </summary>
internal readonly struct TileSort<T, S>(SortedAxis axis, int inner, ArrayView<T> x, ArrayView<T> y, ArrayView<int> index) : IGroupKernel<T>
    where T : unmanaged where S : unmanaged, IGroupSide
{
    private readonly SortedAxis axis = axis;
    private readonly int inner = inner;
    private readonly ArrayView<T> x = x, y = y;
    private readonly ArrayView<int> index = index;

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        var values = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var places = SharedMemory.Allocate<int>(4 * S.Side * S.Side);
        int tile = 4 * S.Side * S.Side, threads = S.Side * S.Side, thread = Group.IdxX, tiles = (axis.Size + tile - 1) / tile;
        int line = Grid.IdxX / tiles, first = (Grid.IdxX - line * tiles) * tile, count = Math.Min(tile, axis.Size - first);
        int from = axis.Start(line) + first * axis.Inner, to = (line / inner * axis.Size + first) * inner + line % inner;
        for (int i = thread; i < count; i += threads)
        {
            values[i] = L.At(x, from + i * axis.Inner);
            places[i] = first + i;
        }
        Group.Barrier();
        for (int size = 2; size < 2 * count; size *= 2)
        {
            for (int gap = size / 2; gap > 0; gap /= 2)
            {
                for (int i = thread; i < tile / 2; i += threads)
                {
                    // The first step of a merge pairs the ends of a block, so that both its halves may be ascending.
                    int block = i / gap, place = i - block * gap, low = 2 * block * gap + place;
                    int high = 2 * gap == size ? (block + 1) * size - 1 - place : low + gap;
                    if (high >= count)
                        continue;
                    T a = values[low], b = values[high];
                    int pa = places[low], pb = places[high];
                    if (SortOrder.Before<L, T>(b, a, axis.Descending) || (pb < pa && !SortOrder.Before<L, T>(a, b, axis.Descending)))
                    {
                        values[low] = b;
                        values[high] = a;
                        places[low] = pb;
                        places[high] = pa;
                    }
                }
                Group.Barrier();
            }
        }
        for (int i = thread; i < count; i += threads)
        {
            L.At(y, to + i * inner) = values[i];
            L.At(index, to + i * inner) = places[i];
        }
    }
}

/// <summary>
/// One work item: one element of two neighbouring sorted runs of <c>width</c> places, written to where both are merged: its place in its own
/// run and after those of the other run that go before it, which halving finds. y and index have the elements of a line <c>inner</c> apart.
/// </summary>
internal readonly struct MergeKernel<T>(SortedAxis axis, int width, int inner, ArrayView<T> x, ArrayView<int> places, ArrayView<T> y, ArrayView<int> index) : IKernel<T> where T : unmanaged
{
    private readonly SortedAxis axis = axis;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var (source, from) = (x, places);
        int n = axis.Size, line = item / n, start = line * n, j = item - start, run = j / width, pair = run / 2 * 2 * width;
        int isRight = run % 2, other = isRight != 0 ? pair : pair + Math.Min(width, n - pair), low = other, high = other + Math.Min(width, n - other);
        T own = L.At(source, item);
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            T value = L.At(source, start + middle);
            // Of equal elements those of the left run go first.
            bool goesBefore = isRight != 0 ? !SortOrder.Before<L, T>(own, value, axis.Descending) : SortOrder.Before<L, T>(value, own, axis.Descending);
            low = goesBefore ? middle + 1 : low;
            high = goesBefore ? high : middle;
        }
        int to = (line / inner * n + j - isRight * width + low - other) * inner + line % inner;
        L.At(y, to) = own;
        L.At(index, to) = L.At(from, item);
    }
}

internal static class SortOrder
{
    /// <summary>Whether one element stands before another, by their values alone; NaN counts as the largest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Before<L, T>(T a, T b, int descending) where L : unmanaged, ILane<L, T> where T : unmanaged
    {
        L x = L.Splat(descending != 0 ? b : a), y = L.Splat(descending != 0 ? a : b), one = L.Constant(1), zero = L.Constant(0);
        return L.IsOne(L.IfLess(x, y, one, L.IfEqual(y, y, zero, L.IfEqual(x, x, one, zero))));
    }
}
