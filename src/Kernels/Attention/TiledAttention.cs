using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// One work group computes a tile of the output, 4 sides of queries by 4 sides of columns. Of each block of keys it has the scores of its queries in registers, 4 x 4 a thread,
/// brings their exponentials to shared memory and multiplies them with the values; the largest score and the sum of a row are kept by all threads that share it.
/// Where values are wider than a tile, scores are computed once for each tile of columns.
/// </summary>
internal readonly struct TiledAttention<T, S>(AttentionArguments<T> arguments) : IGroupKernel<T> where T : unmanaged where S : unmanaged, IGroupSide
{
    private readonly AttentionArguments<T> arguments = arguments;

    /// <summary>The groups that it takes: at least one a tile of queries, which also computes the logarithms of the sums.</summary>
    public static int Groups(in AttentionArguments<T> arguments) => arguments.Batch * AttentionTile<T, S>.Count(arguments.L) * Math.Max(1, AttentionTile<T, S>.Count(arguments.V));

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side;
        var weights = SharedMemory.Allocate<T>(16 * S.Side * S.Side);
        var rowStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var columnStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var place = new AttentionPlace<T, S>(arguments.L, IntrinsicMath.Max(1, AttentionTile<T, S>.Count(arguments.V)));
        int row = place.Row + place.Y, inner = arguments.Inner;
        int query = arguments.Query.Start(place.Batch, inner), key = arguments.Key.Start(place.Batch, inner), value = arguments.Value.Start(place.Batch, inner), mask = arguments.Mask.Start(place.Batch, inner);
        var sums = TileSums<L, T>.Zero();
        Four<L, T> largest = Four<L, T>.Splat(L.Constant(double.NegativeInfinity)), totals = Four<L, T>.Splat(L.Constant(0));
        for (int first = 0; first < arguments.S; first += tile)
        {
            var scores = AttentionTile<T, S>.Products<L>(rowStrip, columnStrip, arguments.Query, query, place.Row, arguments.L, arguments.Key, key, first, arguments.S, arguments.E);
            int column = first + place.X;
            scores.Row0 = Scores(mask, row, column, scores.Row0);
            scores.Row1 = Scores(mask, row + S.Side, column, scores.Row1);
            scores.Row2 = Scores(mask, row + 2 * S.Side, column, scores.Row2);
            scores.Row3 = Scores(mask, row + 3 * S.Side, column, scores.Row3);
            Share(rowStrip, place, Largest(scores.Row0), Largest(scores.Row1), Largest(scores.Row2), Largest(scores.Row3));
            Group.Barrier();
            Four<L, T> before = largest;
            for (int x = 0; x < S.Side; x++)
            {
                var others = Four<L, T>.Load(rowStrip, place.Y * S.Side + x, S.Side * S.Side);
                largest = new(L.Max(largest.X0, others.X0), L.Max(largest.X1, others.X1), L.Max(largest.X2, others.X2), L.Max(largest.X3, others.X3));
            }
            Group.Barrier();
            var shift = Shift(largest);
            scores.Row0 = Exponentials(weights, place, 0, scores.Row0, shift.X0);
            scores.Row1 = Exponentials(weights, place, 1, scores.Row1, shift.X1);
            scores.Row2 = Exponentials(weights, place, 2, scores.Row2, shift.X2);
            scores.Row3 = Exponentials(weights, place, 3, scores.Row3, shift.X3);
            Share(rowStrip, place, Sum(scores.Row0), Sum(scores.Row1), Sum(scores.Row2), Sum(scores.Row3));
            Four<L, T> shrink = new(Exp(before.X0 - shift.X0), Exp(before.X1 - shift.X1), Exp(before.X2 - shift.X2), Exp(before.X3 - shift.X3));
            totals = new(totals.X0 * shrink.X0, totals.X1 * shrink.X1, totals.X2 * shrink.X2, totals.X3 * shrink.X3);
            sums = new() { Row0 = sums.Row0 * shrink.X0, Row1 = sums.Row1 * shrink.X1, Row2 = sums.Row2 * shrink.X2, Row3 = sums.Row3 * shrink.X3 };
            Group.Barrier();
            for (int x = 0; x < S.Side; x++)
            {
                var others = Four<L, T>.Load(rowStrip, place.Y * S.Side + x, S.Side * S.Side);
                totals = new(totals.X0 + others.X0, totals.X1 + others.X1, totals.X2 + others.X2, totals.X3 + others.X3);
            }
            sums = AttentionTile<T, S>.AddWeighted(sums, weights, columnStrip, arguments.Value, value, first, arguments.S, place.Column, arguments.V);
        }
        Store(place, row, sums.Row0, totals.X0, largest.X0);
        Store(place, row + S.Side, sums.Row1, totals.X1, largest.X1);
        Store(place, row + 2 * S.Side, sums.Row2, totals.X2, largest.X2);
        Store(place, row + 3 * S.Side, sums.Row3, totals.X3, largest.X3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Four<L, T> Scores<L>(int mask, int row, int column, in Four<L, T> products) where L : unmanaged, ILane<L, T> => new(
        Score(mask, row, column, products.X0), Score(mask, row, column + S.Side, products.X1), Score(mask, row, column + 2 * S.Side, products.X2), Score(mask, row, column + 3 * S.Side, products.X3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private L Score<L>(int mask, int row, int column, L product) where L : unmanaged, ILane<L, T>
    {
        if (row >= arguments.L || column >= arguments.S)
            return L.Constant(double.NegativeInfinity);
        product *= L.Splat(arguments.Scale);
        return (arguments.Flags & 1) != 0 ? product + L.Splat(L.At(arguments.Mask.Data, mask + row * arguments.Mask.Row + column * arguments.Mask.Column)) : product;
    }

    /// <summary>Brings a number of each of a thread's rows to where the others of its rows find it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Share<L>(ArrayView<T> strip, in AttentionPlace<T, S> place, L x0, L x1, L x2, L x3) where L : unmanaged, ILane<L, T>
    {
        int at = place.Y * S.Side + place.X;
        strip[at] = L.First(x0);
        strip[at + S.Side * S.Side] = L.First(x1);
        strip[at + 2 * S.Side * S.Side] = L.First(x2);
        strip[at + 3 * S.Side * S.Side] = L.First(x3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Four<L, T> Exponentials<L>(ArrayView<T> weights, in AttentionPlace<T, S> place, int row, in Four<L, T> scores, L shift) where L : unmanaged, ILane<L, T>
    {
        Four<L, T> result = new(Exp(scores.X0 - shift), Exp(scores.X1 - shift), Exp(scores.X2 - shift), Exp(scores.X3 - shift));
        AttentionTile<T, S>.Keep(weights, place, row, result);
        return result;
    }

    /// <summary>What scores are lessened by: 0 where all were -infinity, whose differences would be no numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Four<L, T> Shift<L>(in Four<L, T> largest) where L : unmanaged, ILane<L, T> => new(Shift(largest.X0), Shift(largest.X1), Shift(largest.X2), Shift(largest.X3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Shift<L>(L largest) where L : unmanaged, ILane<L, T> => L.IfEqual(largest, L.Constant(double.NegativeInfinity), L.Constant(0), largest);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Exp<L>(L x) where L : unmanaged, ILane<L, T> => Elementary.ExpOfNegative<L, T>(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Largest<L>(in Four<L, T> x) where L : unmanaged, ILane<L, T> => L.Max(L.Max(x.X0, x.X1), L.Max(x.X2, x.X3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static L Sum<L>(in Four<L, T> x) where L : unmanaged, ILane<L, T> => x.X0 + x.X1 + (x.X2 + x.X3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Store<L>(in AttentionPlace<T, S> place, int row, in Four<L, T> sums, L total, L largest) where L : unmanaged, ILane<L, T>
    {
        if (row >= arguments.L)
            return;
        int line = place.Batch * arguments.L + row;
        AttentionTile<T, S>.Store(arguments.Output, line, place.Column + place.X, arguments.V, sums * (L.Constant(1) / total));
        if ((arguments.Flags & 2) != 0 && place.Column + place.X == 0)
            L.At(arguments.LogSums, line) = L.First(Shift(largest) + Elementary.Log<L, T>(total));
    }
}

/// <summary>
/// One work group computes a tile of one gradient, 4 sides of its rows by 4 sides of its columns: as <see cref="TiledAttention{T, S}"/>, but that the weights of a block are known
/// at once, from the logarithms of the sums.
/// </summary>
internal readonly struct TiledAttentionGradient<T, S>(AttentionGradientArguments<T> arguments) : IGroupKernel<T> where T : unmanaged where S : unmanaged, IGroupSide
{
    private readonly AttentionGradientArguments<T> arguments = arguments;

    public static int Groups(in AttentionGradientArguments<T> arguments) => arguments.Batch * AttentionTile<T, S>.Count(arguments.RowCount) * AttentionTile<T, S>.Count(arguments.Width);

    public void Execute<L>() where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side;
        var weights = SharedMemory.Allocate<T>(16 * S.Side * S.Side);
        var rowStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var columnStrip = SharedMemory.Allocate<T>(4 * S.Side * S.Side);
        var place = new AttentionPlace<T, S>(arguments.RowCount, AttentionTile<T, S>.Count(arguments.Width));
        int batch = place.Batch, inner = arguments.Inner, row = place.Row + place.Y, factor = arguments.Factor.Start(batch, inner), mask = arguments.Mask.Start(batch, inner);
        int own = arguments.Rows.Start(batch, inner), other = arguments.Columns.Start(batch, inner), ownValue = arguments.RowValues.Start(batch, inner), otherValue = arguments.ColumnValues.Start(batch, inner);
        int valueDepth = (arguments.Flags & 4) != 0 ? arguments.V : 0; // the weights alone need no products of values
        var sums = TileSums<L, T>.Zero();
        for (int first = 0; first < arguments.ColumnCount; first += tile)
        {
            var scores = AttentionTile<T, S>.Products<L>(rowStrip, columnStrip, arguments.Rows, own, place.Row, arguments.RowCount, arguments.Columns, other, first, arguments.ColumnCount, arguments.E);
            var derivatives = AttentionTile<T, S>.Products<L>(
                rowStrip, columnStrip, arguments.RowValues, ownValue, place.Row, arguments.RowCount, arguments.ColumnValues, otherValue, first, arguments.ColumnCount, valueDepth);
            int column = first + place.X;
            AttentionTile<T, S>.Keep(weights, place, 0, Weights(batch, mask, row, column, scores.Row0, derivatives.Row0));
            AttentionTile<T, S>.Keep(weights, place, 1, Weights(batch, mask, row + S.Side, column, scores.Row1, derivatives.Row1));
            AttentionTile<T, S>.Keep(weights, place, 2, Weights(batch, mask, row + 2 * S.Side, column, scores.Row2, derivatives.Row2));
            AttentionTile<T, S>.Keep(weights, place, 3, Weights(batch, mask, row + 3 * S.Side, column, scores.Row3, derivatives.Row3));
            sums = AttentionTile<T, S>.AddWeighted(sums, weights, columnStrip, arguments.Factor, factor, first, arguments.ColumnCount, place.Column, arguments.Width);
        }
        Store(place, row, sums.Row0);
        Store(place, row + S.Side, sums.Row1);
        Store(place, row + 2 * S.Side, sums.Row2);
        Store(place, row + 3 * S.Side, sums.Row3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Four<L, T> Weights<L>(int batch, int mask, int row, int column, in Four<L, T> scores, in Four<L, T> derivatives) where L : unmanaged, ILane<L, T> => new(
        Weight(batch, mask, row, column, scores.X0, derivatives.X0), Weight(batch, mask, row, column + S.Side, scores.X1, derivatives.X1),
        Weight(batch, mask, row, column + 2 * S.Side, scores.X2, derivatives.X2), Weight(batch, mask, row, column + 3 * S.Side, scores.X3, derivatives.X3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private L Weight<L>(int batch, int mask, int row, int column, L score, L derivative) where L : unmanaged, ILane<L, T> =>
        row < arguments.RowCount && column < arguments.ColumnCount ? arguments.Weight(batch, mask, row, column, score, derivative) : L.Constant(0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Store<L>(in AttentionPlace<T, S> place, int row, in Four<L, T> sums) where L : unmanaged, ILane<L, T>
    {
        if (row < arguments.RowCount)
            AttentionTile<T, S>.Store(arguments.Result, place.Batch * arguments.RowCount + row, place.Column + place.X, arguments.Width, sums);
    }
}

/// <summary>Where a group computes, of so many rows and tiles of columns, and which of its threads this is.</summary>
internal readonly struct AttentionPlace<T, S> where T : unmanaged where S : unmanaged, IGroupSide
{
    public readonly int Batch, Row, Column, X, Y;

    public AttentionPlace(int rows, int columnTiles)
    {
        int tile = 4 * S.Side, line = Grid.IdxX / columnTiles, rowTiles = AttentionTile<T, S>.Count(rows);
        Column = (Grid.IdxX - line * columnTiles) * tile;
        Batch = line / rowTiles;
        Row = (line - Batch * rowTiles) * tile;
        Y = Group.IdxX / S.Side;
        X = Group.IdxX - Y * S.Side;
    }
}

/// <summary>What both kernels do with tiles in shared memory.</summary>
internal static class AttentionTile<T, S> where T : unmanaged where S : unmanaged, IGroupSide
{
    /// <summary>The tiles that cover so many rows or columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Count(int n) => (n + 4 * S.Side - 1) / (4 * S.Side);

    /// <summary>The products of a tile of rows with one of columns, both rows in memory, over so many numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TileSums<L, T> Products<L>(
        ArrayView<T> rowStrip, ArrayView<T> columnStrip, in AttentionRows<T> rows, int rowStart, int row, int rowCount, in AttentionRows<T> columns, int columnStart, int column, int columnCount, int depth)
        where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side, y = Group.IdxX / S.Side, x = Group.IdxX - y * S.Side;
        var sums = TileSums<L, T>.Zero();
        for (int k = 0; k < depth; k += S.Side)
        {
            Fill<L>(rowStrip, rows, rowStart, row, rowCount, k, depth);
            Fill<L>(columnStrip, columns, columnStart, column, columnCount, k, depth);
            Group.Barrier();
            for (int p = 0; p < S.Side; p++)
                sums = sums.Add(rowStrip, p * tile + y, columnStrip, p * tile + x, S.Side);
            Group.Barrier();
        }
        return sums;
    }

    /// <summary>Adds a tile of weights, [column][row] in shared memory, times as many rows of a matrix.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TileSums<L, T> AddWeighted<L>(TileSums<L, T> sums, ArrayView<T> weights, ArrayView<T> strip, in AttentionRows<T> factor, int start, int first, int count, int column, int width)
        where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side, y = Group.IdxX / S.Side, x = Group.IdxX - y * S.Side;
        for (int k = 0; k < tile; k += S.Side)
        {
            for (int i = Group.IdxX; i < tile * S.Side; i += S.Side * S.Side)
            {
                int p = i / tile, across = i - p * tile;
                T value = L.First(L.Constant(0));
                if (first + k + p < count && column + across < width)
                    value = L.At(factor.Data, start + (first + k + p) * factor.Row + column + across);
                strip[i] = value;
            }
            Group.Barrier();
            for (int p = 0; p < S.Side; p++)
                sums = sums.Add(weights, (k + p) * tile + y, strip, p * tile + x, S.Side);
            Group.Barrier();
        }
        return sums;
    }

    /// <summary>Brings one of a thread's four rows of weights to shared memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Keep<L>(ArrayView<T> weights, in AttentionPlace<T, S> place, int row, in Four<L, T> numbers) where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side, at = place.X * tile + place.Y + row * S.Side;
        weights[at] = L.First(numbers.X0);
        weights[at + S.Side * tile] = L.First(numbers.X1);
        weights[at + 2 * S.Side * tile] = L.First(numbers.X2);
        weights[at + 3 * S.Side * tile] = L.First(numbers.X3);
    }

    /// <summary>Stores one of a thread's rows, columns a side apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<L>(ArrayView<T> to, int line, int column, int width, in Four<L, T> sums) where L : unmanaged, ILane<L, T>
    {
        if (column < width)
            L.At(to, line * width + column) = L.First(sums.X0);
        if (column + S.Side < width)
            L.At(to, line * width + column + S.Side) = L.First(sums.X1);
        if (column + 2 * S.Side < width)
            L.At(to, line * width + column + 2 * S.Side) = L.First(sums.X2);
        if (column + 3 * S.Side < width)
            L.At(to, line * width + column + 3 * S.Side) = L.First(sums.X3);
    }

    /// <summary>Brings a side of numbers of each of a tile's rows to shared memory, [number][row], zeros past the ends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fill<L>(ArrayView<T> strip, in AttentionRows<T> from, int start, int first, int count, int k, int depth) where L : unmanaged, ILane<L, T>
    {
        int tile = 4 * S.Side;
        for (int i = Group.IdxX; i < tile * S.Side; i += S.Side * S.Side)
        {
            int line = i / S.Side, p = i - line * S.Side;
            T value = L.First(L.Constant(0));
            if (first + line < count && k + p < depth)
                value = L.At(from.Data, start + (first + line) * from.Row + k + p);
            strip[p * tile + line] = value;
        }
    }
}
