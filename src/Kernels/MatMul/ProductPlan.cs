namespace TransferEngine.Kernels;

/// <summary>
/// How a batch of packed products is cut: along K into slices, so that a panel of B fits the first-level cache; the panels of rows and columns into
/// blocks, one a work item, whose part of A fits the second; and which operands are read in place. The order of a sum depends on none of it.
/// </summary>
internal readonly struct ProductPlan
{
    /// <summary>Multiply-adds below which a product is not shared out: about a microsecond of work.</summary>
    private const long SmallestShared = 1 << 16;

    /// <summary>Multiply-adds of a work item, where there is enough work: about ten microseconds.</summary>
    private const long ItemWork = 1 << 20;

    /// <summary>Work items a worker, at most, where blocks of any size serve the caches: enough to even out workers of different speed.</summary>
    private const int ItemsPerWorker = 8;

    public readonly int PanelRows, PanelColumns, RowPanels, ColumnPanels, RowBlocks, ColumnBlocks, Depth, Slices, Group;

    private readonly int size, workers;

    /// <param name="shape">The sizes of the products.</param>
    /// <param name="panelRows">The lines of a panel of A.</param>
    /// <param name="panelColumns">The lines of a panel of B.</param>
    /// <param name="size">The bytes of an element.</param>
    /// <param name="workers">The threads that share the work.</param>
    public ProductPlan(in MatMulShape shape, int panelRows, int panelColumns, int size, int workers)
    {
        (PanelRows, PanelColumns, this.size, this.workers) = (panelRows, panelColumns, size, workers);
        (RowPanels, ColumnPanels) = ((shape.M + panelRows - 1) / panelRows, (shape.N + panelColumns - 1) / panelColumns);
        // A panel of B leaves a quarter of the first-level cache to A and the sums.
        int deepest = Math.Clamp(CacheSizes.Level1 * 3 / 4 / (panelColumns * size), 64, 512);
        Slices = Math.Max(1, (shape.K + deepest - 1) / deepest);
        Depth = Math.Max(1, (shape.K + Slices - 1) / Slices);
        long work = (long)shape.M * shape.N * Math.Max(shape.K, 1);
        (RowBlocks, ColumnBlocks, Group) = (1, 1, 1);
        if (shape.Batch >= ItemsPerWorker * workers || work < SmallestShared)
        {
            Group = (int)Math.Clamp(ItemWork / work, 1, Math.Max(1, shape.Batch / workers));
            return;
        }
        int items = (int)Math.Clamp(work / ItemWork, workers, ItemsPerWorker * workers);
        // Either a slice of all of A stays in the second-level cache while columns come and go, or a slab of B in the last-level cache while rows do.
        bool keepsLeft = shape.M <= shape.N && (long)RowPanels * panelRows * Depth * size <= CacheSizes.Level2 * 9L / 16 && (long)shape.M * shape.K * size <= CacheSizes.Last / 4;
        if (keepsLeft)
        {
            // The sums of a block are kept there, too.
            int widest = Slices == 1 ? ColumnPanels : Math.Max(1, CacheSizes.Level2 / 4 / (RowPanels * panelRows * panelColumns * size));
            ColumnBlocks = Blocks(ColumnPanels, Math.Max(items, (ColumnPanels + widest - 1) / widest));
            RowBlocks = ColumnBlocks >= workers ? 1 : Blocks(RowPanels, (items + ColumnBlocks - 1) / ColumnBlocks);
        }
        else
        {
            int highest = Slices == 1 ? 16 : Math.Clamp(CacheSizes.Level2 / 2 / (Math.Min(ColumnPanels, SlabPanels(shape)) * panelRows * panelColumns * size), 1, 16);
            RowBlocks = Blocks(RowPanels, Math.Max(items, (RowPanels + highest - 1) / highest));
            ColumnBlocks = RowBlocks >= workers ? 1 : Blocks(ColumnPanels, (items + RowBlocks - 1) / RowBlocks);
        }
    }

    /// <summary>About as many blocks as wanted, at most one a panel, so many that the workers get equal shares.</summary>
    private int Blocks(int panels, int wanted)
    {
        if (wanted >= panels)
            return panels;
        int even = (wanted + workers - 1) / workers * workers;
        return even <= panels ? even : wanted;
    }

    /// <summary>How many products of the batch are one launch: all where each is a work item, else one.</summary>
    public int BatchesTogether(in MatMulShape shape) => RowBlocks * ColumnBlocks == 1 ? shape.Batch : 1;

    /// <summary>Whether A is best read where it lies.</summary>
    public bool ReadsLeftInPlace(in MatMulShape shape, nint line, nint step)
    {
        if ((long)shape.M * shape.K * size <= CacheSizes.Level1 * 2 || shape.N <= 2 * PanelColumns)
            return true;
        // Rows a multiple of a page apart fall into the same few sets of the first-level cache.
        nint apart = line * size % 4096;
        return step == 1 && shape.N <= 20 * PanelColumns && (shape.K * size <= 2048 || (apart >= 64 && apart <= 4096 - 64));
    }

    /// <summary>Whether B, whose lines lie side by side, is best read where it lies.</summary>
    public bool ReadsRightInPlace(in MatMulShape shape) =>
        shape.M <= 8 * PanelRows || (long)shape.N * shape.K * size <= CacheSizes.Level2 / 2;

    /// <summary>The panels of B that are packed at once: a quarter of the last-level cache, which others use as well.</summary>
    public int SlabPanels(in MatMulShape shape)
    {
        int slabs = (int)((long)ColumnPanels * PanelColumns * shape.K * size / (CacheSizes.Last / 4)) + 1;
        return (ColumnPanels + slabs - 1) / slabs;
    }
}
