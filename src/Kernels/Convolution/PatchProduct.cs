using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// Convolutions of many channels and their gradients as products with a matrix of patches [pixel, tap, channel], on the CPU's direct path. With channels
/// last, a patch is copied by whole vectors at any stride, dilation and padding, and every operand of the products is read where it lies. The matrix is
/// made for as many rows of pixels as stay in the last-level cache. Sums run over taps and channels (over pixels, for the filters' gradient) in order.
/// </summary>
internal static unsafe class PatchProduct
{
    /// <summary>The most elements of patches that are held at once.</summary>
    private const int Capacity = 2 << 20;

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

    /// <summary>dweight = maps of dy x patches of x.</summary>
    public static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        using TapList taps = new(device, s.Taps), single = new(device, 1);
        for (int tap = 0; tap < s.Taps; tap++)
            taps.Add(tap, tap / s.X.Kernel * s.Y.Dilation - s.Y.Padding, tap % s.X.Kernel * s.X.Dilation - s.X.Padding);
        single.Add(0, 0, 0);
        var images = new ChannelMaps<T>(x.Pointer<T>(), s.Channels, s.Y.Input, s.X.Input);
        var gradients = new ChannelMaps<T>(dy.Pointer<T>(), s.Outputs, s.Y.Output, s.X.Output);
        var grid = new Grid(s.Batch, s.Y.Output, s.X.Output, s.Y.Stride, s.X.Stride);
        if (Vector512.IsHardwareAccelerated)
            Correlate<T, Simd512<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
        else if (Vector256.IsHardwareAccelerated)
            Correlate<T, Simd256<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
        else
            Correlate<T, Simd128<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
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

    private static void Correlate<T, L>(ComputeDevice device, in ChannelMaps<T> images, in Grid grid, in TapList taps, in ChannelMaps<T> gradients, in TapList single, T* dweight)
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        var own = new Grid(grid.Batch, grid.Rows, grid.Columns, 1, 1);
        var patches = new Patches<T, L>(grid, images.Channels, taps.Count);
        var pixels = new Patches<T, L>(own, gradients.Channels, 1);
        int band = Math.Min(patches.Rows, pixels.Rows);
        var block = device.Memory.Rent((patches.Length + pixels.Length) * sizeof(T), null);
        T* right = (T*)block.Address, left = right + patches.Length;
        var blocks = new CorrelationBlocks<T, L>(gradients.Channels, images.Channels, taps.Count);
        bool several = band < grid.AllRows;
        var sums = several ? device.Memory.Rent(blocks.Items * blocks.Length * sizeof(T), null) : null;
        for (int row = 0; row < grid.AllRows; row += band)
        {
            int rows = Math.Min(band, grid.AllRows - row);
            var gathering = new GatherWork<T, L>(device, images, grid, taps, row, rows, right, patches);
            device.RunWork(gathering.Items, ref gathering);
            var turning = new GatherWork<T, L>(device, gradients, own, single, row, rows, left, pixels);
            device.RunWork(turning.Items, ref turning);
            var work = new CorrelationWork<T, L>(
                device, blocks, left, pixels.Pitch, right, patches, rows * grid.Columns, several ? (T*)sums!.Address : null, row == 0, row + rows == grid.AllRows, dweight);
            device.RunWork(blocks.Items, ref work);
        }
        device.Memory.Return(block);
        if (sums is not null)
            device.Memory.Return(sums);
    }

    /// <summary>The pixels that patches are made for, and how far apart they lie in the maps that are read. Rows are counted through the batch.</summary>
    private readonly struct Grid(int batch, int rows, int columns, int strideY, int strideX)
    {
        public readonly int Batch = batch, Rows = rows, Columns = columns, StrideY = strideY, StrideX = strideX;

        public int AllRows => Batch * Rows;
    }

    /// <summary>Where the pixels of a grid lie in the maps that are written.</summary>
    private readonly struct Target<T>(T* data, int channels, int height, int width, int top, int left, int strideY, int strideX) where T : unmanaged
    {
        public readonly T* Data = data;
        public readonly int Channels = channels, Width = width, Top = top, Left = left, StrideY = strideY, StrideX = strideX;
        public readonly nint Plane = (nint)height * width;

        public bool IsDense => StrideY == 1 && StrideX == 1;
    }

    /// <summary>The taps that a patch holds: which of the filter, and where they lie in the maps, seen from the pixel's place.</summary>
    private struct TapList(ComputeDevice device, int capacity) : IDisposable
    {
        private readonly MemoryBlock block = device.Memory.Rent(3L * sizeof(int) * capacity, null, isTable: true);

        public int Count { get; private set; }

        public int Top { get; private set; }

        public int Bottom { get; private set; }

        public int Left { get; private set; }

        public int Right { get; private set; }

        private readonly int* At(int i) => (int*)block.Address + 3 * i;

        public readonly int Tap(int i) => At(i)[0];

        public readonly int Down(int i) => At(i)[1] - Top;

        public readonly int Across(int i) => At(i)[2] - Left;

        public void Add(int tap, int down, int across)
        {
            (Top, Bottom) = Count == 0 ? (down, down) : (Math.Min(Top, down), Math.Max(Bottom, down));
            (Left, Right) = Count == 0 ? (across, across) : (Math.Min(Left, across), Math.Max(Right, across));
            int* at = At(Count++);
            (at[0], at[1], at[2]) = (tap, down, across);
        }

        public readonly void Dispose() => device.Memory.Return(block);
    }

    /// <summary>The matrix of patches [pixel][tap][channel], channels filled up with zeros to whole vectors.</summary>
    private readonly struct Patches<T, L> where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Elements of a tap, of a patch, and from one patch to the next.</summary>
        public readonly int Channels, Depth, Pitch;

        /// <summary>Rows of pixels that are held at once: equally many in each band.</summary>
        public readonly int Rows;

        public readonly long Length;

        public Patches(in Grid grid, int channels, int taps)
        {
            Channels = (channels + L.Width - 1) / L.Width * L.Width;
            Depth = Channels * taps;
            // An odd number of cache lines: neighbouring patches then fall into different sets of a cache.
            Pitch = ((Math.Max(Depth, 1) + 15) / 16 | 1) * 16;
            int most = (int)Math.Max(1, Capacity / ((long)Pitch * grid.Columns)), bands = (grid.AllRows + most - 1) / most;
            Rows = (grid.AllRows + bands - 1) / bands;
            // The last tile of a product may read as if eleven more pixels followed.
            Length = ((long)Rows * grid.Columns + 11) * Pitch;
        }
    }

    /// <summary>One work item: the patches of a few rows of pixels.</summary>
    private struct GatherWork<T, L>(ComputeDevice device, ChannelMaps<T> maps, Grid grid, TapList taps, int row, int rows, T* to, Patches<T, L> patches) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Vectors that an item copies at the least: some ten microseconds of work.</summary>
        private const int VectorsPerItem = 8192;

        private readonly int rowsPerItem = Math.Clamp(VectorsPerItem / Math.Max(1, grid.Columns * patches.Depth / L.Width), 1, rows);

        public readonly int Items => (rows + rowsPerItem - 1) / rowsPerItem;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int start = item * rowsPerItem, end = Math.Min(start + rowsPerItem, rows), channels = patches.Channels;
            int lines = taps.Bottom - taps.Top + 1, cellsOfRow = (grid.Columns - 1) * grid.StrideX + taps.Right - taps.Left + 1, pitch = cellsOfRow * channels;
            var scratch = device.Memory.Rent((long)lines * pitch * sizeof(T) + taps.Count * sizeof(nint), null);
            T* cells = (T*)scratch.Address;
            nint* offsets = (nint*)(cells + lines * pitch);
            for (int t = 0; t < taps.Count; t++)
                offsets[t] = taps.Down(t) * pitch + taps.Across(t) * channels;
            new Span<T>(cells, lines * pitch).Clear();
            for (int r = start; r < end; r++)
            {
                var (image, line) = Math.DivRem(row + r, grid.Rows);
                int kept = r > start && line > 0 ? Math.Max(0, lines - grid.StrideY) : 0;
                if (kept > 0)
                    new Span<T>(cells + grid.StrideY * pitch, kept * pitch).CopyTo(new Span<T>(cells, kept * pitch));
                for (int i = kept; i < lines; i++)
                    maps.Fill(cells + i * pitch, cellsOfRow, channels, image, 0, line * grid.StrideY + taps.Top + i, taps.Left);
                T* patch = to + (nint)r * grid.Columns * patches.Pitch;
                for (int c = 0; c < grid.Columns; c++, patch += patches.Pitch)
                {
                    T* from = cells + c * grid.StrideX * channels, into = patch;
                    for (int t = 0; t < taps.Count; t++, into += channels)
                        for (int i = 0; i < channels; i += L.Width)
                            *(L*)(into + i) = *(L*)(from + offsets[t] + i);
                }
            }
            device.Memory.Return(scratch);
        }
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

    /// <summary>How the products [output, channel] of the taps are cut into work items.</summary>
    private readonly struct CorrelationBlocks<T, L> where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        public readonly int Outputs, Channels, Taps, Rows, Columns, RowBlocks, ColumnBlocks;

        public CorrelationBlocks(int outputs, int channels, int taps)
        {
            (Outputs, Channels, Taps, Columns) = (outputs, channels, taps, 2 * L.Width);
            int height = PackedProduct.PanelRows<T, L>();
            RowBlocks = (outputs + MostRows - 1) / MostRows;
            Rows = ((outputs + RowBlocks - 1) / RowBlocks + height - 1) / height * height;
            RowBlocks = (outputs + Rows - 1) / Rows;
            ColumnBlocks = (channels + Columns - 1) / Columns;
        }

        /// <summary>Outputs of an item at the most.</summary>
        private const int MostRows = 48;

        public int Items => RowBlocks * ColumnBlocks;

        /// <summary>From the sums of one tap to those of the next; a tile may have eleven rows too many.</summary>
        public int Stride => (Rows + 11) * Columns;

        /// <summary>Elements of the sums of one item.</summary>
        public long Length => (long)Taps * Stride;
    }

    /// <summary>One work item: the filters from two vectors of channels to some outputs, summed over the pixels of a band.</summary>
    private struct CorrelationWork<T, L>(
        ComputeDevice device, CorrelationBlocks<T, L> blocks, T* left, int leftPitch, T* right, Patches<T, L> patches, int pixels, T* sums, bool first, bool last, T* dweight)
        : IWork where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (block, column) = Math.DivRem(item, blocks.ColumnBlocks);
            int output = block * blocks.Rows, channel = column * blocks.Columns, height = PackedProduct.PanelRows<T, L>();
            int rows = Math.Min(blocks.Rows, blocks.Outputs - output), count = Math.Min(blocks.Columns, blocks.Channels - channel);
            var scratch = device.Memory.Rent(blocks.Length * sizeof(T), null);
            T* products = sums is null ? (T*)scratch.Address : sums + item * blocks.Length;
            for (int p = 0; p == 0 || p < pixels; p += Depth)
            {
                for (int tap = 0; tap < blocks.Taps; tap++)
                {
                    T* a = left + (nint)p * leftPitch + output, b = right + (nint)p * patches.Pitch + tap * patches.Channels + channel, c = products + tap * blocks.Stride;
                    for (int r = 0; r < rows; r += height)
                    {
                        TileKernel.Run<T, L>(
                            Math.Min(height, rows - r), count > L.Width, a + r, 1, leftPitch, b, patches.Pitch, Math.Min(Depth, pixels - p), c + r * blocks.Columns, first && p == 0);
                    }
                }
            }
            for (int r = 0; last && r < rows; r++)
                Transposition.Run(products + r * blocks.Columns, blocks.Stride, dweight + ((nint)(output + r) * blocks.Channels + channel) * blocks.Taps, blocks.Taps, blocks.Taps, count);
            device.Memory.Return(scratch);
        }
    }
}
