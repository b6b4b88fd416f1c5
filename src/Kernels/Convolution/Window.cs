using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>
/// A copy of a part of an image with its padding, each row split by column modulo the stride, so that neighbouring outputs read neighbours: every tap of a
/// run of outputs is a contiguous, unmasked read, at any stride, dilation and padding. Pixels that a large stride skips are left out. On the CPU's direct path.
/// </summary>
internal readonly unsafe struct Window
{
    /// <summary>Elements of a strip, which stays in the first cache.</summary>
    public const int StripCapacity = 12288;

    /// <summary>Output columns of one strip, at most.</summary>
    public const int MaxStripColumns = 256;

    /// <summary>Output columns that are computed together at the least: the numbers of the widest vector.</summary>
    private const int MinStripColumns = 16;

    private readonly ConvAxis y, x;

    private Window(ConvAxis y, ConvAxis x, int pitch, int rows) => (this.y, this.x, Pitch, Rows) = (y, x, pitch, rows);

    /// <summary>Elements of one part of a row.</summary>
    public int Pitch { get; }

    /// <summary>Output rows of the window.</summary>
    public int Rows { get; }

    /// <summary>Elements of one row.</summary>
    public int RowPitch => Pitch * Math.Min(x.Stride, x.Span);

    /// <summary>Elements from what an output row reads to what the next one reads.</summary>
    public int RowStep => RowsOfOutput * RowPitch;

    private int RowsOfOutput => Math.Min(y.Stride, y.Span);

    /// <summary>Elements of a window of all its rows.</summary>
    public int Plane => ((Rows - 1) * RowsOfOutput + y.Span) * RowPitch;

    /// <summary>Whether the window of a whole image is the image.</summary>
    public bool IsImage => y.Stride == 1 && x.Stride == 1 && y.Padding == 0 && x.Padding == 0 && Plane == y.Input * x.Input && RowPitch == x.Input;

    /// <summary>All that the outputs of an image read.</summary>
    public static Window OfImage(ConvAxis y, ConvAxis x) => new(y, x, x.Output + (x.Span - 1) / x.Stride, y.Output);

    /// <summary>What some output rows read: a multiple of four, as four are computed together where the image is narrow.</summary>
    public static Window OfStrip(ConvAxis y, ConvAxis x, int columns)
    {
        int pitch = StripPitch(x, columns);
        return new(y, x, pitch, ((StripCapacity / (pitch * x.Stride) - y.Span) / y.Stride + 1) & ~3);
    }

    public static bool FitsStrip(ConvAxis y, ConvAxis x) =>
        (y.Span + 3L * y.Stride) * x.Stride * StripPitch(x, Math.Min(x.Output, MaxStripColumns)) <= StripCapacity && y.Kernel * x.Kernel <= 256;

    /// <summary>Where a tap lies, seen from its output.</summary>
    public int Offset(int kh, int kw) => kh * y.Dilation * RowPitch + kw * x.Dilation % x.Stride * Pitch + kw * x.Dilation / x.Stride;

    /// <summary>Copies what <paramref name="rows"/> output rows from (<paramref name="row"/>, <paramref name="column"/>) on read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Fill<T>(T* cells, T* image, int insertY, int insertX, int row, int rows, int column) where T : unmanaged
    {
        int top = row * y.Stride - y.Padding, left = column * x.Stride - x.Padding, count = (rows - 1) * RowsOfOutput + y.Span;
        bool skips = y.Stride > y.Span;
        for (int r = 0; r < count; r++, cells += RowPitch)
        {
            int line = top + (skips ? r / y.Span * y.Stride + r % y.Span : r), between = 0;
            if (insertY > 1)
                (line, between) = Math.DivRem(line, insertY);
            T* source = image + (long)line * x.Input;
            if (line < 0 || between != 0 || line >= y.Input)
                new Span<T>(cells, RowPitch).Clear();
            else if (x.Stride == 1 && insertX == 1)
                CopyRow(cells, source, left);
            else if (insertX == 1)
                SplitRow(cells, source, left);
            else
                SpreadRow(cells, source, left, insertX);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void CopyRow<T>(T* cells, T* source, int left) where T : unmanaged
    {
        int first = Math.Clamp(-left, 0, Pitch), end = Math.Clamp(x.Input - left, first, Pitch);
        // Few cells in general: loops are shorter than calls.
        for (int i = 0; i < first; i++)
            cells[i] = default;
        Strided.Pick(source + left + first, 1, cells + first, end - first);
        for (int i = end; i < Pitch; i++)
            cells[i] = default;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SplitRow<T>(T* cells, T* source, int left) where T : unmanaged
    {
        int stride = x.Stride;
        for (int part = 0; part < Math.Min(stride, x.Span); part++, cells += Pitch)
        {
            int start = left + part, first = Math.Clamp((stride - 1 - start) / stride, 0, Pitch), end = Math.Clamp((x.Input - start + stride - 1) / stride, first, Pitch);
            for (int i = 0; i < first; i++)
                cells[i] = default;
            Strided.Pick(source + start + first * stride, stride, cells + first, end - first);
            for (int i = end; i < Pitch; i++)
                cells[i] = default;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SpreadRow<T>(T* cells, T* source, int left, int insert) where T : unmanaged
    {
        int stride = x.Stride, pitch = Pitch;
        new Span<T>(cells, RowPitch).Clear();
        int first = Math.Max(0, (left + insert - 1) / insert), at = first * insert - left;
        int phase = at % stride, place = at / stride;
        for (int i = first; i < x.Input && place < pitch; i++)
        {
            cells[phase * pitch + place] = source[i];
            phase += insert;
            while (phase >= stride)
            {
                phase -= stride;
                place++;
            }
        }
    }

    private static int StripPitch(ConvAxis x, int columns) => Math.Max(columns, MinStripColumns) + (x.Span + x.Stride - 1) / x.Stride;
}
