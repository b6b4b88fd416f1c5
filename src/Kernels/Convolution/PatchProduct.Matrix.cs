using System.Runtime.CompilerServices;

namespace TransferEngine.Kernels;

/// <content>The matrix of patches, and how it is gathered.</content>
internal static unsafe partial class PatchProduct
{
    /// <summary>The most elements of patches that are held at once.</summary>
    private const int Capacity = 2 << 20;

    /// <summary>The pixels that patches are made for, and how far apart they lie in the maps that are read. Rows are counted through the batch.</summary>
    private readonly struct Grid(int batch, int rows, int columns, int strideY, int strideX)
    {
        public readonly int Batch = batch, Rows = rows, Columns = columns, StrideY = strideY, StrideX = strideX;

        public int AllRows => Batch * Rows;
    }

    /// <summary>The taps that a patch holds: which of the filter, and where they lie in the maps, seen from the pixel's place.</summary>
    private struct TapList(ComputeDevice device, int capacity) : IDisposable
    {
        private readonly MemoryBlock block = device.Memory.Rent(3L * sizeof(int) * capacity, null, isTable: true);

        public int Count { get; private set; }

        public int Top { get; private set; }

        public int Bottom { get; private set; }

        public int Left { get; private set; }

        public int Right { get; private set; }

        private readonly int* At(int i) => (int*)block.Address + 3 * i;

        public readonly int Tap(int i) => At(i)[0];

        public readonly int Down(int i) => At(i)[1] - Top;

        public readonly int Across(int i) => At(i)[2] - Left;

        public void Add(int tap, int down, int across)
        {
            (Top, Bottom) = Count == 0 ? (down, down) : (Math.Min(Top, down), Math.Max(Bottom, down));
            (Left, Right) = Count == 0 ? (across, across) : (Math.Min(Left, across), Math.Max(Right, across));
            int* at = At(Count++);
            (at[0], at[1], at[2]) = (tap, down, across);
        }

        public readonly void Dispose() => device.Memory.Return(block);
    }

    /// <summary>The matrix of patches [pixel][tap][channel], channels filled up with zeros to whole vectors.</summary>
    private readonly struct Patches<T, L> where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Elements of a tap, of a patch, and from one patch to the next.</summary>
        public readonly int Channels, Depth, Pitch;

        /// <summary>Rows of pixels that are held at once: equally many in each band.</summary>
        public readonly int Rows;

        public readonly long Length;

        public Patches(in Grid grid, int channels, int taps)
        {
            Channels = (channels + L.Width - 1) / L.Width * L.Width;
            Depth = Channels * taps;
            // An odd number of cache lines: neighbouring patches then fall into different sets of a cache.
            Pitch = ((Math.Max(Depth, 1) + 15) / 16 | 1) * 16;
            int most = (int)Math.Max(1, Capacity / ((long)Pitch * grid.Columns)), bands = (grid.AllRows + most - 1) / most;
            Rows = (grid.AllRows + bands - 1) / bands;
            // The last tile of a product may read as if eleven more pixels followed.
            Length = ((long)Rows * grid.Columns + 11) * Pitch;
        }
    }

    /// <summary>One work item: the patches of a few rows of pixels.</summary>
    private struct GatherWork<T, L>(ComputeDevice device, ChannelMaps<T> maps, Grid grid, TapList taps, int row, int rows, T* to, Patches<T, L> patches) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T>
    {
        /// <summary>Vectors that an item copies at the least: some ten microseconds of work.</summary>
        private const int VectorsPerItem = 8192;

        private readonly int rowsPerItem = Math.Clamp(VectorsPerItem / Math.Max(1, grid.Columns * patches.Depth / L.Width), 1, rows);

        public readonly int Items => (rows + rowsPerItem - 1) / rowsPerItem;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            int start = item * rowsPerItem, end = Math.Min(start + rowsPerItem, rows), channels = patches.Channels;
            int lines = taps.Bottom - taps.Top + 1, cellsOfRow = (grid.Columns - 1) * grid.StrideX + taps.Right - taps.Left + 1, pitch = cellsOfRow * channels;
            var scratch = device.Memory.Rent((long)lines * pitch * sizeof(T) + taps.Count * sizeof(nint), null);
            T* cells = (T*)scratch.Address;
            nint* offsets = (nint*)(cells + lines * pitch);
            for (int t = 0; t < taps.Count; t++)
                offsets[t] = taps.Down(t) * pitch + taps.Across(t) * channels;
            new Span<T>(cells, lines * pitch).Clear();
            for (int r = start; r < end; r++)
            {
                var (image, line) = Math.DivRem(row + r, grid.Rows);
                int kept = r > start && line > 0 ? Math.Max(0, lines - grid.StrideY) : 0;
                if (kept > 0)
                    new Span<T>(cells + grid.StrideY * pitch, kept * pitch).CopyTo(new Span<T>(cells, kept * pitch));
                for (int i = kept; i < lines; i++)
                    maps.Fill(cells + i * pitch, cellsOfRow, channels, image, 0, line * grid.StrideY + taps.Top + i, taps.Left);
                T* patch = to + (nint)r * grid.Columns * patches.Pitch;
                for (int c = 0; c < grid.Columns; c++, patch += patches.Pitch)
                {
                    T* from = cells + c * grid.StrideX * channels, into = patch;
                    for (int t = 0; t < taps.Count; t++, into += channels)
                        for (int i = 0; i < channels; i += L.Width)
                            *(L*)(into + i) = *(L*)(from + offsets[t] + i);
                }
            }
            device.Memory.Return(scratch);
        }
    }
}
