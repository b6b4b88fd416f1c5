using System.Numerics;

namespace TransferEngine.Kernels;

/// <summary>The sizes of a sort over the middle axis of [outer, n, inner], and whether the largest come first.</summary>
internal readonly record struct SortedAxis(int Outer, int Size, int Inner, int Descending)
{
    /// <summary>The lines along the axis, each of which is sorted for itself.</summary>
    public int Lines => Outer * Inner;

    /// <summary>Where the first element of a line is; the next is <see cref="Inner"/> further.</summary>
    public int Start(int line) => line / Inner * Size * Inner + line % Inner;
}

/// <summary>
/// Stable sorts along an axis, with the positions that the elements come from. NaN counts as the largest, -0 as 0. What is sorted stably is
/// sorted in one way only: the result does not depend on the device or on the number of workers.
/// </summary>
internal static class Sorting
{
    /// <summary>y[o, j, i] = x[o, index[o, j, i], i], in order along j; equal elements in the order in which they stood. x and y must not overlap.</summary>
    public static void Sort(ComputeDevice device, SortedAxis axis, in Slice x, in Slice y, in Slice index)
    {
        if (y.Length == 0)
            return;
        if (x.Type == ElementType.Float64)
            Sort<double, ulong>(device, axis, x, y, index);
        else
            Sort<float, uint>(device, axis, x, y, index);
    }

    private static void Sort<T, K>(ComputeDevice device, SortedAxis axis, in Slice x, in Slice y, in Slice index)
        where T : unmanaged where K : unmanaged, IBinaryInteger<K>
    {
        if (device.IsDirect)
            LineSort<T, K>.Run(device, axis, x, y, index);
        else if (device.IsEmulated)
            TiledSort<T, Side4>.Run(device, axis, x, y, index);
        else
            TiledSort<T, Side16>.Run(device, axis, x, y, index);
    }
}
