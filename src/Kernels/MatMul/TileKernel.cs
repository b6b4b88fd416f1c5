using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <summary>The rows and vectors of a tile of sums that stays in registers; constants, so that each size is compiled for itself.</summary>
internal interface ITileSize
{
    static abstract int Rows { get; }

    static abstract int Vectors { get; }
}

internal readonly struct Tile2x1 : ITileSize { public static int Rows => 2; public static int Vectors => 1; }
internal readonly struct Tile4x1 : ITileSize { public static int Rows => 4; public static int Vectors => 1; }
internal readonly struct Tile6x1 : ITileSize { public static int Rows => 6; public static int Vectors => 1; }
internal readonly struct Tile8x1 : ITileSize { public static int Rows => 8; public static int Vectors => 1; }
internal readonly struct Tile10x1 : ITileSize { public static int Rows => 10; public static int Vectors => 1; }
internal readonly struct Tile12x1 : ITileSize { public static int Rows => 12; public static int Vectors => 1; }
internal readonly struct Tile2x2 : ITileSize { public static int Rows => 2; public static int Vectors => 2; }
internal readonly struct Tile4x2 : ITileSize { public static int Rows => 4; public static int Vectors => 2; }
internal readonly struct Tile6x2 : ITileSize { public static int Rows => 6; public static int Vectors => 2; }
internal readonly struct Tile8x2 : ITileSize { public static int Rows => 8; public static int Vectors => 2; }
internal readonly struct Tile10x2 : ITileSize { public static int Rows => 10; public static int Vectors => 2; }
internal readonly struct Tile12x2 : ITileSize { public static int Rows => 12; public static int Vectors => 2; }

/// <summary>
/// The innermost loop of every packed product: a tile of up to 12 rows and 2 vectors of sums stays in registers while it walks along K, with one
/// broadcast of A and one or two fused multiply-adds for each row and step. 24 sums, 2 vectors of B and a broadcast fill 27 of the 32 registers
/// of 512 bits; with 16 registers the tile has at most 6 rows.
/// </summary>
internal static unsafe class TileKernel
{
    /// <summary>Runs the smallest tile that has at least <paramref name="rows"/> rows; parameters as <see cref="Run{T, L, S}"/>.</summary>
    /// <remarks>Where <paramref name="exact"/>, no memory past the last row is read: tiles have an even number of rows, so an odd row is multiplied for itself, twice.</remarks>
    public static void Run<T, L>(int rows, bool two, T* a, nint line, nint step, T* b, nint width, int depth, T* tile, bool fresh, bool exact = false)
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        if (exact && (rows & 1) == 1)
        {
            Run<T, L>(2, two, a + (rows - 1) * line, 0, step, b, width, depth, tile + (rows - 1) * 2 * L.Width, fresh);
            if (--rows == 0)
                return;
        }
        if (two)
            Run<T, L, Tile2x2, Tile4x2, Tile6x2, Tile8x2, Tile10x2, Tile12x2>(rows, a, line, step, b, width, depth, tile, fresh);
        else
            Run<T, L, Tile2x1, Tile4x1, Tile6x1, Tile8x1, Tile10x1, Tile12x1>(rows, a, line, step, b, width, depth, tile, fresh);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Run<T, L, S2, S4, S6, S8, S10, S12>(int rows, T* a, nint line, nint step, T* b, nint width, int depth, T* tile, bool fresh)
        where T : unmanaged where L : unmanaged, ILane<L, T>
        where S2 : struct, ITileSize where S4 : struct, ITileSize where S6 : struct, ITileSize where S8 : struct, ITileSize where S10 : struct, ITileSize where S12 : struct, ITileSize
    {
        switch ((rows + 1) / 2)
        {
            case 6: Run<T, L, S12>(a, line, step, b, width, depth, tile, fresh); break;
            case 5: Run<T, L, S10>(a, line, step, b, width, depth, tile, fresh); break;
            case 4: Run<T, L, S8>(a, line, step, b, width, depth, tile, fresh); break;
            case 3: Run<T, L, S6>(a, line, step, b, width, depth, tile, fresh); break;
            case 2: Run<T, L, S4>(a, line, step, b, width, depth, tile, fresh); break;
            default: Run<T, L, S2>(a, line, step, b, width, depth, tile, fresh); break;
        }
    }

    /// <param name="a">Element 0 along K of the first row.</param>
    /// <param name="line">From one row of A to the next.</param>
    /// <param name="step">From one element along K to the next in A.</param>
    /// <param name="b">The first columns of B, contiguous.</param>
    /// <param name="width">From one element along K to the next in B.</param>
    /// <param name="depth">Elements along K, 0 or more.</param>
    /// <param name="tile">The sums, row-major with two vectors to a row, aligned.</param>
    /// <param name="fresh">Whether the sums start from 0, not from what is in the tile.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<T, L, S>(T* a, nint line, nint step, T* b, nint width, int depth, T* tile, bool fresh)
        where T : unmanaged where L : unmanaged, ILane<L, T> where S : struct, ITileSize
    {
        L zero = L.Constant(0);
        L c00 = zero, c01 = zero, c10 = zero, c11 = zero;
        L c20 = zero, c21 = zero, c30 = zero, c31 = zero;
        L c40 = zero, c41 = zero, c50 = zero, c51 = zero;
        L c60 = zero, c61 = zero, c70 = zero, c71 = zero;
        L c80 = zero, c81 = zero, c90 = zero, c91 = zero;
        L c100 = zero, c101 = zero, c110 = zero, c111 = zero;
        if (!fresh)
        {
            L* from = (L*)tile;
            (c00, c01) = (from[0], from[1]);
            (c10, c11) = (from[2], from[3]);
            if (S.Rows > 2)
            {
                (c20, c21) = (from[4], from[5]);
                (c30, c31) = (from[6], from[7]);
            }
            if (S.Rows > 4)
            {
                (c40, c41) = (from[8], from[9]);
                (c50, c51) = (from[10], from[11]);
            }
            if (S.Rows > 6)
            {
                (c60, c61) = (from[12], from[13]);
                (c70, c71) = (from[14], from[15]);
            }
            if (S.Rows > 8)
            {
                (c80, c81) = (from[16], from[17]);
                (c90, c91) = (from[18], from[19]);
            }
            if (S.Rows > 10)
            {
                (c100, c101) = (from[20], from[21]);
                (c110, c111) = (from[22], from[23]);
            }
        }
        T* a3 = a + 3 * line, a6 = a + 6 * line, a9 = a + 9 * line;
        nint line2 = 2 * line;
        for (; depth > 0; depth--)
        {
            L b0 = ((L*)b)[0], b1 = S.Vectors == 2 ? ((L*)b)[1] : zero;
            L x0 = L.Splat(*a);
            c00 = L.MultiplyAdd(x0, b0, c00);
            c01 = S.Vectors == 2 ? L.MultiplyAdd(x0, b1, c01) : c01;
            L x1 = L.Splat(a[line]);
            c10 = L.MultiplyAdd(x1, b0, c10);
            c11 = S.Vectors == 2 ? L.MultiplyAdd(x1, b1, c11) : c11;
            if (S.Rows > 2)
            {
                L x2 = L.Splat(a[line2]);
                c20 = L.MultiplyAdd(x2, b0, c20);
                c21 = S.Vectors == 2 ? L.MultiplyAdd(x2, b1, c21) : c21;
                L x3 = L.Splat(*a3);
                c30 = L.MultiplyAdd(x3, b0, c30);
                c31 = S.Vectors == 2 ? L.MultiplyAdd(x3, b1, c31) : c31;
            }
            if (S.Rows > 4)
            {
                L x4 = L.Splat(a3[line]);
                c40 = L.MultiplyAdd(x4, b0, c40);
                c41 = S.Vectors == 2 ? L.MultiplyAdd(x4, b1, c41) : c41;
                L x5 = L.Splat(a3[line2]);
                c50 = L.MultiplyAdd(x5, b0, c50);
                c51 = S.Vectors == 2 ? L.MultiplyAdd(x5, b1, c51) : c51;
            }
            if (S.Rows > 6)
            {
                L x6 = L.Splat(*a6);
                c60 = L.MultiplyAdd(x6, b0, c60);
                c61 = S.Vectors == 2 ? L.MultiplyAdd(x6, b1, c61) : c61;
                L x7 = L.Splat(a6[line]);
                c70 = L.MultiplyAdd(x7, b0, c70);
                c71 = S.Vectors == 2 ? L.MultiplyAdd(x7, b1, c71) : c71;
            }
            if (S.Rows > 8)
            {
                L x8 = L.Splat(a6[line2]);
                c80 = L.MultiplyAdd(x8, b0, c80);
                c81 = S.Vectors == 2 ? L.MultiplyAdd(x8, b1, c81) : c81;
                L x9 = L.Splat(*a9);
                c90 = L.MultiplyAdd(x9, b0, c90);
                c91 = S.Vectors == 2 ? L.MultiplyAdd(x9, b1, c91) : c91;
            }
            if (S.Rows > 10)
            {
                L x10 = L.Splat(a9[line]);
                c100 = L.MultiplyAdd(x10, b0, c100);
                c101 = S.Vectors == 2 ? L.MultiplyAdd(x10, b1, c101) : c101;
                L x11 = L.Splat(a9[line2]);
                c110 = L.MultiplyAdd(x11, b0, c110);
                c111 = S.Vectors == 2 ? L.MultiplyAdd(x11, b1, c111) : c111;
            }
            a += step;
            a3 += step;
            a6 += step;
            a9 += step;
            b += width;
        }
        L* to = (L*)tile;
        to[0] = c00;
        to[1] = c01;
        to[2] = c10;
        to[3] = c11;
        if (S.Rows > 2)
        {
            to[4] = c20;
            to[5] = c21;
            to[6] = c30;
            to[7] = c31;
        }
        if (S.Rows > 4)
        {
            to[8] = c40;
            to[9] = c41;
            to[10] = c50;
            to[11] = c51;
        }
        if (S.Rows > 6)
        {
            to[12] = c60;
            to[13] = c61;
            to[14] = c70;
            to[15] = c71;
        }
        if (S.Rows > 8)
        {
            to[16] = c80;
            to[17] = c81;
            to[18] = c90;
            to[19] = c91;
        }
        if (S.Rows > 10)
        {
            to[20] = c100;
            to[21] = c101;
            to[22] = c110;
            to[23] = c111;
        }
    }
}
