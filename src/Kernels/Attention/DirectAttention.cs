using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// Attention on the CPU's direct path, over the tiles of <see cref="TileKernel"/>: a work item takes a block of queries through one block of keys after the other, whose panels it
/// packs once, a few queries at a time, so that their scores never leave the first-level cache. How keys are blocked depends on sizes and caches alone.
/// </summary>
internal static unsafe class DirectAttention
{
    /// <summary>The most and the fewest queries of a work item: many share the packing of keys, few share out well.</summary>
    private const int MostQueries = 384, FewestQueries = 48;

    public static void Run<T>(ComputeDevice device, in AttentionArguments<T> arguments) where T : unmanaged
    {
        if (Vector512.IsHardwareAccelerated)
            Run<T, Simd512<T>>(device, arguments);
        else if (Vector256.IsHardwareAccelerated)
            Run<T, Simd256<T>>(device, arguments);
        else
            Run<T, Simd128<T>>(device, arguments);
    }

    private static void Run<T, L>(ComputeDevice device, in AttentionArguments<T> arguments) where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        int rows = PackedProduct.PanelRows<T, L>(), width = PackedProduct.PanelColumns<T, L>();
        // Scores and weights of one panel of queries fill three quarters of the first-level cache.
        int keys = Even(arguments.S, CacheSizes.Level1 * 3 / 4 / (2 * rows * sizeof(T)), width);
        int wanted = (4 * device.Team.MaxDegreeOfParallelism + arguments.Batch - 1) / arguments.Batch;
        int blocks = Math.Max((arguments.L + MostQueries - 1) / MostQueries, Math.Min(wanted, arguments.L / FewestQueries));
        var work = new ForwardWork<T, L>(device, arguments, Math.Max(1, blocks), keys);
        device.RunWork(work.Items, ref work);
    }

    /// <summary>The size of equal blocks of at most so many, in whole panels.</summary>
    public static int Even(int n, int most, int panel)
    {
        most = Math.Max(panel, most / panel * panel);
        int blocks = (n + most - 1) / most;
        return Up((n + blocks - 1) / blocks, panel);
    }

    public static int Up(int n, int multiple) => (n + multiple - 1) / multiple * multiple;

    /// <summary>Packs rows of a matrix as panels of neighbouring rows, [panel][column][row]: the right operand of a product with the transposed matrix.</summary>
    public static void PackRows<T>(T* from, int stride, int rows, int columns, int width, T* to) where T : unmanaged
    {
        var source = new StridedPanels<T>(from, stride, 1, 0);
        for (int i = 0; i < rows; i += width)
            source.Pack(to + (nint)i * columns, width, 0, 0, columns, i, Math.Min(width, rows - i));
    }

    /// <summary>to = scale · rows, one after the other, each filled up with zeros to whole panels: either operand of a product.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Copy<T, L>(T* from, nint stride, int rows, int columns, L scale, T* to) where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        L zero = L.Constant(0);
        int wide = Up(columns, PackedProduct.PanelColumns<T, L>()), whole = columns & -L.Width;
        for (int i = 0; i < rows; i++, from += stride, to += wide)
        {
            for (int j = 0; j < whole; j += L.Width)
                *(L*)(to + j) = scale * *(L*)(from + j);
            for (int j = whole; j < wide; j += L.Width)
                *(L*)(to + j) = j < columns ? scale * Load(from + j, columns - j, zero) : zero;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Load<T, L>(T* from, int remaining, L fill) where T : unmanaged where L : unmanaged, ILane<L, T> => L.Load(Direct.View(from, remaining), 0, remaining, fill);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T, L>(T* to, int remaining, L value) where T : unmanaged where L : unmanaged, ILane<L, T> => L.Store(Direct.View(to, remaining), 0, remaining, value);

    /// <summary>Scores plus their mask, whose numbers are neighbours or all the same.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L Masked<T, L>(L scores, T* mask, int step, int column, int remaining) where T : unmanaged where L : unmanaged, ILane<L, T> =>
        scores + (step == 0 ? L.Splat(*mask) : Load(mask + column, remaining, scores));

    /// <summary>One item: one block of queries of one batch.</summary>
    private struct ForwardWork<T, L>(ComputeDevice device, AttentionArguments<T> arguments, int blocks, int keys) : IWork where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        private readonly int rows = PackedProduct.PanelRows<T, L>(), width = PackedProduct.PanelColumns<T, L>(), valueWidth = Up(arguments.V, PackedProduct.PanelColumns<T, L>());

        public readonly int Items => arguments.Batch * blocks;

        public void Execute(int item)
        {
            var (batch, block) = Math.DivRem(item, blocks);
            int panels = (arguments.L + rows - 1) / rows, top = (int)((long)panels * block / blocks), count = (int)((long)panels * (block + 1) / blocks) - top;
            int queryWidth = Up(arguments.E, width);
            long size = (long)keys * (arguments.E + valueWidth) + 2L * rows * keys + rows * queryWidth + (long)count * rows * (valueWidth + 2);
            var scratch = device.Memory.Rent(size * sizeof(T), null);
            try
            {
                T* keyPanels = (T*)scratch.Address, values = keyPanels + (nint)keys * arguments.E, tiles = values + (nint)keys * valueWidth;
                T* weights = tiles + rows * keys, query = weights + rows * keys, sums = query + rows * queryWidth, largest = sums + (nint)count * rows * valueWidth, totals = largest + count * rows;
                for (int key = 0; key < arguments.S; key += keys)
                {
                    int n = Math.Min(keys, arguments.S - key);
                    PackRows(arguments.Key.Pointer(batch, arguments.Inner, key), arguments.Key.Row, n, arguments.E, width, keyPanels);
                    Copy(arguments.Value.Pointer(batch, arguments.Inner, key), arguments.Value.Row, n, arguments.V, L.Constant(1), values);
                    for (int i = 0; i < count; i++)
                    {
                        int row = (top + i) * rows, height = Math.Min(rows, arguments.L - row);
                        Copy(arguments.Query.Pointer(batch, arguments.Inner, row), arguments.Query.Row, height, arguments.E, L.Splat(arguments.Scale), query);
                        for (int j = 0; j < n; j += width)
                            TileKernel.Run<T, L>(height, n - j > L.Width, query, queryWidth, 1, keyPanels + j * arguments.E, width, arguments.E, tiles + j * rows, true);
                        for (int r = 0; r < height; r++)
                            Weigh(batch, row + r, key, n, tiles + r * width, weights + r * keys, largest + i * rows + r, totals + i * rows + r, sums + ((nint)i * valueWidth * rows + r * width));
                        for (int j = 0; j < arguments.V; j += width)
                            TileKernel.Run<T, L>(height, arguments.V - j > L.Width, weights, keys, 1, values + j, valueWidth, n, sums + ((nint)i * valueWidth + j) * rows, key == 0);
                    }
                }
                for (int i = 0; i < count; i++)
                    Finish(batch, (top + i) * rows, sums + (nint)i * valueWidth * rows, largest + i * rows, totals + i * rows);
            }
            finally
            {
                device.Memory.Return(scratch);
            }
        }

        /// <summary>The exponentials of a row of scores, after the largest of all so far, by which what was summed before is lessened.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Weigh(int batch, int row, int key, int n, T* scores, T* weights, T* largest, T* total, T* sums)
        {
            L low = L.Constant(double.NegativeInfinity), top = low;
            T* mask = (arguments.Flags & 1) != 0 ? arguments.Mask.Pointer(batch, arguments.Inner, row) + key * arguments.Mask.Column : null;
            int beside = rows * width, whole = n & -L.Width;
            for (int j = 0; j < n; j += L.Width)
            {
                T* at = scores + j / width * beside + (j & (width - 1));
                L score = *(L*)at;
                if (mask is not null)
                    score = Masked(score, mask, arguments.Mask.Column, j, n - j);
                if (j >= whole)
                    score = L.IfLess(L.Ramp(), L.Constant(n - j), score, low);
                if (mask is not null || j >= whole)
                    *(L*)at = score;
                top = L.Max(top, score);
            }
            L before = key == 0 ? low : L.Splat(*largest), now = L.Max(before, L.Splat(L.Largest(top))), zero = L.Constant(0), sum = zero;
            // Where all scores are -infinity, their differences would be no numbers.
            L shift = L.IfEqual(now, low, zero, now);
            for (int j = 0; j < n; j += L.Width)
            {
                var weight = Elementary.ExpOfNegative<L, T>(*(L*)(scores + j / width * beside + (j & (width - 1))) - shift);
                sum += weight;
                *(L*)(weights + j) = weight;
            }
            sum = L.Splat(L.Sum(sum));
            if (key > 0)
            {
                var shrink = Elementary.ExpOfNegative<L, T>(before - shift);
                sum = L.MultiplyAdd(L.Splat(*total), shrink, sum);
                for (int j = 0; j < valueWidth; j += L.Width)
                {
                    T* at = sums + j / width * beside + (j & (width - 1));
                    *(L*)at = *(L*)at * shrink;
                }
            }
            *largest = L.First(now);
            *total = L.First(sum);
        }

        /// <summary>Divides a panel of sums by their totals, and takes them out.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Finish(int batch, int row, T* sums, T* largest, T* totals)
        {
            var (output, logSums) = (arguments.Output, arguments.LogSums);
            for (int r = 0; r < rows && row + r < arguments.L; r++)
            {
                int line = batch * arguments.L + row + r;
                L total = L.Splat(totals[r]), scale = L.Constant(1) / total, top = L.Splat(largest[r]);
                for (int j = 0; j < arguments.V; j += L.Width)
                    L.Store(output, line * arguments.V + j, arguments.V - j, *(L*)(sums + j / width * (rows * width) + r * width + (j & (width - 1))) * scale);
                if ((arguments.Flags & 2) != 0)
                    L.At(logSums, line) = L.First(L.IfEqual(top, L.Constant(double.NegativeInfinity), L.Constant(0), top) + Elementary.Log<L, T>(total));
            }
        }
    }
}
