using ILGPU;
using ILGPU.Runtime;

namespace TransferEngine.Kernels;

/// <summary>
/// The tile of all products that are tuned for CUDA, described once: a group of 256 threads computes 128 x 128 sums, 16 deep along K at a time. Where warps compute,
/// the eight of them lie 2 x 4 over the tile, each with 64 x 32 sums: 4 x 4 fragments of 16 x 8. Numbers of both operands lie in shared memory as [k][line], lines exchanged
/// in blocks so that neither the threads that fill a tile nor those that read it meet in a bank.
/// </summary>
internal static class ProductTile
{
    public const int Side = 128, Depth = 16, Threads = 256;

    /// <summary>Numbers of an operand in a stage.</summary>
    public const int Numbers = Side * Depth;

    /// <summary>Stages of float32: a copy fills two while one is computed with; with three the 48 KiB that a kernel may have without asking are used up.</summary>
    public const int Stages = 3;

    /// <summary>Bytes of a stage of both operands, in float32 and in 16 bits.</summary>
    public const int StageBytes = 2 * 4 * Numbers, NarrowStageBytes = 2 * 2 * Numbers;

    /// <summary>Rows of sums that pass through shared memory at once on their way out, and the floats from one to the next.</summary>
    public const int SlabRows = 32, SlabStride = Side + 8;

    /// <summary>Passes until all rows are out.</summary>
    public const int Passes = Side / SlabRows;

    /// <summary>Floats of shared memory of a kernel of float32 stages, and of one of two narrow stages, whose slab is larger.</summary>
    public const int SharedFloats = Stages * StageBytes / 4, NarrowSharedFloats = SlabRows * SlabStride;

    /// <summary>The groups that a product takes.</summary>
    public static KernelConfig Groups(in MatMulShape shape) => new(shape.Batch * ((shape.M + Side - 1) / Side) * ((shape.N + Side - 1) / Side), Threads);

    /// <summary>Which block of eight lines takes the place of which at a depth, as a mask of 0 to 3: distinct for four depths that follow each other, and for every second of eight.</summary>
    public static int Swizzle(int k) => ((k >> 1) ^ (k << 1)) & 3;

    /// <summary>Bytes from a stage's start to a float32.</summary>
    public static int At(int k, int line) => 4 * (k * Side + (line ^ (8 * Swizzle(k))));

    /// <summary>Bytes from a stage's start to a number of 16 bits: its blocks of eight lines, 16 bytes, are exchanged over eight depths.</summary>
    public static int NarrowAt(int k, int line) => 2 * (k * Side + (line ^ (8 * (k & 7))));
}

/// <summary>An operand as a kernel's argument: so many lines along K, and where its data begins, for instructions that ILGPU knows no method of.</summary>
internal readonly struct ProductOperand<T, S>(S source, long address, int lines) where T : unmanaged where S : struct, ITileSource<T>
{
    public readonly S Source = source;
    public readonly long Address = address;
    public readonly int Lines = lines;

    /// <summary>1 where four neighbouring lines can be copied as one, of 16 bytes.</summary>
    public readonly int Wide = source.FoursTogether != 0 && address % 16 == 0 ? 1 : 0;
}

/// <summary>Where a group computes.</summary>
internal readonly struct TilePlace
{
    public readonly int Batch, Row, Column;

    public TilePlace(in ProductSizes sizes)
    {
        int rows = (sizes.M + ProductTile.Side - 1) / ProductTile.Side, columns = (sizes.N + ProductTile.Side - 1) / ProductTile.Side;
        int line = Grid.IdxX / columns;
        Column = (Grid.IdxX - line * columns) * ProductTile.Side;
        Batch = line / rows;
        Row = (line - Batch * rows) * ProductTile.Side;
    }
}
