using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// The gradients of attention on the CPU's direct path. A work item takes one block of queries and one of keys: it computes their weights and derivatives anew, which stay in
/// the second-level cache, and adds what they give to the gradients of both. In each round every block is in one item at most, and meets another one than in the rounds before,
/// so that items share nothing and sums have an order, whatever the number of workers.
/// </summary>
internal static unsafe class DirectAttentionGradient
{
    /// <summary>Keys whose sums are computed together: their weights of one query lie in one line of the cache.</summary>
    private const int KeysTogether = 8;

    /// <param name="device">Where.</param>
    /// <param name="arguments">As forward's; the output's place has the products of its rows with their gradients.</param>
    /// <param name="gradient">Of the output.</param>
    /// <param name="query">Where its gradient goes; null if it is not wanted.</param>
    /// <param name="key">Likewise.</param>
    /// <param name="value">Likewise.</param>
    public static void Run<T>(ComputeDevice device, in AttentionArguments<T> arguments, AttentionRows<T> gradient, Slice? query, Slice? key, Slice? value) where T : unmanaged
    {
        if (Vector512.IsHardwareAccelerated)
            Run<T, Simd512<T>>(device, arguments, gradient, query, key, value);
        else if (Vector256.IsHardwareAccelerated)
            Run<T, Simd256<T>>(device, arguments, gradient, query, key, value);
        else
            Run<T, Simd128<T>>(device, arguments, gradient, query, key, value);
    }

    private static void Run<T, L>(ComputeDevice device, in AttentionArguments<T> arguments, AttentionRows<T> gradient, Slice? query, Slice? key, Slice? value)
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        // Weights and derivatives fill half of the second-level cache.
        int most = (int)Math.Sqrt(CacheSizes.Level2 / (4 * sizeof(T)));
        int queries = DirectAttention.Even(arguments.L, most, PackedProduct.PanelRows<T, L>()), keys = DirectAttention.Even(arguments.S, most, PackedProduct.PanelColumns<T, L>());
        int rounds = Math.Max((arguments.L + queries - 1) / queries, (arguments.S + keys - 1) / keys);
        for (int round = 0; round < rounds; round++)
        {
            var work = new GradientWork<T, L>(device, arguments, gradient, Pointer(query), Pointer(key), Pointer(value), queries, keys, rounds, round);
            device.RunWork(arguments.Batch * rounds, ref work);
        }

        static T* Pointer(Slice? slice) => slice is { } given ? given.Pointer<T>() : null;
    }

    /// <summary>One item: one block of queries, and the block of keys that it meets in this round, if there are both.</summary>
    private struct GradientWork<T, L>(
        ComputeDevice device, AttentionArguments<T> arguments, AttentionRows<T> gradient, T* queryGradient, T* keyGradient, T* valueGradient, int queries, int keys, int rounds, int round) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        private readonly int rows = PackedProduct.PanelRows<T, L>(), width = PackedProduct.PanelColumns<T, L>();

        public void Execute(int item)
        {
            var (batch, block) = Math.DivRem(item, rounds);
            int other = block + round < rounds ? block + round : block + round - rounds, query = block * queries, key = other * keys;
            if (query >= arguments.L || key >= arguments.S)
                return;
            int count = Math.Min(queries, arguments.L - query), n = Math.Min(keys, arguments.S - key), inner = arguments.Inner, e = arguments.E, v = arguments.V;
            int wideE = DirectAttention.Up(e, width), wideV = DirectAttention.Up(v, width), line = keys + width;
            long size = (long)keys * (e + v + wideE) + (long)queries * (wideE + wideV) + 2L * queries * line + 2 * rows * width;
            var scratch = device.Memory.Rent(size * sizeof(T), null);
            try
            {
                T* keyPanels = (T*)scratch.Address, valuePanels = keyPanels + (nint)keys * e, keyRows = valuePanels + (nint)keys * v, queryRows = keyRows + (nint)keys * wideE;
                T* gradientRows = queryRows + (nint)queries * wideE, weights = gradientRows + (nint)queries * wideV, derivatives = weights + (nint)queries * line;
                T* scores = derivatives + (nint)queries * line, products = scores + rows * width, keyAt = arguments.Key.Pointer(batch, inner, key);
                L scale = L.Splat(arguments.Scale);
                // With the scale in the queries, it is in their scores and in the key's gradient; the query's gets it with the keys.
                DirectAttention.Copy(arguments.Query.Pointer(batch, inner, query), arguments.Query.Row, count, e, scale, queryRows);
                DirectAttention.Copy(gradient.Pointer(batch, inner, query), gradient.Row, count, v, L.Constant(1), gradientRows);
                DirectAttention.PackRows(keyAt, arguments.Key.Row, n, e, width, keyPanels);
                DirectAttention.PackRows(arguments.Value.Pointer(batch, inner, key), arguments.Value.Row, n, v, width, valuePanels);
                if (queryGradient is not null)
                    DirectAttention.Copy(keyAt, arguments.Key.Row, n, e, scale, keyRows);
                // A block's first round is 0, or where there are more of its kind than of the other, the one in which a block of those comes to it.
                int queryBlocks = (arguments.L + queries - 1) / queries, keyBlocks = (arguments.S + keys - 1) / keys;
                bool firstOfQuery = round == (block < keyBlocks ? 0 : rounds - block), firstOfKey = round == (other < queryBlocks ? 0 : other - queryBlocks + 1);
                for (int i = 0; i < count; i += rows)
                {
                    int height = Math.Min(rows, count - i);
                    for (int j = 0; j < n; j += width)
                    {
                        TileKernel.Run<T, L>(height, n - j > L.Width, queryRows + (nint)i * wideE, wideE, 1, keyPanels + j * e, width, e, scores, true);
                        TileKernel.Run<T, L>(height, n - j > L.Width, gradientRows + (nint)i * wideV, wideV, 1, valuePanels + j * v, width, v, products, true);
                        Derive(batch, query + i, height, key + j, n - j, scores, products, weights + (nint)i * line + j, derivatives + (nint)i * line + j);
                    }
                    for (int j = 0; j < e && queryGradient is not null; j += width)
                    {
                        Prepare(height, e - j, queryGradient + ((nint)batch * arguments.L + query + i) * e + j, e);
                        TileKernel.Run<T, L>(height, e - j > L.Width, derivatives + (nint)i * line, line, 1, keyRows + j, wideE, n, scores, true);
                        Add(scores, height, e - j, queryGradient + ((nint)batch * arguments.L + query + i) * e + j, e, firstOfQuery);
                    }
                }
                if (valueGradient is not null)
                    AddTransposed(weights, line, n, gradientRows, count, v, scores, valueGradient + ((nint)batch * arguments.S + key) * v, firstOfKey);
                if (keyGradient is not null)
                    AddTransposed(derivatives, line, n, queryRows, count, e, scores, keyGradient + ((nint)batch * arguments.S + key) * e, firstOfKey);
            }
            finally
            {
                device.Memory.Return(scratch);
            }
        }

        /// <summary>The weights of up to a panel of keys for a panel of queries, and the derivatives by their scores.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Derive(int batch, int row, int height, int key, int n, T* scores, T* products, T* weights, T* derivatives)
        {
            var (logSums, own, side, line) = (arguments.LogSums, arguments.Output, PackedProduct.PanelColumns<T, L>(), keys + width);
            int first = batch * arguments.L + row, step = arguments.Mask.Column;
            bool isMasked = (arguments.Flags & 1) != 0;
            for (int r = 0; r < height; r++, scores += side, products += side, weights += line, derivatives += line)
            {
                L logSum = L.Splat(L.At(logSums, first + r)), mean = L.Splat(L.At(own, first + r));
                T* mask = isMasked ? arguments.Mask.Pointer(batch, arguments.Inner, row + r) + key * step : null;
                for (int j = 0; j < Math.Min(n, side); j += L.Width)
                {
                    L score = *(L*)(scores + j);
                    if (isMasked)
                        score = DirectAttention.Masked(score, mask, step, j, n - j);
                    var weight = Elementary.ExpOfNegative<L, T>(score - logSum);
                    *(L*)(weights + j) = weight;
                    *(L*)(derivatives + j) = weight * (*(L*)(products + j) - mean);
                }
            }
        }

        /// <summary>Adds the transposed of a block's numbers, [query][key], times rows of the queries, which are as long as whole panels.</summary>
        private readonly void AddTransposed(T* block, int line, int n, T* factor, int count, int columns, T* tile, T* to, bool fresh)
        {
            int stride = DirectAttention.Up(columns, width), most = Math.Min(rows, KeysTogether);
            for (int i = 0; i < n; i += most)
            {
                int height = Math.Min(most, n - i);
                for (int j = 0; j < columns; j += width)
                {
                    Prepare(height, columns - j, to + (nint)i * columns + j, columns);
                    TileKernel.Run<T, L>(height, columns - j > L.Width, block + i, 1, line, factor + j, stride, count, tile, true);
                    Add(tile, height, columns - j, to + (nint)i * columns + j, columns, fresh);
                }
            }
        }

        /// <summary>Fetches the memory that a tile of sums goes to, while they are computed.</summary>
        private readonly void Prepare(int height, int columns, T* to, nint stride)
        {
            for (int r = 0; r < height; r++, to += stride)
                Direct.Prefetch(Direct.View(to, width), 0, Math.Min(columns, width));
        }

        /// <summary>Takes a tile of sums to rows, or adds it to them.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Add(T* tile, int height, int columns, T* to, nint stride, bool fresh)
        {
            int side = PackedProduct.PanelColumns<T, L>();
            for (int r = 0; r < height; r++, tile += side, to += stride)
            {
                for (int j = 0; j < Math.Min(columns, side); j += L.Width)
                {
                    L sum = *(L*)(tile + j);
                    DirectAttention.Store(to + j, columns - j, fresh ? sum : sum + DirectAttention.Load(to + j, columns - j, sum));
                }
            }
        }
    }
}
