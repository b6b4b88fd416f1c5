using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TransferEngine.Kernels;

/// <summary>
/// The blocked product of the CPU's direct path, after BLIS: the operands are read in place where they lie well and are packed into panels of a few
/// lines where they do not, and <see cref="TileKernel"/> multiplies panel by panel, one slice of K after the other, so that a panel of B stays in the
/// first-level cache and a block of A in the second. Where an operand comes from (a matrix, the patches of an image) and where the sums go (row-major,
/// bias, activation, NCHW) are type parameters. A sum runs over K in order, whatever the blocks and the number of workers.
/// </summary>
internal static unsafe class PackedProduct
{
    /// <summary>The lines of a full panel of A: as many as the registers hold sums for.</summary>
    public static int PanelRows<T, L>() where T : unmanaged where L : unmanaged, ILane<L, T> =>
        sizeof(L) == 64 || (sizeof(L) == 32 && Avx512F.VL.IsSupported) || AdvSimd.IsSupported ? 12 : 6;

    /// <summary>The lines of a full panel of B.</summary>
    public static int PanelColumns<T, L>() where T : unmanaged where L : unmanaged, ILane<L, T> => 2 * L.Width;

    /// <summary>As <see cref="Run{T, L, A, B, O}"/> with the widest vectors of the machine.</summary>
    public static void Run<T, A, B, O>(ComputeDevice device, in MatMulShape shape, A left, B right, O output)
        where T : unmanaged where A : struct, IPanelSource<T> where B : struct, IPanelSource<T> where O : struct, IOutput<T>
    {
        if (Vector512.IsHardwareAccelerated)
            Run<T, Simd512<T>, A, B, O>(device, shape, left, right, output);
        else if (Vector256.IsHardwareAccelerated)
            Run<T, Simd256<T>, A, B, O>(device, shape, left, right, output);
        else
            Run<T, Simd128<T>, A, B, O>(device, shape, left, right, output);
    }

    /// <summary>Stores the products of all rows of <paramref name="left"/> with all columns of <paramref name="right"/> through <paramref name="output"/>.</summary>
    public static void Run<T, L, A, B, O>(ComputeDevice device, in MatMulShape shape, A left, B right, O output)
        where T : unmanaged where L : unmanaged, ILane<L, T> where A : struct, IPanelSource<T> where B : struct, IPanelSource<T> where O : struct, IOutput<T>
    {
        var plan = new ProductPlan(shape, PanelRows<T, L>(), PanelColumns<T, L>(), sizeof(T), device.Team.MaxDegreeOfParallelism);
        bool packsLeft = !(left.TryPlace(0, out _, out nint line, out nint step) && plan.ReadsLeftInPlace(shape, line, step));
        bool packsRight = !(right.TryPlace(0, out _, out line, out step) && line == 1 && plan.ReadsRightInPlace(shape));
        // What several work items read is packed once, before them; what one item alone reads, it packs itself, slice by slice.
        bool leftFirst = packsLeft && (plan.ColumnBlocks > 1 || left.IsShared && shape.Batch > 1);
        bool rightFirst = packsRight && (plan.RowBlocks > 1 || right.IsShared && shape.Batch > 1);
        MemoryBlock? leftPanels = null, rightPanels = null;
        try
        {
            if (leftFirst)
                leftPanels = device.Memory.Rent((long)plan.RowPanels * plan.PanelRows * shape.K * sizeof(T), null);
            // A right operand too large for the last-level cache is packed and multiplied one slab of columns after the other.
            int slab = rightFirst ? plan.SlabPanels(shape) : plan.ColumnPanels;
            if (rightFirst)
                rightPanels = device.Memory.Rent((long)slab * plan.PanelColumns * shape.K * sizeof(T), null);
            T* packedLeft = leftPanels is null ? null : (T*)leftPanels.Address, packedRight = rightPanels is null ? null : (T*)rightPanels.Address;
            int batches = plan.BatchesTogether(shape);
            for (int batch = 0; batch < shape.Batch; batch += batches)
            {
                for (int first = 0; first < plan.ColumnPanels; first += slab)
                {
                    int panels = Math.Min(slab, plan.ColumnPanels - first);
                    bool packLeft = leftFirst && first == 0 && (batch == 0 || !left.IsShared), packRight = rightFirst && (batch == 0 || slab < plan.ColumnPanels || !right.IsShared);
                    if (packLeft || packRight)
                    {
                        var packing = new PackWork<T, A, B>(shape, plan, batch, first, packLeft ? plan.RowPanels : 0, packRight ? panels : 0, left, right, packedLeft, packedRight);
                        device.RunWork(packing.Items, ref packing);
                    }
                    var work = new ProductWork<T, L, A, B, O>(device, shape, plan, batch, Math.Min(batches, shape.Batch - batch), first, panels, left, right, output, packedLeft, packedRight, packsLeft, packsRight);
                    device.RunWork(work.Items, ref work);
                }
            }
        }
        finally
        {
            if (leftPanels is not null)
                device.Memory.Return(leftPanels);
            if (rightPanels is not null)
                device.Memory.Return(rightPanels);
        }
    }

    /// <summary>Packs both operands, or one: [slice of K][panel][element along K][line of the panel].</summary>
    private struct PackWork<T, A, B>(MatMulShape shape, ProductPlan plan, int batch, int firstColumnPanel, int rowPanels, int columnPanels, A left, B right, T* packedLeft, T* packedRight) : IWork
        where T : unmanaged where A : struct, IPanelSource<T> where B : struct, IPanelSource<T>
    {
        /// <summary>The numbers that one item packs: a few microseconds of work.</summary>
        private const int ItemSize = 1 << 14;

        private const int RowsTogether = 16;

        private readonly int leftGroup = Math.Max(1, ItemSize / (plan.PanelRows * plan.Depth)), rightGroup = Math.Max(1, ItemSize / (plan.PanelColumns * plan.Depth));

        private readonly int LeftItems => (rowPanels + leftGroup - 1) / leftGroup * plan.Slices;

        public readonly int Items => LeftItems + (columnPanels + rightGroup - 1) / rightGroup * plan.Slices;

        public void Execute(int item)
        {
            if (item < LeftItems)
                Pack(left, packedLeft, item, leftGroup, 0, rowPanels, plan.PanelRows, shape.M);
            else
                Pack(right, packedRight, item - LeftItems, rightGroup, firstColumnPanel, columnPanels, plan.PanelColumns, shape.N);
        }

        private void Pack<S>(S source, T* packed, int item, int group, int firstPanel, int panels, int width, int lines) where S : struct, IPanelSource<T>
        {
            var (slice, begin) = Math.DivRem(item, (panels + group - 1) / group);
            int k = slice * plan.Depth, depth = Math.Min(plan.Depth, shape.K - k), end = Math.Min((begin + 1) * group, panels);
            // Where lines lie side by side, a few elements along K of all panels come first: they are one stretch of memory.
            int rows = source.TryPlace(batch, out _, out nint line, out _) && line == 1 ? RowsTogether : depth;
            for (int p = 0; p < depth; p += rows)
            {
                for (int panel = begin * group; panel < end; panel++)
                {
                    int first = (firstPanel + panel) * width;
                    T* to = packed + PanelAt(panel, panels, width, k, depth) + p * width;
                    source.Pack(to, width, batch, k + p, Math.Min(rows, depth - p), first, Math.Min(width, lines - first));
                }
            }
        }
    }

    private static nint PanelAt(int panel, int panels, int width, int k, int depth) => (nint)width * ((nint)panels * k + (nint)panel * depth);

    /// <summary>One item computes one block of rows and columns of one product, or several whole small products.</summary>
    private struct ProductWork<T, L, A, B, O>(
        ComputeDevice device, MatMulShape shape, ProductPlan plan, int firstBatch, int batches, int firstColumnPanel, int columnPanels, A left, B right, O output,
        T* packedLeft, T* packedRight, bool packsLeft, bool packsRight) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T> where A : struct, IPanelSource<T> where B : struct, IPanelSource<T> where O : struct, IOutput<T>
    {
        private readonly int columnBlocks = Math.Min(plan.ColumnBlocks, columnPanels);

        public readonly int Items => (batches + plan.Group - 1) / plan.Group * plan.RowBlocks * columnBlocks;

        [SkipLocalsInit]
        public void Execute(int item)
        {
            var (rest, rowBlock) = Math.DivRem(item, plan.RowBlocks);
            var (group, columnBlock) = Math.DivRem(rest, columnBlocks);
            // Blocks of panels whose numbers differ by one at most.
            int top = (int)((long)rowBlock * plan.RowPanels / plan.RowBlocks), bottom = (int)((long)(rowBlock + 1) * plan.RowPanels / plan.RowBlocks);
            int begin = (int)((long)columnBlock * columnPanels / columnBlocks), end = (int)((long)(columnBlock + 1) * columnPanels / columnBlocks);
            int tileSize = PanelRows<T, L>() * PanelColumns<T, L>();
            // With one slice of K, one tile at a time is enough.
            T* space = stackalloc T[tileSize + sizeof(L) / sizeof(T)];
            var block = new Block(top, bottom, begin, end, (T*)(((nint)space + sizeof(L) - 1) & -sizeof(L)), null, null);
            long tiles = plan.Slices > 1 ? (long)(bottom - top) * (end - begin) * tileSize : 0;
            long rows = packsLeft && packedLeft is null ? (long)(bottom - top) * PanelRows<T, L>() * plan.Depth : 0;
            long columns = packedRight is null && (packsRight || shape.N % PanelColumns<T, L>() != 0) ? (long)PanelColumns<T, L>() * plan.Depth : 0;
            var scratch = tiles + rows + columns > 0 ? device.Memory.Rent((tiles + rows + columns) * sizeof(T), null) : null;
            if (scratch is not null)
            {
                T* at = (T*)scratch.Address;
                block = new Block(top, bottom, begin, end, tiles > 0 ? at : block.Sums, at + tiles, at + tiles + rows);
            }
            for (int batch = firstBatch + group * plan.Group, last = Math.Min(batch + plan.Group, firstBatch + batches); batch < last; batch++)
                Multiply(batch, block);
            if (scratch is not null)
                device.Memory.Return(scratch);
        }

        /// <summary>The panels of a block, and where its sums and the panels that it packs itself are.</summary>
        private readonly struct Block(int top, int bottom, int begin, int end, T* sums, T* rows, T* columns)
        {
            public readonly int Top = top, Bottom = bottom, Begin = begin, End = end;
            public readonly T* Sums = sums, Rows = rows, Columns = columns;
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Multiply(int batch, in Block block)
        {
            int rows = PanelRows<T, L>(), columns = PanelColumns<T, L>(), tileSize = rows * columns;
            nint aLine = 1, aStep = rows, bLine = 1, bStep = columns;
            T* placeLeft = null, placeRight = null;
            if (!packsLeft)
                left.TryPlace(batch, out placeLeft, out aLine, out aStep);
            if (!packsRight)
                right.TryPlace(batch, out placeRight, out bLine, out bStep);
            for (int k = 0; k == 0 || k < shape.K; k += plan.Depth)
            {
                int depth = Math.Min(plan.Depth, shape.K - k);
                bool last = k + plan.Depth >= shape.K;
                T* aPanels = packedLeft is not null ? packedLeft + PanelAt(block.Top, plan.RowPanels, rows, k, depth) : block.Rows;
                nint aNext = (nint)rows * depth;
                if (!packsLeft)
                {
                    aPanels = placeLeft + block.Top * rows * aLine + k * aStep;
                    aNext = rows * aLine;
                }
                else if (packedLeft is null)
                    PackRows(batch, k, depth, block);
                for (int j = block.Begin; j < block.End; j++)
                {
                    int column = (firstColumnPanel + j) * columns, width = Math.Min(columns, shape.N - column);
                    T* b = block.Columns;
                    nint width2 = columns;
                    if (packedRight is not null)
                    {
                        b = packedRight + PanelAt(j, columnPanels, columns, k, depth);
                    }
                    else if (!packsRight && width == columns)
                    {
                        b = placeRight + column + k * bStep;
                        width2 = bStep;
                    }
                    else
                    {
                        right.Pack(b, columns, batch, k, depth, column, width);
                    }
                    int top = shape.LowerTriangle ? Math.Max(block.Top, column / rows) : block.Top;
                    T* tile = block.Sums + (plan.Slices > 1 ? ((nint)(j - block.Begin) * (block.Bottom - block.Top) + top - block.Top) * tileSize : 0);
                    T* a = aPanels + (top - block.Top) * aNext;
                    for (int i = top; i < block.Bottom; i++, a += aNext)
                    {
                        int height = Math.Min(rows, shape.M - i * rows);
                        for (int row = 0; last && row < height; row++)
                            output.Prepare(batch, i * rows + row, column, width);
                        TileKernel.Run<T, L>(height, width > L.Width, a, aLine, aStep, b, width2, depth, tile, k == 0, !packsLeft);
                        if (last)
                            Store(tile, batch, i * rows, height, column, width);
                        if (plan.Slices > 1)
                            tile += tileSize;
                    }
                }
            }
        }

        private void PackRows(int batch, int k, int depth, in Block block)
        {
            int rows = PanelRows<T, L>();
            for (int i = block.Top; i < block.Bottom; i++)
                left.Pack(block.Rows + (nint)(i - block.Top) * rows * depth, rows, batch, k, depth, i * rows, Math.Min(rows, shape.M - i * rows));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Store(T* tile, int batch, int row, int height, int column, int width)
        {
            for (int i = 0; i < height; i++, tile += 2 * L.Width)
            {
                output.Store(*(L*)tile, batch, row + i, column, width);
                if (width > L.Width)
                    output.Store(((L*)tile)[1], batch, row + i, column + L.Width, width - L.Width);
            }
        }
    }
}
