using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// One work item: <c>chunk</c> planes of dy, one after the other as they lie in memory, and the gradient of the filter from each plane alone; nine taps at a
/// time.
/// </summary>
internal readonly struct DepthwiseWeights<T>(Conv2dShape shape, ArrayView<T> x, ArrayView<T> dy, ArrayView<T> gradients, int chunk) : IKernel<T> where T : unmanaged
{
    private const int Together = 9;

    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public unsafe void Execute<L>(int item) where L : unmanaged, ILane<L, T>
    {
        var s = shape;
        T* scratch = stackalloc T[Window.StripCapacity + 64];
        L* sums = stackalloc L[Together];
        int* offsets = stackalloc int[s.Taps + Together - 1];
        int blockColumns = Math.Min(s.X.Output, Window.MaxStripColumns);
        var window = Window.OfStrip(s.Y, s.X, blockColumns);
        for (int t = 0; t < s.Taps + Together - 1; t++)
            offsets[t] = t < s.Taps ? window.Offset(t / s.X.Kernel, t % s.X.Kernel) : 0;
        var cells = Direct.View(scratch, Window.StripCapacity);
        bool square = Square3.Serves(s.Y, s.X);
        for (int plane = item * chunk, end = Math.Min(s.Batch * s.Outputs, plane + chunk); plane < end; plane++)
        {
            T* image = (T*)Unsafe.AsPointer(ref L.At(x, 0)) + (long)(plane / s.GroupOutputs) * s.InputPlane;
            for (int t = 0; t < s.Taps; t += Together)
            {
                for (int i = 0; i < Together; i++)
                    sums[i] = L.Constant(0);
                for (int column = 0; column < s.X.Output; column += blockColumns)
                {
                    int width = Math.Min(blockColumns, s.X.Output - column);
                    for (int row = 0; row < s.Y.Output; row += window.Rows)
                    {
                        int height = Math.Min(window.Rows, s.Y.Output - row), from = (plane * s.Y.Output + row) * s.X.Output + column;
                        window.Fill(scratch, image, 1, 1, row, height, column);
                        if (square)
                            AddSquare(sums, scratch, window, from, height, width);
                        else
                            Add(sums, cells, window, offsets + t, from, height, width);
                    }
                }
                for (int i = 0; i < Math.Min(Together, s.Taps - t); i++)
                    L.At(gradients, plane * s.Taps + t + i) = L.Sum(sums[i]);
            }
        }
    }

    /// <summary>Adds a strip to the sums of nine taps, which stay in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private unsafe void Add<L>(L* sums, ArrayView<T> cells, Window window, int* offsets, int from, int height, int width) where L : unmanaged, ILane<L, T>
    {
        var gradient = dy;
        int stride = window.RowStep, pitch = shape.X.Output;
        int o0 = offsets[0], o1 = offsets[1], o2 = offsets[2], o3 = offsets[3], o4 = offsets[4], o5 = offsets[5], o6 = offsets[6], o7 = offsets[7], o8 = offsets[8];
        L s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3], s4 = sums[4], s5 = sums[5], s6 = sums[6], s7 = sums[7], s8 = sums[8];
        for (int next = 0; next < width; next += L.Width)
        {
            int j = Math.Max(0, Math.Min(next, width - L.Width)), left = width - j;
            for (int r = 0; r < height; r++)
            {
                int at = r * stride + j;
                L g = Gradient<L>(gradient, from + r * pitch + j, left, next - j);
                s0 = L.MultiplyAdd(g, L.Load(cells, at + o0), s0);
                s1 = L.MultiplyAdd(g, L.Load(cells, at + o1), s1);
                s2 = L.MultiplyAdd(g, L.Load(cells, at + o2), s2);
                s3 = L.MultiplyAdd(g, L.Load(cells, at + o3), s3);
                s4 = L.MultiplyAdd(g, L.Load(cells, at + o4), s4);
                s5 = L.MultiplyAdd(g, L.Load(cells, at + o5), s5);
                s6 = L.MultiplyAdd(g, L.Load(cells, at + o6), s6);
                s7 = L.MultiplyAdd(g, L.Load(cells, at + o7), s7);
                s8 = L.MultiplyAdd(g, L.Load(cells, at + o8), s8);
            }
        }
        (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7], sums[8]) = (s0, s1, s2, s3, s4, s5, s6, s7, s8);
    }

    /// <summary>As <see cref="Add"/> for filters of 3x3 neighbours: each row is read once, and meets the gradients of the three rows that read it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private unsafe void AddSquare<L>(L* sums, T* cells, Window window, int from, int height, int width) where L : unmanaged, ILane<L, T>
    {
        var gradient = dy;
        int pitch = shape.X.Output;
        nint stride = window.RowStep, second = window.Offset(0, 1), third = window.Offset(0, 2);
        L s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3], s4 = sums[4], s5 = sums[5], s6 = sums[6], s7 = sums[7], s8 = sums[8];
        for (int next = 0; next < width; next += L.Width)
        {
            int j = Math.Max(0, Math.Min(next, width - L.Width)), left = width - j;
            T* at = cells + j;
            L g0 = L.Constant(0), g1 = g0, g2;
            for (int r = 0; r < height + 2; r++, at += stride)
            {
                L a = *(L*)at, b = *(L*)(at + second), c = *(L*)(at + third);
                (g2, g1) = (g1, g0);
                if (r < height)
                {
                    g0 = Gradient<L>(gradient, from + r * pitch + j, left, next - j);
                    s0 = L.MultiplyAdd(g0, a, s0);
                    s1 = L.MultiplyAdd(g0, b, s1);
                    s2 = L.MultiplyAdd(g0, c, s2);
                }
                if (r > 0 && r <= height)
                {
                    s3 = L.MultiplyAdd(g1, a, s3);
                    s4 = L.MultiplyAdd(g1, b, s4);
                    s5 = L.MultiplyAdd(g1, c, s5);
                }
                if (r > 1)
                {
                    s6 = L.MultiplyAdd(g2, a, s6);
                    s7 = L.MultiplyAdd(g2, b, s7);
                    s8 = L.MultiplyAdd(g2, c, s8);
                }
            }
        }
        (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7], sums[8]) = (s0, s1, s2, s3, s4, s5, s6, s7, s8);
    }

    /// <summary>The gradient of a stretch of a row. The last vector ends with the row; what the one before it has counted is zero in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Gradient<L>(ArrayView<T> gradient, int index, int remaining, int counted) where L : unmanaged, ILane<L, T>
    {
        L zero = L.Constant(0), g = L.Load(gradient, index, remaining, zero);
        return counted > 0 ? L.IfLess(L.Ramp(), L.Constant(counted), zero, g) : g;
    }
}
