using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// 3 x 3 convolutions of stride 1 and their gradients by minimal filtering on the CPU's direct path, float32: tiles of four by four outputs take 36
/// multiplications for each pair of channels instead of 144. Maps become 36 matrices [tile, channel], filters 36 matrices [channel, channel]; their 36
/// products become outputs. Lanes are channels throughout, so that no transform has edges; maps are transposed on the way in and out. Each product is
/// transformed back while it is in the cache. Sums run over channels (over tiles, for the filters' gradient) in order, whatever the number of workers.
/// </summary>
internal static unsafe partial class Winograd
{
    /// <summary>Outputs along a side of a tile, and the inputs that they read.</summary>
    private const int Step = 4, Side = 6;

    private const int Points = Side * Side;

    /// <summary>The most elements of transformed maps that are held at once: they stay in the last-level cache.</summary>
    private const int Capacity = 2 << 20;

    /// <summary>Below these the transforms outweigh what the products save.</summary>
    private const int LeastChannels = 16, LeastTiles = 4;

    /// <summary>Whether minimal filtering is expected to be the faster way for the outputs of this shape and its gradients.</summary>
    public static bool Serves(in Conv2dShape s)
    {
        if (s.Groups != 1 || s.Channels < LeastChannels || s.Outputs < LeastChannels || !IsPlain(s.Y) || !IsPlain(s.X))
            return false;
        return Pays(s.Batch, s.Y.Output, s.X.Output) && Pays(s.Batch, s.Y.Input, s.X.Input);
    }

    private static bool IsPlain(ConvAxis a) => a.Kernel == 3 && a.Stride == 1 && a.Dilation == 1 && a.Padding <= 2;

    /// <summary>Whether at least half of what full tiles would save is saved.</summary>
    private static bool Pays(int batch, int height, int width)
    {
        var tiles = new Tiles(batch, height, width);
        return tiles.Columns * (long)tiles.Rows * batch >= LeastTiles && tiles.Columns <= 256 && 9L * height * width >= 2L * Points * tiles.Rows * tiles.Columns;
    }

    /// <summary>y = tail(x * weight).</summary>
    public static void Forward(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y)
    {
        var filters = new ChannelFilters<float>(weight.Pointer<float>(), s.Channels * 9, 9, 9);
        Convolve(device, new(new(x.Pointer<float>(), s.Channels, s.Y.Input, s.X.Input), s.Y.Padding, s.X.Padding), filters, reversed: false,
            s.Batch, new(y.Pointer<float>(), s.Outputs, s.Y.Output, s.X.Output), tail);
    }

    /// <summary>dx of dy and weight: a convolution of dy with the filters read across and backwards.</summary>
    public static void InputGradient(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx)
    {
        var filters = new ChannelFilters<float>(weight.Pointer<float>(), 9, s.Channels * 9, 9);
        Convolve(device, new(new(dy.Pointer<float>(), s.Outputs, s.Y.Output, s.X.Output), 2 - s.Y.Padding, 2 - s.X.Padding), filters, reversed: true,
            s.Batch, new(dx.Pointer<float>(), s.Channels, s.Y.Input, s.X.Input), new(bias));
    }

    private static void Convolve(
        ComputeDevice device, in Padded from, in ChannelFilters<float> filters, bool reversed, int batch, in ChannelMaps<float> to, in ConvolutionTail tail)
    {
        if (Vector512.IsHardwareAccelerated)
            Convolve<Simd512<float>>(device, from, filters, reversed, new(batch, to.Height, to.Width), to, tail);
        else if (Vector256.IsHardwareAccelerated)
            Convolve<Simd256<float>>(device, from, filters, reversed, new(batch, to.Height, to.Width), to, tail);
        else
            Convolve<Simd128<float>>(device, from, filters, reversed, new(batch, to.Height, to.Width), to, tail);
    }

    private static void Convolve<L>(
        ComputeDevice device, in Padded from, in ChannelFilters<float> filters, bool reversed, Tiles tiles, in ChannelMaps<float> to, in ConvolutionTail tail) where L : unmanaged, ILane<L, float>
    {
        int channels = from.Maps.Channels;
        var bands = new Bands(tiles, channels);
        var matrices = new Matrices(bands.Rows * tiles.Columns, channels);
        var block = device.Memory.Rent(matrices.Length * sizeof(float), null);
        float* transformed = (float*)block.Address;
        for (int row = 0; row < tiles.AllRows; row += bands.Rows)
        {
            int rows = Math.Min(bands.Rows, tiles.AllRows - row);
            Transform<L, WinogradTransforms.Image>(device, from, tiles, row, rows, transformed, matrices);
            var work = new ProductWork<L>(device, transformed, matrices, channels, filters, reversed, to, tiles, row, rows, tail);
            device.RunWork(work.Items, ref work);
        }
        device.Memory.Return(block);
    }

    private static void Transform<L, F>(ComputeDevice device, in Padded maps, in Tiles tiles, int row, int rows, float* to, in Matrices matrices)
        where L : unmanaged, ILane<L, float> where F : struct, ISquareTransform
    {
        var work = new MapWork<L, F>(device, maps, tiles, row, rows, to, matrices);
        device.RunWork(work.Items, ref work);
    }

    /// <summary>Rounds up to a number of cache lines that is odd: what lies such a stride apart falls into different sets of a cache.</summary>
    private static long Apart(long elements) => ((elements + 15) / 16 | 1) * 16;

    /// <summary>Maps with a border of zeros above and on the left; as wide as needed elsewhere.</summary>
    private readonly struct Padded(ChannelMaps<float> maps, int padY, int padX)
    {
        public readonly ChannelMaps<float> Maps = maps;
        public readonly int PadY = padY, PadX = padX;
    }

    /// <summary>Tiles that cover maps; rows of tiles are counted through the batch.</summary>
    private readonly struct Tiles(int batch, int height, int width)
    {
        public readonly int Rows = (height + Step - 1) / Step, Columns = (width + Step - 1) / Step;
        public readonly int AllRows = batch * ((height + Step - 1) / Step);
    }

    /// <summary>Rows of tiles that are transformed and multiplied together: equally many in each band, all if they fit.</summary>
    private readonly struct Bands
    {
        public readonly int Rows;

        public Bands(in Tiles tiles, int channels)
        {
            long row = (long)Points * tiles.Columns * channels;
            int most = (int)Math.Max(1, Capacity / row), count = (tiles.AllRows + most - 1) / most;
            Rows = (tiles.AllRows + count - 1) / count;
        }
    }

    /// <summary>36 matrices [tile, channel] one after the other.</summary>
    private readonly struct Matrices(int tiles, int channels)
    {
        /// <summary>From one tile to the next.</summary>
        public readonly nint Pitch = (nint)Apart(channels);

        /// <summary>From one matrix to the next; a last tile may be read as if eleven more followed.</summary>
        public readonly nint Stride = (nint)Apart((tiles + 11) * Apart(channels));

        public long Length => (long)Points * Stride;
    }

    /// <summary>One work item: a vector of channels of a few rows of tiles.</summary>
    private struct MapWork<L, F>(ComputeDevice device, Padded maps, Tiles tiles, int row, int rows, float* to, Matrices matrices) : IWork
        where L : unmanaged, ILane<L, float> where F : struct, ISquareTransform
    {
        /// <summary>Tiles of an item at the least: some ten microseconds of work.</summary>
        private const int TilesPerItem = 128;

        private readonly int groups = (maps.Maps.Channels + L.Width - 1) / L.Width, rowsPerItem = Math.Max(1, Math.Min(rows, TilesPerItem / tiles.Columns));

        public readonly int Items => groups * ((rows + rowsPerItem - 1) / rowsPerItem);

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (part, group) = Math.DivRem(item, groups);
            int start = part * rowsPerItem, end = Math.Min(start + rowsPerItem, rows), channel = group * L.Width;
            int pixels = tiles.Columns * Step + F.Inputs - Step, pitch = pixels * L.Width;
            var scratch = device.Memory.Rent((F.Inputs * (long)pitch + Points * L.Width) * sizeof(float), null);
            float* half = (float*)scratch.Address, cells = half + Points * L.Width;
            new Span<float>(cells, F.Inputs * pitch).Clear();
            for (int r = start; r < end; r++)
            {
                var (image, tileRow) = Math.DivRem(row + r, tiles.Rows);
                int kept = r > start && tileRow > 0 ? F.Inputs - Step : 0;
                if (kept > 0)
                    new Span<float>(cells + Step * pitch, kept * pitch).CopyTo(new Span<float>(cells, kept * pitch));
                for (int i = kept; i < F.Inputs; i++)
                    maps.Maps.Fill(cells + i * pitch, pixels, L.Width, image, channel, tileRow * Step - maps.PadY + i, -maps.PadX);
                float* into = to + (nint)r * tiles.Columns * matrices.Pitch + channel;
                for (int t = 0; t < tiles.Columns; t++, into += matrices.Pitch)
                    WinogradTransforms.Square<L, F>(cells + t * Step * L.Width, pitch, L.Width, half, into, Side * matrices.Stride, matrices.Stride);
            }
            device.Memory.Return(scratch);
        }
    }

    /// <summary>One work item: two vectors of output channels of some rows of tiles, from the filters' transform to the finished maps.</summary>
    private struct ProductWork<L>(
        ComputeDevice device, float* left, Matrices matrices, int channels, ChannelFilters<float> filters, bool reversed, ChannelMaps<float> to, Tiles tiles, int row, int rows, ConvolutionTail tail) : IWork
        where L : unmanaged, ILane<L, float>
    {
        /// <summary>Channels whose transformed filters are held at once, and tiles whose products are: both stay in the second-level cache.</summary>
        private const int Depth = 256, TilesInCache = 64;

        private readonly int panels = (to.Channels + 2 * L.Width - 1) / (2 * L.Width), depth = Math.Min(channels, Depth);
        private readonly int rowsAtOnce = Math.Max(1, Math.Min(rows, TilesInCache / tiles.Columns));
        private readonly nint filterStride = (nint)Apart(Math.Min(channels, Depth) * 2L * L.Width);
        private readonly nint productStride = (nint)Apart((Math.Max(1, Math.Min(rows, TilesInCache / tiles.Columns)) * tiles.Columns + 11) * 2L * L.Width);

        /// <summary>Few panels are shared out by rows as well; each part transforms the filters for itself.</summary>
        private readonly int Parts => Math.Clamp(4 / panels, 1, (rows + rowsAtOnce - 1) / rowsAtOnce);

        public readonly int Items => panels * Parts;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (panel, part) = Math.DivRem(item, Parts);
            int lanes = 2 * L.Width, first = panel * lanes, count = Math.Min(lanes, to.Channels - first);
            int start = (int)((long)rows * part / Parts), end = (int)((long)rows * (part + 1) / Parts);
            long outputs = Math.Max((long)Step * Step * tiles.Columns, 9 * ChannelFilters<float>.Chunk) * lanes;
            var scratch = device.Memory.Rent((Points * (long)(filterStride + productStride) + outputs + Points * L.Width) * sizeof(float), null);
            float* transformed = (float*)scratch.Address, products = transformed + Points * filterStride, pixels = products + Points * productStride;
            for (int r = start; r < end; r += rowsAtOnce)
            {
                int take = Math.Min(rowsAtOnce, end - r);
                for (int k = 0; k < channels; k += Depth)
                {
                    int deep = Math.Min(Depth, channels - k);
                    if (r == start || channels > Depth)
                        TransformFilters(first, count, k, deep, transformed, pixels, pixels + outputs);
                    Multiply(left + (nint)r * tiles.Columns * matrices.Pitch + k, take * tiles.Columns, deep, count > L.Width, transformed, products, k == 0);
                }
                for (int i = 0; i < take; i++)
                    Finish(products + (nint)i * tiles.Columns * lanes, row + r + i, first, count, pixels, pixels + outputs);
            }
            device.Memory.Return(scratch);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void TransformFilters(int first, int count, int k, int deep, float* transformed, float* taps, float* half)
        {
            int lanes = 2 * L.Width;
            // Read across, filters are turned about: the gradient flows from a tap's output back to its input.
            int start = (reversed ? 8 : 0) * lanes, across = reversed ? -lanes : lanes, used = count > L.Width ? lanes : L.Width;
            for (int p = 0; p < deep; p += ChannelFilters<float>.Chunk)
            {
                int chunk = Math.Min(ChannelFilters<float>.Chunk, deep - p);
                filters.Turn(first, count, k + p, chunk, taps, lanes);
                for (int i = 0; i < chunk; i++)
                {
                    float* into = transformed + (p + i) * lanes;
                    for (int v = 0; v < used; v += L.Width)
                        WinogradTransforms.Square<L, WinogradTransforms.Filter>(taps + i * 9 * lanes + start + v, 3 * across, across, half, into + v, Side * filterStride, filterStride);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Multiply(float* tile, int count, int deep, bool two, float* transformed, float* products, bool fresh)
        {
            int lanes = 2 * L.Width, height = PackedProduct.PanelRows<float, L>();
            for (int point = 0; point < Points; point++)
            {
                float* a = tile + point * matrices.Stride, b = transformed + point * filterStride, c = products + point * productStride;
                for (int t = 0; t < count; t += height)
                    TileKernel.Run<float, L>(Math.Min(height, count - t), two, a + t * matrices.Pitch, matrices.Pitch, 1, b, lanes, deep, c + t * lanes, fresh);
            }
        }

        /// <summary>Products of one row of tiles to rows of pixels [pixel][channel], and these to the maps.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Finish(float* products, int tileRow, int first, int count, float* pixels, float* half)
        {
            int lanes = 2 * L.Width, used = count > L.Width ? lanes : L.Width;
            nint pitch = (nint)tiles.Columns * Step * lanes;
            for (int t = 0; t < tiles.Columns; t++)
            {
                for (int v = 0; v < used; v += L.Width)
                {
                    WinogradTransforms.Square<L, WinogradTransforms.Output>(
                        products + t * lanes + v, Side * productStride, productStride, half, pixels + t * Step * lanes + v, pitch, lanes);
                }
            }
            var (image, line) = Math.DivRem(tileRow, tiles.Rows);
            line *= Step;
            for (int i = 0; i < Step && line + i < to.Height; i++)
            {
                nint at = ((nint)image * to.Channels + first) * to.Plane + (nint)(line + i) * to.Width;
                Transposition.Run(pixels + i * pitch, lanes, to.Data + at, to.Plane, to.Width, count);
                tail.Finish<float, L>(to.Data, at, to.Plane, first, count, to.Width);
            }
        }
    }
}
