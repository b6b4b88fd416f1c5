using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// One operand of a packed product on the CPU's direct path, seen as lines along K: the rows of A, the columns of B. A convolution implements
/// it to fill panels straight from images. The implementing struct holds pointers and sizes, no managed references.
/// </summary>
internal unsafe interface IPanelSource<T> where T : unmanaged
{
    /// <summary>Whether every product of the batch reads the same matrix, so that it is packed once.</summary>
    bool IsShared { get; }

    /// <summary>
    /// Fills a packed panel: panel[p * width + i] = element p + <paramref name="k"/> along K of line <paramref name="first"/> + i, for
    /// 0 &lt;= p &lt; <paramref name="depth"/> and 0 &lt;= i &lt; <paramref name="count"/>; places from count to width are set to zero.
    /// </summary>
    /// <param name="panel">depth * width elements, aligned to 64 bytes.</param>
    /// <param name="width">The lines of a full panel: <see cref="PackedProduct.PanelRows{T, L}"/> for A, <see cref="PackedProduct.PanelColumns{T, L}"/> for B.</param>
    /// <param name="batch">Which product of the batch.</param>
    /// <param name="k">The first element along K.</param>
    /// <param name="depth">How many elements along K, 0 or more.</param>
    /// <param name="first">The first line; a multiple of width.</param>
    /// <param name="count">How many lines are there, 1 to width.</param>
    void Pack(T* panel, int width, int batch, int k, int depth, int first, int count);

    /// <summary>
    /// Tells where the operand lies if it can be read in place: element k of line i is at start[i * line + k * step]. False if only
    /// <see cref="Pack"/> can read it.
    /// </summary>
    bool TryPlace(int batch, out T* start, out nint line, out nint step);
}

/// <summary>A matrix in memory with any strides.</summary>
internal readonly unsafe struct StridedPanels<T>(T* data, nint line, nint step, nint batchStride) : IPanelSource<T> where T : unmanaged
{
    public bool IsShared => batchStride == 0;

    public bool TryPlace(int batch, out T* start, out nint lineStride, out nint stepStride)
    {
        start = data + batch * batchStride;
        (lineStride, stepStride) = (line, step);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Pack(T* panel, int width, int batch, int k, int depth, int first, int count)
    {
        T* from = data + batch * batchStride + first * line + k * step;
        if (count < width)
            new Span<T>(panel, depth * width).Clear();
        if (line == 1)
        {
            for (int p = 0; p < depth; p++, from += step, panel += width)
                Copy(from, panel, count);
        }
        else if (step == 1)
        {
            Transposition.Run(from, line, panel, width, count, depth);
        }
        else
        {
            for (int p = 0; p < depth; p++, from += step, panel += width)
                for (int i = 0; i < count; i++)
                    panel[i] = from[i * line];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy(T* from, T* to, int count)
    {
        int i = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            for (; i <= count - Vector512<T>.Count; i += Vector512<T>.Count)
                Vector512.Load(from + i).Store(to + i);
        }
        for (; i <= count - Vector128<T>.Count; i += Vector128<T>.Count)
            Vector128.Load(from + i).Store(to + i);
        for (; i < count; i++)
            to[i] = from[i];
    }
}
