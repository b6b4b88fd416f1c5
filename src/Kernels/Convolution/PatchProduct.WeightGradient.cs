using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TransferEngine.Kernels;

/// <content>The filters' gradient: products of the maps of dy with the patches of x.</content>
internal static unsafe partial class PatchProduct
{
    /// <summary>dweight = maps of dy x patches of x.</summary>
    public static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        using TapList taps = new(device, s.Taps), single = new(device, 1);
        for (int tap = 0; tap < s.Taps; tap++)
            taps.Add(tap, tap / s.X.Kernel * s.Y.Dilation - s.Y.Padding, tap % s.X.Kernel * s.X.Dilation - s.X.Padding);
        single.Add(0, 0, 0);
        var images = new ChannelMaps<T>(x.Pointer<T>(), s.Channels, s.Y.Input, s.X.Input);
        var gradients = new ChannelMaps<T>(dy.Pointer<T>(), s.Outputs, s.Y.Output, s.X.Output);
        var grid = new Grid(s.Batch, s.Y.Output, s.X.Output, s.Y.Stride, s.X.Stride);
        if (Vector512.IsHardwareAccelerated)
            Correlate<T, Simd512<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
        else if (Vector256.IsHardwareAccelerated)
            Correlate<T, Simd256<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
        else
            Correlate<T, Simd128<T>>(device, images, grid, taps, gradients, single, dweight.Pointer<T>());
    }

    private static void Correlate<T, L>(ComputeDevice device, in ChannelMaps<T> images, in Grid grid, in TapList taps, in ChannelMaps<T> gradients, in TapList single, T* dweight)
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        var own = new Grid(grid.Batch, grid.Rows, grid.Columns, 1, 1);
        var patches = new Patches<T, L>(grid, images.Channels, taps.Count);
        var pixels = new Patches<T, L>(own, gradients.Channels, 1);
        int band = Math.Min(patches.Rows, pixels.Rows);
        var block = device.Memory.Rent((patches.Length + pixels.Length) * sizeof(T), null);
        T* right = (T*)block.Address, left = right + patches.Length;
        var blocks = new CorrelationBlocks<T, L>(gradients.Channels, images.Channels, taps.Count);
        bool several = band < grid.AllRows;
        var sums = several ? device.Memory.Rent(blocks.Items * blocks.Length * sizeof(T), null) : null;
        for (int row = 0; row < grid.AllRows; row += band)
        {
            int rows = Math.Min(band, grid.AllRows - row);
            var gathering = new GatherWork<T, L>(device, images, grid, taps, row, rows, right, patches);
            device.RunWork(gathering.Items, ref gathering);
            var turning = new GatherWork<T, L>(device, gradients, own, single, row, rows, left, pixels);
            device.RunWork(turning.Items, ref turning);
            var work = new CorrelationWork<T, L>(
                device, blocks, left, pixels.Pitch, right, patches, rows * grid.Columns, several ? (T*)sums!.Address : null, row == 0, row + rows == grid.AllRows, dweight);
            device.RunWork(blocks.Items, ref work);
        }
        device.Memory.Return(block);
        if (sums is not null)
            device.Memory.Return(sums);
    }

    /// <summary>How the products [output, channel] of the taps are cut into work items.</summary>
    private readonly struct CorrelationBlocks<T, L> where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        public readonly int Outputs, Channels, Taps, Rows, Columns, RowBlocks, ColumnBlocks;

        public CorrelationBlocks(int outputs, int channels, int taps)
        {
            (Outputs, Channels, Taps, Columns) = (outputs, channels, taps, 2 * L.Width);
            int height = PackedProduct.PanelRows<T, L>();
            RowBlocks = (outputs + MostRows - 1) / MostRows;
            Rows = ((outputs + RowBlocks - 1) / RowBlocks + height - 1) / height * height;
            RowBlocks = (outputs + Rows - 1) / Rows;
            ColumnBlocks = (channels + Columns - 1) / Columns;
        }

        /// <summary>Outputs of an item at the most.</summary>
        private const int MostRows = 48;

        public int Items => RowBlocks * ColumnBlocks;

        /// <summary>From the sums of one tap to those of the next; a tile may have eleven rows too many.</summary>
        public int Stride => (Rows + 11) * Columns;

        /// <summary>Elements of the sums of one item.</summary>
        public long Length => (long)Taps * Stride;
    }

    /// <summary>One work item: the filters from two vectors of channels to some outputs, summed over the pixels of a band.</summary>
    private struct CorrelationWork<T, L>(
        ComputeDevice device, CorrelationBlocks<T, L> blocks, T* left, int leftPitch, T* right, Patches<T, L> patches, int pixels, T* sums, bool first, bool last, T* dweight)
        : IWork where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            var (block, column) = Math.DivRem(item, blocks.ColumnBlocks);
            int output = block * blocks.Rows, channel = column * blocks.Columns, height = PackedProduct.PanelRows<T, L>();
            int rows = Math.Min(blocks.Rows, blocks.Outputs - output), count = Math.Min(blocks.Columns, blocks.Channels - channel);
            var scratch = device.Memory.Rent(blocks.Length * sizeof(T), null);
            T* products = sums is null ? (T*)scratch.Address : sums + item * blocks.Length;
            for (int p = 0; p == 0 || p < pixels; p += Depth)
            {
                for (int tap = 0; tap < blocks.Taps; tap++)
                {
                    T* a = left + (nint)p * leftPitch + output, b = right + (nint)p * patches.Pitch + tap * patches.Channels + channel, c = products + tap * blocks.Stride;
                    for (int r = 0; r < rows; r += height)
                    {
                        TileKernel.Run<T, L>(
                            Math.Min(height, rows - r), count > L.Width, a + r, 1, leftPitch, b, patches.Pitch, Math.Min(Depth, pixels - p), c + r * blocks.Columns, first && p == 0);
                    }
                }
            }
            for (int r = 0; last && r < rows; r++)
                Transposition.Run(products + r * blocks.Columns, blocks.Stride, dweight + ((nint)(output + r) * blocks.Channels + channel) * blocks.Taps, blocks.Taps, blocks.Taps, count);
            device.Memory.Return(scratch);
        }
    }
}
