using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// The patches of a batch of images: element k of the patch of output pixel (n, row, column) lies at
/// <c>n * ImageStride + row * Pitch + column + Offsets[k]</c>, an offset for each tap of each channel. Nothing is ever copied but into panels.
/// </summary>
internal readonly unsafe struct Patches<T>(T* images, nint imageStride, int* offsets, int rows, int columns, nint pitch) where T : unmanaged
{
    public readonly int* Offsets = offsets;
    /// <summary>Pixels of a row; rows that follow each other without a gap are one.</summary>
    public readonly int Columns = pitch == columns ? rows * columns : columns;

    public readonly int Plane = rows * columns;

    public T* At(int image, int row, int column) => images + image * imageStride + row * pitch + column;
}

/// <summary>Patches as columns of the right operand: a line is an output pixel of the batch, K runs over channels and taps.</summary>
internal readonly unsafe struct PatchPanels<T, L>(Patches<T> patches, int lines) : IPanelSource<T> where T : unmanaged where L : unmanaged, ILane<L, T>
{
    public bool IsShared => true;

    public bool TryPlace(int batch, out T* start, out nint line, out nint step)
    {
        start = null;
        line = step = 0;
        return false;
    }

    /// <summary>
    /// Copies runs of pixels of one image row by whole vectors. What a vector holds past its run is overwritten by the next run or the next element
    /// along K; so the last element is copied exactly, and the last panel whole, past which there may be no memory to read.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public void Pack(T* panel, int width, int batch, int k, int depth, int first, int count)
    {
        T** from = stackalloc T*[width + 4];
        int* to = stackalloc int[width + 4];
        var (image, pixel) = Math.DivRem(first, patches.Plane);
        var (row, column) = Math.DivRem(pixel, patches.Columns);
        int runs = 0, vectors = 0;
        // A run is cut into vectors at once; each knows how many of its elements belong to it.
        int* held = stackalloc int[width + 4];
        for (int at = 0; at < count; runs++)
        {
            int run = Math.Min(count - at, patches.Columns - column);
            T* start = patches.At(image, row, column);
            for (int i = 0; i < run; i += L.Width, vectors++)
            {
                from[vectors] = start + i;
                (to[vectors], held[vectors]) = (at + i, Math.Min(L.Width, run - i));
            }
            at += run;
            column = 0;
            if (++row * patches.Columns == patches.Plane)
                (image, row) = (image + 1, 0);
        }
        int* offset = patches.Offsets + k;
        int exactFrom = first + count == lines ? 0 : depth - 1, p = 0;
        if (vectors == 2 && count == width)
        {
            T* from0 = from[0], from1 = from[1];
            int to1 = to[1];
            for (; p < exactFrom; p++, panel += width)
            {
                *(L*)panel = *(L*)(from0 + offset[p]);
                *(L*)(panel + to1) = *(L*)(from1 + offset[p]);
            }
        }
        else if (vectors == 3 && count == width)
        {
            T* from0 = from[0], from1 = from[1], from2 = from[2];
            int to1 = to[1], to2 = to[2];
            for (; p < exactFrom; p++, panel += width)
            {
                *(L*)panel = *(L*)(from0 + offset[p]);
                *(L*)(panel + to1) = *(L*)(from1 + offset[p]);
                *(L*)(panel + to2) = *(L*)(from2 + offset[p]);
            }
        }
        for (; p < exactFrom; p++, panel += width)
        {
            for (int v = 0; v < vectors; v++)
                *(L*)(panel + to[v]) = *(L*)(from[v] + offset[p]);
            for (int i = count; i < width; i++)
                panel[i] = default;
        }
        for (; p < depth; p++, panel += width)
        {
            for (int v = 0; v < vectors; v++)
                for (int i = 0; i < held[v]; i++)
                    panel[to[v] + i] = from[v][offset[p] + i];
            for (int i = count; i < width; i++)
                panel[i] = default;
        }
    }
}

/// <summary>Patches as columns the other way: a line is a tap of a channel, K runs over the output pixels of the images of a piece of the batch.</summary>
internal readonly unsafe struct TapPanels<T>(Patches<T> patches, int imagesOfPiece) : IPanelSource<T> where T : unmanaged
{
    public bool IsShared => false;

    public bool TryPlace(int batch, out T* start, out nint line, out nint step)
    {
        start = null;
        line = step = 0;
        return false;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Pack(T* panel, int width, int batch, int k, int depth, int first, int count)
    {
        if (count < width)
            new Span<T>(panel, depth * width).Clear();
        var (image, pixel) = Math.DivRem(k, patches.Plane);
        var (row, column) = Math.DivRem(pixel, patches.Columns);
        image += batch * imagesOfPiece;
        int* offset = patches.Offsets + first;
        while (depth > 0)
        {
            int run = Math.Min(depth, patches.Columns - column);
            Transpose(patches.At(image, row, column), offset, panel, width, run, count);
            panel += run * width;
            depth -= run;
            column = 0;
            if (++row * patches.Columns == patches.Plane)
                (image, row) = (image + 1, 0);
        }
    }

    /// <summary>Runs that are contiguous along K become places: blocks of 4 x 4 floats in registers, the rest one by one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose(T* from, int* offset, T* to, int width, int run, int count)
    {
        int i = 0;
        if (Sse2.IsSupported && typeof(T) == typeof(float))
        {
            for (; i <= count - 4; i += 4)
            {
                float* a = (float*)(from + offset[i]), b = (float*)(from + offset[i + 1]), c = (float*)(from + offset[i + 2]), d = (float*)(from + offset[i + 3]);
                float* into = (float*)(to + i);
                int p = 0;
                for (; p <= run - 4; p += 4, into += 4 * width)
                {
                    var (low01, high01) = (Sse.UnpackLow(Vector128.Load(a + p), Vector128.Load(b + p)), Sse.UnpackHigh(Vector128.Load(a + p), Vector128.Load(b + p)));
                    var (low23, high23) = (Sse.UnpackLow(Vector128.Load(c + p), Vector128.Load(d + p)), Sse.UnpackHigh(Vector128.Load(c + p), Vector128.Load(d + p)));
                    Sse.MoveLowToHigh(low01, low23).Store(into);
                    Sse.MoveHighToLow(low23, low01).Store(into + width);
                    Sse.MoveLowToHigh(high01, high23).Store(into + 2 * width);
                    Sse.MoveHighToLow(high23, high01).Store(into + 3 * width);
                }
                for (; p < run; p++, into += width)
                    (into[0], into[1], into[2], into[3]) = (a[p], b[p], c[p], d[p]);
            }
        }
        for (; i < count; i++)
        {
            T* line = from + offset[i];
            for (int p = 0; p < run; p++)
                to[p * width + i] = line[p];
        }
    }
}

/// <summary>Feature maps [images, channels, plane] as rows of the left operand: a line is a channel, K runs over the pixels of the images of a piece of the batch.</summary>
internal readonly unsafe struct MapPanels<T>(T* maps, int channels, int plane, int imagesOfPiece) : IPanelSource<T> where T : unmanaged
{
    public bool IsShared => false;

    public bool TryPlace(int batch, out T* start, out nint line, out nint step)
    {
        start = null;
        line = step = 0;
        return false;
    }

    public void Pack(T* panel, int width, int batch, int k, int depth, int first, int count)
    {
        var (image, pixel) = Math.DivRem(k, plane);
        image += batch * imagesOfPiece;
        for (; depth > 0; image++)
        {
            int run = Math.Min(depth, plane - pixel);
            new StridedPanels<T>(maps + (nint)image * channels * plane, plane, 1, 0).Pack(panel, width, 0, pixel, run, first, count);
            panel += run * width;
            depth -= run;
            pixel = 0;
        }
    }
}

/// <summary>Filters as rows of the left operand, K over their numbers, read along or across: number k of row i lies at i * <c>line</c> + k * <c>step</c>.</summary>
internal readonly unsafe struct FilterPanels<T>(T* filters, nint line, nint step) : IPanelSource<T> where T : unmanaged
{
    public bool IsShared => true;

    public bool TryPlace(int batch, out T* start, out nint lineStride, out nint stepStride)
    {
        start = filters;
        (lineStride, stepStride) = (line, step);
        return true;
    }

    public void Pack(T* panel, int width, int batch, int k, int depth, int first, int count) =>
        new StridedPanels<T>(filters, line, step, 0).Pack(panel, width, 0, k, depth, first, count);
}

/// <summary>Rows of sums as channels of [images, channels, plane], columns as the pixels of all images.</summary>
internal readonly unsafe struct MapOutput<T> : IOutput<T> where T : unmanaged
{
    private readonly T* maps, bias, residual;
    private readonly double low, high;
    private readonly bool bounded;
    private readonly int channels, first, plane;

    public MapOutput(in Slice maps, in ConvolutionTail tail, int channels, int first, int plane)
    {
        this.maps = maps.Pointer<T>();
        bias = tail.Bias is { } offsets ? offsets.Pointer<T>() + first : null;
        residual = tail.Residual is { } added ? added.Pointer<T>() : null;
        (low, high, bounded) = (tail.Low, tail.High, tail.IsBounded);
        (this.channels, this.first, this.plane) = (channels, first, plane);
    }

    public void Prepare(int batch, int row, int column, int count)
    {
        // Runs of pixels end at any column: not worth finding.
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T>
    {
        if (bias is not null)
            sum += L.Splat(bias[row]);
        int image = (int)((uint)column / (uint)plane), pixel = column - image * plane;
        nint at = ((nint)image * channels + first + row) * plane + pixel;
        if (remaining >= L.Width && pixel + L.Width <= plane)
            *(L*)(maps + at) = Bounded(residual is null ? sum : sum + *(L*)(residual + at));
        else
            StoreRuns(sum, image, row, pixel, Math.Min(remaining, L.Width));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private L Bounded<L>(L sum) where L : unmanaged, ILane<L, T> => bounded ? L.Min(L.Max(sum, L.Constant(low)), L.Constant(high)) : sum;

    /// <summary>Stores a vector of which only a part is there, or whose pixels belong to more than one image.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void StoreRuns<L>(L sum, int image, int row, int pixel, int count) where L : unmanaged, ILane<L, T>
    {
        if (residual is null)
            sum = Bounded(sum);
        for (int i = 0; i < count; image++, pixel = 0)
        {
            nint at = ((nint)image * channels + first + row) * plane + pixel;
            for (int end = Math.Min(count, i + plane - pixel); i < end; i++, at++)
                maps[at] = residual is null ? ((T*)&sum)[i] : L.First(Bounded(L.Splat(((T*)&sum)[i]) + L.Splat(residual[at])));
        }
    }
}
