using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <summary>
/// The blocked product of the CPU's direct path, after BLIS: A is packed once into panels of a few rows, each work item packs blocks of B that
/// stay in the second-level cache into panels of two vectors, and <see cref="TileKernel"/> multiplies panel by panel. Where an operand comes from
/// (a matrix, the patches of an image) and where the sums go (row-major, bias, activation, NCHW) are type parameters. A sum runs over K in order,
/// whatever the blocks and the number of workers.
/// </summary>
internal static unsafe class PackedProduct
{
    /// <summary>The most elements along K of one panel: a panel of B is then 32 KiB.</summary>
    public const int Depth = 256;

    /// <summary>Multiply-adds below which a work item is not split further: a few microseconds of work.</summary>
    private const long ItemWork = 1 << 18;

    /// <summary>The lines of a full panel of A.</summary>
    public static int PanelRows<T, L>() where T : unmanaged where L : unmanaged, ILane<L, T> => sizeof(L) == 64 ? 12 : 6;

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
        int rows = PanelRows<T, L>(), columns = PanelColumns<T, L>();
        var blocks = new ProductBlocks(shape, rows, columns);
        // Packing pays where a row panel is used often or lies scattered: a small matrix, or one with few columns to meet, is read in place.
        bool inPlace = left.TryPlace(0, out _, out _, out _) && ((long)shape.M * shape.K * sizeof(T) <= 48 << 10 || shape.N <= 2 * columns);
        MemoryBlock? packed = null;
        try
        {
            T* panels = null;
            if (!inPlace)
            {
                int matrices = left.IsShared ? 1 : shape.Batch;
                packed = device.Memory.Rent((long)matrices * blocks.RowPanels * rows * shape.K * sizeof(T), null);
                panels = (T*)packed.Address;
                var packing = new PackWork<T, A>(left, panels, shape, rows);
                device.RunWork(packing.ItemsOf(matrices), ref packing);
            }
            var work = new ProductWork<T, L, A, B, O>(device, shape, blocks, left, right, output, panels);
            device.RunWork(blocks.Items, ref work);
        }
        finally
        {
            if (packed is not null)
                device.Memory.Return(packed);
        }
    }

    /// <summary>How a batch of products is cut into work items; depends on the shape alone.</summary>
    private readonly struct ProductBlocks
    {
        public readonly int RowPanels, Rows, Columns, RowBlocks, ColumnBlocks, Group, Items;

        public ProductBlocks(in MatMulShape shape, int panelRows, int panelColumns)
        {
            RowPanels = (shape.M + panelRows - 1) / panelRows;
            int rowPanels = Math.Min(RowPanels, 40), columnPanels = Math.Min((shape.N + panelColumns - 1) / panelColumns, 8);
            while (true)
            {
                (Rows, Columns) = (rowPanels * panelRows, columnPanels * panelColumns);
                (RowBlocks, ColumnBlocks) = ((shape.M + Rows - 1) / Rows, (shape.N + Columns - 1) / Columns);
                if ((long)shape.Batch * RowBlocks * ColumnBlocks >= 16 || (long)Rows * Columns * shape.K < 2 * ItemWork)
                    break;
                if (columnPanels > 2)
                    columnPanels = (columnPanels + 1) / 2;
                else if (rowPanels > 4)
                    rowPanels = (rowPanels + 1) / 2;
                else
                    break;
            }
            long work = (long)shape.M * shape.N * Math.Max(shape.K, 1);
            Group = RowBlocks * ColumnBlocks > 1 ? 1 : (int)Math.Clamp(ItemWork / work, 1, shape.Batch);
            Items = (shape.Batch + Group - 1) / Group * RowBlocks * ColumnBlocks;
        }
    }

    /// <summary>Packs A: [matrix][block along K][panel][element along K][row of the panel].</summary>
    private struct PackWork<T, A>(A left, T* panels, MatMulShape shape, int width) : IWork where T : unmanaged where A : struct, IPanelSource<T>
    {
        private const int PanelsPerItem = 8;

        private readonly int perMatrix = (shape.M + width * PanelsPerItem - 1) / (width * PanelsPerItem), depths = (shape.K + Depth - 1) / Depth;

        public readonly int ItemsOf(int matrices) => matrices * depths * perMatrix;

        public void Execute(int item)
        {
            var (matrix, rest) = Math.DivRem(item, depths * perMatrix);
            var (block, group) = Math.DivRem(rest, perMatrix);
            int k = block * Depth, depth = Math.Min(Depth, shape.K - k), all = (shape.M + width - 1) / width;
            int end = Math.Min((group + 1) * PanelsPerItem, all);
            for (int panel = group * PanelsPerItem; panel < end; panel++)
            {
                left.Pack(panels + PanelAt(matrix, panel, all, width, k, depth, shape.K), width, matrix, k, depth, panel * width, Math.Min(width, shape.M - panel * width));
            }
        }
    }

    private static nint PanelAt(int matrix, int panel, int panels, int width, int k, int depth, int fullDepth) =>
        (nint)width * ((nint)matrix * panels * fullDepth + (nint)panels * k + (nint)panel * depth);

    /// <summary>One item computes one block of rows and columns of one product, or several whole small products.</summary>
    private struct ProductWork<T, L, A, B, O>(ComputeDevice device, MatMulShape shape, ProductBlocks blocks, A left, B right, O output, T* packed) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T> where A : struct, IPanelSource<T> where B : struct, IPanelSource<T> where O : struct, IOutput<T>
    {
        /// <summary>Row panels that are walked through for each panel of B before the next: they stay in the second-level cache.</summary>
        private const int PanelsInCache = 16;

        public void Execute(int item)
        {
            int rows = PanelRows<T, L>(), columns = PanelColumns<T, L>();
            int row = item % blocks.RowBlocks * blocks.Rows, rest = item / blocks.RowBlocks;
            int column = rest % blocks.ColumnBlocks * blocks.Columns, batch = rest / blocks.ColumnBlocks * blocks.Group;
            int depth = Math.Min(shape.K, Depth), tiles = shape.K > Depth ? blocks.Rows / rows * (blocks.Columns / columns) : 1;
            int tileSize = rows * columns, rightSize = depth * blocks.Columns;
            var scratch = device.Memory.Rent(((long)tiles * tileSize + rightSize + (packed is null ? depth * rows : 0)) * sizeof(T), null);
            T* sums = (T*)scratch.Address, panels = sums + tiles * tileSize;
            for (int end = Math.Min(batch + blocks.Group, shape.Batch); batch < end; batch++)
                Block(batch, row, Math.Min(row + blocks.Rows, shape.M), column, Math.Min(column + blocks.Columns, shape.N), sums, panels, panels + rightSize);
            device.Memory.Return(scratch);
        }

        private void Block(int batch, int row, int rowEnd, int column, int columnEnd, T* sums, T* panels, T* edge)
        {
            int rows = PanelRows<T, L>(), columns = PanelColumns<T, L>();
            bool inPlace = right.TryPlace(batch, out T* place, out nint line, out nint step) && line == 1
                && (rowEnd - row <= 4 * rows || Math.Min(shape.K, Depth) * step * sizeof(T) <= 64 << 10);
            nint strip = (nint)PanelsInCache * rows;
            for (int k = 0; k == 0 || k < shape.K; k += Depth)
            {
                int depth = Math.Min(Depth, shape.K - k);
                bool last = k + Depth >= shape.K;
                for (int top = row; top < rowEnd; top += (int)strip)
                {
                    for (int j = column; j < columnEnd; j += columns)
                    {
                        int width = Math.Min(columns, columnEnd - j);
                        bool direct = inPlace && width == columns;
                        T* b = direct ? place + k * step + j : panels + (nint)(j - column) * depth;
                        if (!direct && top == row)
                            right.Pack(b, columns, batch, k, depth, j, width);
                        for (int i = top; i < Math.Min(top + (int)strip, rowEnd); i += rows)
                        {
                            int height = Math.Min(rows, rowEnd - i);
                            T* tile = shape.K > Depth ? sums + ((nint)(i - row) / rows * (blocks.Columns / columns) + (j - column) / columns) * rows * columns : sums;
                            T* a = Rows(batch, k, depth, i, height, edge, out nint aLine, out nint aStep);
                            TileKernel.Run<T, L>(height, width > L.Width, a, aLine, aStep, b, direct ? step : columns, depth, tile, k == 0);
                            if (last)
                                Store(tile, batch, i, height, j, width);
                        }
                    }
                }
            }
        }

        /// <summary>Where the tile reads its rows of A: in the packed panels, in place, or, for the last rows in place, in a panel of their own.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private T* Rows(int batch, int k, int depth, int row, int height, T* edge, out nint line, out nint step)
        {
            int rows = PanelRows<T, L>();
            if (packed is null && height == rows)
            {
                left.TryPlace(batch, out T* start, out line, out step);
                return start + row * line + k * step;
            }
            (line, step) = (1, rows);
            if (packed is not null)
                return packed + PanelAt(left.IsShared ? 0 : batch, row / rows, blocks.RowPanels, rows, k, depth, shape.K);
            left.Pack(edge, rows, batch, k, depth, row, height);
            return edge;
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
