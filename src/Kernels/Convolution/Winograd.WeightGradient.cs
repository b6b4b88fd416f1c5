using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <content>The filters' gradient: products of the transforms of dy with those of x, summed over the tiles.</content>
internal static unsafe partial class Winograd
{
    /// <summary>dweight of x and dy: for each pair of channels the sum over all tiles.</summary>
    public static void WeightGradient(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight)
    {
        var images = new Padded(new(x.Pointer<float>(), s.Channels, s.Y.Input, s.X.Input), s.Y.Padding, s.X.Padding);
        var gradients = new Padded(new(dy.Pointer<float>(), s.Outputs, s.Y.Output, s.X.Output), 0, 0);
        var tiles = new Tiles(s.Batch, s.Y.Output, s.X.Output);
        if (Vector512.IsHardwareAccelerated)
            Correlate<Simd512<float>>(device, images, gradients, tiles, dweight.Pointer<float>());
        else if (Vector256.IsHardwareAccelerated)
            Correlate<Simd256<float>>(device, images, gradients, tiles, dweight.Pointer<float>());
        else
            Correlate<Simd128<float>>(device, images, gradients, tiles, dweight.Pointer<float>());
    }

    private static void Correlate<L>(ComputeDevice device, in Padded images, in Padded gradients, in Tiles tiles, float* dweight) where L : unmanaged, ILane<L, float>
    {
        int channels = images.Maps.Channels, outputs = gradients.Maps.Channels;
        var bands = new Bands(tiles, Math.Max(channels, outputs));
        int most = bands.Rows * tiles.Columns;
        Matrices right = new(most, channels), left = new(most, outputs);
        var block = device.Memory.Rent((right.Length + left.Length) * sizeof(float), null);
        float* rightMatrices = (float*)block.Address, leftMatrices = rightMatrices + right.Length;
        var blocks = new CorrelationBlocks<L>(outputs, channels);
        bool several = bands.Rows < tiles.AllRows;
        var sums = several ? device.Memory.Rent(blocks.Items * blocks.Length * sizeof(float), null) : null;
        for (int row = 0; row < tiles.AllRows; row += bands.Rows)
        {
            int rows = Math.Min(bands.Rows, tiles.AllRows - row);
            Transform<L, WinogradTransforms.Image>(device, images, tiles, row, rows, rightMatrices, right);
            Transform<L, WinogradTransforms.Gradient>(device, gradients, tiles, row, rows, leftMatrices, left);
            var work = new CorrelationWork<L>(
                device, blocks, leftMatrices, left, rightMatrices, right, rows * tiles.Columns, several ? (float*)sums!.Address : null, row == 0, row + rows == tiles.AllRows, dweight);
            device.RunWork(blocks.Items, ref work);
        }
        device.Memory.Return(block);
        if (sums is not null)
            device.Memory.Return(sums);
    }

    /// <summary>How the 36 products [output, channel] of a weight gradient are cut into work items.</summary>
    private readonly struct CorrelationBlocks<L> where L : unmanaged, ILane<L, float>
    {
        /// <summary>Outputs of an item at the most.</summary>
        private const int MostRows = 48;

        public readonly int Outputs, Channels, Rows, Columns, RowBlocks, ColumnBlocks;

        public CorrelationBlocks(int outputs, int channels)
        {
            (Outputs, Channels, Columns) = (outputs, channels, 2 * L.Width);
            int height = PackedProduct.PanelRows<float, L>();
            RowBlocks = (outputs + MostRows - 1) / MostRows;
            Rows = ((outputs + RowBlocks - 1) / RowBlocks + height - 1) / height * height;
            RowBlocks = (outputs + Rows - 1) / Rows;
            ColumnBlocks = (channels + Columns - 1) / Columns;
        }

        public int Items => RowBlocks * ColumnBlocks;

        /// <summary>From the sums of one point to those of the next.</summary>
        public nint Stride => (nint)Apart((long)(Rows + 11) * Columns);

        /// <summary>Elements of the sums of one item.</summary>
        public long Length => Points * (long)Stride;
    }

    /// <summary>One work item: the filters from two vectors of channels to some outputs, summed over the tiles of a band.</summary>
    private struct CorrelationWork<L>(
        ComputeDevice device, CorrelationBlocks<L> blocks, float* left, Matrices leftMatrices, float* right, Matrices rightMatrices, int tiles, float* sums, bool first, bool last, float* dweight)
        : IWork where L : unmanaged, ILane<L, float>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (block, column) = Math.DivRem(item, blocks.ColumnBlocks);
            int output = block * blocks.Rows, channel = column * blocks.Columns, height = PackedProduct.PanelRows<float, L>();
            int rows = Math.Min(blocks.Rows, blocks.Outputs - output), count = Math.Min(blocks.Columns, blocks.Channels - channel);
            var scratch = device.Memory.Rent((blocks.Length + (Points + 9 * 2) * L.Width) * sizeof(float), null);
            float* half = (float*)scratch.Address, taps = half + Points * L.Width;
            float* products = sums is null ? taps + 9 * blocks.Columns : sums + item * blocks.Length;
            for (int point = 0; point < Points; point++)
            {
                float* a = left + point * leftMatrices.Stride + output, b = right + point * rightMatrices.Stride + channel, c = products + point * blocks.Stride;
                for (int r = 0; r < rows; r += height)
                    TileKernel.Run<float, L>(Math.Min(height, rows - r), count > L.Width, a + r, 1, leftMatrices.Pitch, b, rightMatrices.Pitch, tiles, c + r * blocks.Columns, first);
            }
            for (int r = 0; last && r < rows; r++)
            {
                for (int v = 0; v < count; v += L.Width)
                {
                    WinogradTransforms.Square<L, WinogradTransforms.FilterGradient>(
                        products + r * blocks.Columns + v, Side * blocks.Stride, blocks.Stride, half, taps + v, 3 * blocks.Columns, blocks.Columns);
                }
                Transposition.Run(taps, blocks.Columns, dweight + ((nint)(output + r) * blocks.Channels + channel) * 9, 9, 9, count);
            }
            device.Memory.Return(scratch);
        }
    }
}
