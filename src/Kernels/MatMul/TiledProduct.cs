using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>The side of a square work group; a constant, so that shared memory has a fixed size.</summary>
internal interface IGroupSide
{
    static abstract int Side { get; }
}

/// <summary>Groups of 256 threads and tiles of 64 x 64, for GPUs.</summary>
internal readonly struct Side16 : IGroupSide
{
    public static int Side => 16;
}

/// <summary>Groups of 64 threads and tiles of 32 x 32, for what would need too much shared memory with larger ones.</summary>
internal readonly struct Side8 : IGroupSide
{
    public static int Side => 8;
}

/// <summary>Groups of 16 threads and tiles of 16 x 16, for ILGPU's CPU accelerator.</summary>
internal readonly struct Side4 : IGroupSide
{
    public static int Side => 4;
}

/// <summary>One operand of a tiled product, seen as lines along K: the rows of A, the columns of B. Numbers need not lie in memory in that order, nor all be there.</summary>
internal interface ITileSource<T> where T : unmanaged
{
    /// <summary>1 where neighbours along K lie closer in memory than neighbouring lines, else 0.</summary>
    int RunsAlongK { get; }

    /// <summary>1 where four lines from a multiple of four on lie together, a multiple of four from where the data begins, else 0.</summary>
    int FoursTogether { get; }

    ArrayView<T> Data { get; }

    /// <summary>Where a number is in the data; -1 for one that is 0.</summary>
    int Place(int batch, int line, int k);
}

/// <summary>A matrix in memory with any strides.</summary>
internal readonly struct MatrixLines<T>(ArrayView<T> data, int line, int step, int batchStride) : ITileSource<T> where T : unmanaged
{
    private readonly ArrayView<T> data = data;
    private readonly int line = line, step = step, batchStride = batchStride;

    /// <summary>The rows of a left operand, or the columns of a right one.</summary>
    public MatrixLines(in Matrix matrix, bool isLeft)
        : this(matrix.Data.View<T>(), isLeft ? matrix.RowStride : matrix.ColumnStride, isLeft ? matrix.ColumnStride : matrix.RowStride, matrix.BatchStride)
    {
    }

    public int RunsAlongK => step == 1 ? 1 : 0;

    public int FoursTogether => line == 1 && step % 4 == 0 && batchStride % 4 == 0 ? 1 : 0;

    public ArrayView<T> Data => data;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Place(int batch, int line, int k) => batch * batchStride + line * this.line + k * step;
}

/// <summary>
/// One work group computes a tile of 4 sides by 4 sides. It brings strips of A and B, one side deep along K, to shared memory; each thread keeps
/// 4 x 4 sums in registers, one side apart, so that neighbours read and write neighbouring columns. Beyond <see cref="ReferenceProduct{T, O}"/>
/// it reads each number of A and B from memory once for a tile, not once for a sum.
/// </summary>
internal readonly struct TiledProduct<T, S, A, B, O>(ProductSizes sizes, A a, B b, O output) : IGroupKernel<T>
    where T : unmanaged where S : unmanaged, IGroupSide where A : struct, ITileSource<T> where B : struct, ITileSource<T> where O : struct, IOutput<T>
{
    private readonly ProductSizes sizes = sizes;
    private readonly A a = a;
    private readonly B b = b;
    private readonly O output = output;

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        var aStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var bStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        int tile = 4 * S.Side, tileRows = (sizes.M + tile - 1) / tile, tileColumns = (sizes.N + tile - 1) / tile;
        int group = Grid.IdxX, thread = Group.IdxX, line = group / tileColumns;
        int column = (group - line * tileColumns) * tile, batch = line / tileRows, row = (line - batch * tileRows) * tile;
        int ty = thread / S.Side, tx = thread - ty * S.Side;
        var sums = TileSums<L, T>.Zero();
        for (int k = 0; k < sizes.K; k += S.Side)
        {
            Fill<L, A>(aStrip, a, batch, thread, row, sizes.M, k);
            Fill<L, B>(bStrip, b, batch, thread, column, sizes.N, k);
            Group.Barrier();
            for (int p = 0; p < S.Side; p++)
                sums = sums.Add(aStrip, p * tile + ty, bStrip, p * tile + tx, S.Side);
            Group.Barrier();
        }
        StoreRow(batch, row + ty, column + tx, sums.Row0);
        StoreRow(batch, row + ty + S.Side, column + tx, sums.Row1);
        StoreRow(batch, row + ty + 2 * S.Side, column + tx, sums.Row2);
        StoreRow(batch, row + ty + 3 * S.Side, column + tx, sums.Row3);
    }

    /// <summary>Brings one side along K of the tile's lines to shared memory, [element along K][line], zeros past the end; neighbours read what lies closer.</summary>
    private void Fill<L, F>(ArrayView<T> strip, F from, int batch, int thread, int first, int lines, int k) where L : unmanaged, ILane<L, T> where F : struct, ITileSource<T>
    {
        int tile = 4 * S.Side, runsAlongK = from.RunsAlongK;
        for (int i = thread; i < tile * S.Side; i += S.Side * S.Side)
        {
            int across = i / S.Side, along = i / tile;
            int line = runsAlongK != 0 ? across : i - along * tile, p = runsAlongK != 0 ? i - across * S.Side : along;
            T value = L.First(L.Constant(0));
            int at = first + line < lines && k + p < sizes.K ? from.Place(batch, first + line, k + p) : -1;
            if (at >= 0)
                value = L.At(from.Data, at);
            strip[p * tile + line] = value;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void StoreRow<L>(int batch, int row, int column, in Four<L, T> c) where L : unmanaged, ILane<L, T>
    {
        if (row >= sizes.M)
            return;
        if (column < sizes.N)
            output.Store(c.X0, batch, row, column, 1);
        if (column + S.Side < sizes.N)
            output.Store(c.X1, batch, row, column + S.Side, 1);
        if (column + 2 * S.Side < sizes.N)
            output.Store(c.X2, batch, row, column + 2 * S.Side, 1);
        if (column + 3 * S.Side < sizes.N)
            output.Store(c.X3, batch, row, column + 3 * S.Side, 1);
    }
}
