using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolutions of many channels and their gradients as products with a matrix of patches [pixel, tap, channel], on the CPU's direct path. With channels
/// last, a patch is copied by whole vectors at any stride, dilation and padding, and every operand of the products is read where it lies. The matrix is
/// made for as many rows of pixels as stay in the last-level cache. Sums run over taps and channels (over pixels, for the filters' gradient) in order.
/// </summary>
internal static unsafe partial class PatchProduct
{
    /// <summary>Numbers of the widest vector: numbers of channels that do not fill vectors of it waste work.</summary>
    private const int VectorChannels = 16;

    /// <summary>The most copies of a pixel that patches may hold.</summary>
    private const int MostCopies = 9;

    /// <summary>The elements along K of one pass: a panel of filters then stays in the first cache.</summary>
    private const int Depth = 256;

    /// <summary>Whether the shape has the channels for it, and patches that are not the maps themselves but not too many copies of them either.</summary>
    public static bool Serves(in Conv2dShape s) =>
        s.Groups == 1 && FillsVectors(s.Channels) && FillsVectors(s.Outputs) && !s.IsPointwise
        && s.Taps <= MostCopies * s.Y.Stride * s.X.Stride;

    private static bool FillsVectors(int channels) => channels % VectorChannels == 0 || channels > 4 * VectorChannels;

    /// <summary>y = tail(filters x patches of x).</summary>
    public static void Forward<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y) where T : unmanaged
    {
        using var taps = new TapList(device, s.Taps);
        for (int tap = 0; tap < s.Taps; tap++)
            taps.Add(tap, tap / s.X.Kernel * s.Y.Dilation - s.Y.Padding, tap % s.X.Kernel * s.X.Dilation - s.X.Padding);
        var maps = new ChannelMaps<T>(x.Pointer<T>(), s.Channels, s.Y.Input, s.X.Input);
        var grid = new Grid(s.Batch, s.Y.Output, s.X.Output, s.Y.Stride, s.X.Stride);
        var target = new Target<T>(y.Pointer<T>(), s.Outputs, s.Y.Output, s.X.Output, 0, 0, 1, 1);
        Convolve(device, maps, grid, taps, new ChannelFilters<T>(weight.Pointer<T>(), (nint)s.Channels * s.Taps, s.Taps, s.Taps), target, tail);
    }

    /// <summary>
    /// dx = filters, read across, x patches of dy. Where the stride is not 1, the pixels of dx fall into phases by their place modulo the stride: each
    /// phase meets only some of the taps, and is a convolution of stride 1 with those.
    /// </summary>
    public static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        var maps = new ChannelMaps<T>(dy.Pointer<T>(), s.Outputs, s.Y.Output, s.X.Output);
        for (int phase = 0; phase < s.Y.Stride * s.X.Stride; phase++)
        {
            int top = phase / s.X.Stride, left = phase % s.X.Stride;
            var grid = new Grid(s.Batch, (s.Y.Input - top + s.Y.Stride - 1) / s.Y.Stride, (s.X.Input - left + s.X.Stride - 1) / s.X.Stride, 1, 1);
            if (grid.Rows <= 0 || grid.Columns <= 0)
                continue;
            using var taps = new TapList(device, s.Taps);
            for (int tap = 0; tap < s.Taps; tap++)
            {
                int down = top + s.Y.Padding - tap / s.X.Kernel * s.Y.Dilation, right = left + s.X.Padding - tap % s.X.Kernel * s.X.Dilation;
                if (down % s.Y.Stride == 0 && right % s.X.Stride == 0)
                    taps.Add(tap, down / s.Y.Stride, right / s.X.Stride);
            }
            var target = new Target<T>(dx.Pointer<T>(), s.Channels, s.Y.Input, s.X.Input, top, left, s.Y.Stride, s.X.Stride);
            Convolve(device, maps, grid, taps, new ChannelFilters<T>(weight.Pointer<T>(), s.Taps, (nint)s.Channels * s.Taps, s.Taps), target, new(bias));
        }
    }

    private static void Convolve<T>(ComputeDevice device, in ChannelMaps<T> maps, in Grid grid, in TapList taps, in ChannelFilters<T> filters, in Target<T> target, in ConvolutionTail tail) where T : unmanaged
    {
        if (Vector512.IsHardwareAccelerated)
            Convolve<T, Simd512<T>>(device, maps, grid, taps, filters, target, tail);
        else if (Vector256.IsHardwareAccelerated)
            Convolve<T, Simd256<T>>(device, maps, grid, taps, filters, target, tail);
        else
            Convolve<T, Simd128<T>>(device, maps, grid, taps, filters, target, tail);
    }

    private static void Convolve<T, L>(ComputeDevice device, in ChannelMaps<T> maps, in Grid grid, in TapList taps, in ChannelFilters<T> filters, in Target<T> target, in ConvolutionTail tail)
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        var patches = new Patches<T, L>(grid, maps.Channels, taps.Count);
        var block = device.Memory.Rent(patches.Length * sizeof(T), null);
        for (int row = 0; row < grid.AllRows; row += patches.Rows)
        {
            int rows = Math.Min(patches.Rows, grid.AllRows - row);
            var gathering = new GatherWork<T, L>(device, maps, grid, taps, row, rows, (T*)block.Address, patches);
            device.RunWork(gathering.Items, ref gathering);
            var product = new ProductWork<T, L>(device, (T*)block.Address, patches, maps.Channels, filters, taps, grid, row, rows, target, tail);
            device.RunWork(product.Items, ref product);
        }
        device.Memory.Return(block);
    }

    /// <summary>Where the pixels of a grid lie in the maps that are written.</summary>
    private readonly struct Target<T>(T* data, int channels, int height, int width, int top, int left, int strideY, int strideX) where T : unmanaged
    {
        public readonly T* Data = data;
        public readonly int Channels = channels, Width = width, Top = top, Left = left, StrideY = strideY, StrideX = strideX;
        public readonly nint Plane = (nint)height * width;

        public bool IsDense => StrideY == 1 && StrideX == 1;
    }

    /// <summary>One work item: two vectors of output channels of some pixels, from the filters to the finished maps.</summary>
    private struct ProductWork<T, L>(
        ComputeDevice device, T* matrix, Patches<T, L> patches, int channels, ChannelFilters<T> filters, TapList taps, Grid grid, int row, int rows, Target<T> target, ConvolutionTail tail) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Pixels whose sums are held at once: eight tiles of twelve.</summary>
        private const int PixelsAtOnce = 96;

        private readonly int panels = (target.Channels + 2 * L.Width - 1) / (2 * L.Width), pixels = rows * grid.Columns;

        /// <summary>Few panels are shared out by pixels as well; each part packs the filters for itself.</summary>
        private readonly int Parts => Math.Clamp(8 / panels, 1, (pixels + PixelsAtOnce - 1) / PixelsAtOnce);

        public readonly int Items => panels * Parts;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (panel, part) = Math.DivRem(item, Parts);
            int lanes = 2 * L.Width, first = panel * lanes, count = Math.Min(lanes, target.Channels - first), height = PackedProduct.PanelRows<T, L>();
            int blocks = (pixels + PixelsAtOnce - 1) / PixelsAtOnce;
            int start = (int)((long)blocks * part / Parts) * PixelsAtOnce, end = Math.Min(pixels, (int)((long)blocks * (part + 1) / Parts) * PixelsAtOnce);
            int turnedRows = Math.Max(PixelsAtOnce, ChannelFilters<T>.Chunk * filters.Taps);
            var scratch = device.Memory.Rent(((long)patches.Depth + PixelsAtOnce + 11 + turnedRows) * lanes * sizeof(T), null);
            T* panelOfFilters = (T*)scratch.Address, sums = panelOfFilters + patches.Depth * lanes, turned = sums + (PixelsAtOnce + 11) * lanes;
            Pack(panelOfFilters, turned, first, count);
            for (int p = start; p < end; p += PixelsAtOnce)
            {
                int take = Math.Min(PixelsAtOnce, end - p);
                for (int k = 0; k == 0 || k < patches.Depth; k += Depth)
                {
                    for (int i = 0; i < take; i += height)
                    {
                        TileKernel.Run<T, L>(
                            Math.Min(height, take - i), count > L.Width, matrix + (nint)(p + i) * patches.Pitch + k, patches.Pitch, 1,
                            panelOfFilters + k * lanes, lanes, Math.Min(Depth, patches.Depth - k), sums + i * lanes, k == 0);
                    }
                }
                Finish(sums, turned, row * grid.Columns + p, take, first, count);
            }
            device.Memory.Return(scratch);
        }

        /// <summary>Filters as rows [tap][input channel] of output channels.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Pack(T* panel, T* rows, int first, int count)
        {
            int lanes = 2 * L.Width;
            if (channels < patches.Channels)
                new Span<T>(panel, patches.Depth * lanes).Clear();
            for (int k = 0; k < channels; k += ChannelFilters<T>.Chunk)
            {
                int chunk = Math.Min(ChannelFilters<T>.Chunk, channels - k);
                filters.Turn(first, count, k, chunk, rows, lanes);
                for (int t = 0; t < taps.Count; t++)
                {
                    L* from = (L*)(rows + taps.Tap(t) * lanes), to = (L*)(panel + ((nint)t * patches.Channels + k) * lanes);
                    for (int c = 0; c < chunk; c++, from += 2 * filters.Taps, to += 2)
                        (to[0], to[1]) = (from[0], from[1]);
                }
            }
        }

        /// <summary>Sums [pixel][channel] to maps.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Finish(T* sums, T* turned, int pixel, int pixels, int first, int count)
        {
            int lanes = 2 * L.Width, plane = grid.Rows * grid.Columns;
            while (pixels > 0)
            {
                var (image, start) = Math.DivRem(pixel, plane);
                int run = Math.Min(pixels, plane - start);
                nint at = ((nint)image * target.Channels + first) * target.Plane;
                if (target.IsDense)
                {
                    Transposition.Run(sums, lanes, target.Data + at + start, target.Plane, run, count);
                    tail.Finish<T, L>(target.Data, at + start, target.Plane, first, count, run);
                }
                else
                {
                    Transposition.Run(sums, lanes, turned, PixelsAtOnce, run, count);
                    tail.Finish<T, L>(turned, 0, PixelsAtOnce, first, count, run);
                    for (int c = 0; c < count; c++)
                        Scatter(turned + c * PixelsAtOnce, target.Data + at + c * target.Plane, start, run);
                }
                sums += run * lanes;
                (pixel, pixels) = (pixel + run, pixels - run);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Scatter(T* from, T* map, int start, int count)
        {
            var (y, x) = Math.DivRem(start, grid.Columns);
            for (; count > 0; y++, x = 0)
            {
                int run = Math.Min(count, grid.Columns - x);
                T* to = map + (nint)(target.Top + y * target.StrideY) * target.Width + target.Left + x * target.StrideX;
                for (int i = 0; i < run; i++, to += target.StrideX)
                    *to = from[i];
                from += run;
                count -= run;
            }
        }
    }
}
