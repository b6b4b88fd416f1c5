namespace TransferEngine.Kernels;

/// <summary>A matrix times its own transpose on the CPU's direct path: what is on and below the diagonal is computed, the rest is its mirror image, to the bit.</summary>
internal static unsafe class GramProduct
{
    /// <summary>The rows from which on half the work is worth a second pass over the result.</summary>
    private const int FewestRows = 192;

    /// <summary>The side of the squares that are mirrored: two of them fit the first-level cache.</summary>
    private const int Side = 64;

    /// <summary>Whether the product is one of a matrix with its own transpose, and large enough.</summary>
    public static bool Serves(in MatMulShape shape, in Matrix a, in Matrix b) =>
        shape.Batch == 1 && shape.M == shape.N && shape.M >= FewestRows && shape.K >= Side
        && a.Data == b.Data && a.RowStride == b.ColumnStride && a.ColumnStride == b.RowStride;

    /// <summary>Copies what is below the diagonal of a row-major matrix to above it.</summary>
    public static void Mirror<T>(ComputeDevice device, Slice c, int rows) where T : unmanaged
    {
        var work = new MirrorWork<T>(c.Pointer<T>(), rows);
        device.RunWork(work.Items, ref work);
    }

    /// <summary>One item: one line of squares, up to the diagonal.</summary>
    private readonly struct MirrorWork<T>(T* c, int rows) : IWork where T : unmanaged
    {
        public int Items => (rows + Side - 1) / Side;

        public void Execute(int item)
        {
            int top = item * Side, height = Math.Min(Side, rows - top);
            for (int left = 0; left < top; left += Side)
                Transposition.Run(c + (nint)top * rows + left, rows, c + (nint)left * rows + top, rows, height, Side);
            for (int i = top; i < top + height; i++)
                for (int j = top; j < i; j++)
                    c[(nint)j * rows + i] = c[(nint)i * rows + j];
        }
    }
}
