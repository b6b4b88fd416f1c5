using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>
/// Products of a vector, or of a few rows, with a matrix on the CPU's direct path, where each number of the matrix is used once and its memory is
/// the limit: the matrix is streamed in the order in which it lies. Dot products where its lines are contiguous along K, else sums of scaled rows.
/// </summary>
internal static unsafe class VectorProduct
{
    /// <summary>Lines (columns of B, or rows of A) whose sums are held at once, at most: they stay in the first-level cache.</summary>
    private const int MostLines = 256;

    /// <summary>Numbers of the matrix below which a work item is not split further: about a microsecond of work.</summary>
    private const int ItemSize = 1 << 14;

    /// <summary>The most rows that dot products serve; for more, packing the matrix pays.</summary>
    private const int MostRows = 4;

    /// <summary>Computes the product if it is one of these; false if it is better served by panels.</summary>
    public static bool TryRun<T, L, O>(ComputeDevice device, in MatMulShape shape, in Matrix a, in Matrix b, O output)
        where T : unmanaged where L : unmanaged, ILane<L, T> where O : struct, IOutput<T>
    {
        // With one column, the rows of A are the lines and B's column is the vector.
        bool column = shape.N == 1 && shape.M > 1;
        var (vector, matrix) = column ? (b.Transposed, a.Transposed) : (a, b);
        int rows = column ? 1 : shape.M, lines = column ? shape.M : shape.N;
        bool dots = matrix.RowStride == 1 && rows <= MostRows && shape.K >= L.Width && (vector.ColumnStride == 1 || lines >= L.Width);
        if (!dots && !(rows == 1 && matrix.ColumnStride == 1 && lines >= L.Width))
            return false;
        // Dot products share out lines finely; rows that are scaled are read in runs of lines, which must not be short.
        int chunk = dots ? Math.Clamp(ItemSize / shape.K / 32 * 32, 32, MostLines) : MostLines;
        int chunks = (lines + chunk - 1) / chunk, total = shape.Batch * chunks;
        int group = (int)Math.Clamp(ItemSize / ((long)Math.Min(lines, chunk) * Math.Max(shape.K, 1)), 1, total);
        var sizes = new Sizes(shape.K, rows, lines, chunk, chunks, total, group, column);
        if (!dots)
        {
            var work = new RowsWork<T, L, O>(sizes, vector, matrix, output);
            device.RunWork((total + group - 1) / group, ref work);
            return true;
        }
        // A vector that lies scattered is gathered once.
        var gathered = vector.ColumnStride == 1 ? null : Gather<T>(device, shape.Batch, rows, shape.K, ref vector);
        try
        {
            var work = new DotWork<T, L, O>(sizes, vector, matrix, output);
            device.RunWork((total + group - 1) / group, ref work);
        }
        finally
        {
            if (gathered is not null)
                device.Memory.Return(gathered);
        }
        return true;
    }

    private static MemoryBlock Gather<T>(ComputeDevice device, int batch, int rows, int depth, ref Matrix vector) where T : unmanaged
    {
        int matrices = vector.BatchStride == 0 ? 1 : batch;
        var block = device.Memory.Rent((long)matrices * rows * depth * sizeof(T), null);
        var work = new GatherWork<T>(vector, rows, depth, (T*)block.Address);
        device.RunWork(matrices, ref work);
        var data = new Slice(block, 0, matrices * rows * depth, vector.Data.Type);
        vector = Matrix.RowMajor(data, rows, depth) with { BatchStride = matrices == 1 ? 0 : rows * depth };
        return block;
    }

    /// <summary>Sizes, and how the chunks of all products are grouped to work items; <paramref name="Column"/> says that lines are rows of the result.</summary>
    private readonly record struct Sizes(int K, int Rows, int Lines, int Chunk, int Chunks, int Total, int Group, bool Column);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Store<T, L, O>(in O output, in Sizes sizes, T* sums, int batch, int row, int line, int count)
        where T : unmanaged where L : unmanaged, ILane<L, T> where O : struct, IOutput<T>
    {
        for (int i = 0; i < count; i += sizes.Column ? 1 : L.Width)
        {
            if (sizes.Column)
                output.Store(L.Splat(sums[i]), batch, line + i, 0, 1);
            else
                output.Store(*(L*)(sums + i), batch, row, line + i, count - i);
        }
    }

    /// <summary>One matrix of the batch: its elements one after the other.</summary>
    private readonly struct GatherWork<T>(Matrix vector, int rows, int depth, T* to) : IWork where T : unmanaged
    {
        public void Execute(int item)
        {
            T* from = vector.Data.Pointer<T>() + (nint)item * vector.BatchStride, next = to + (nint)item * rows * depth;
            for (int row = 0; row < rows; row++)
                for (int k = 0; k < depth; k++)
                    *next++ = from[(nint)row * vector.RowStride + (nint)k * vector.ColumnStride];
        }
    }

    /// <summary>Lines contiguous along K: dot products, four lines at a time.</summary>
    private struct DotWork<T, L, O>(Sizes sizes, Matrix vector, Matrix matrix, O output) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T> where O : struct, IOutput<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            T* sums = stackalloc T[MostRows * MostLines];
            for (int chunk = item * sizes.Group; chunk < Math.Min((item + 1) * sizes.Group, sizes.Total); chunk++)
            {
                int batch = chunk / sizes.Chunks, first = chunk % sizes.Chunks * sizes.Chunk, count = Math.Min(sizes.Chunk, sizes.Lines - first);
                T* w = matrix.Data.Pointer<T>() + (nint)batch * matrix.BatchStride, x = vector.Data.Pointer<T>() + (nint)batch * vector.BatchStride;
                for (int i = 0; i < count; i += 4)
                {
                    int last = Math.Min(i + 3, count - 1);
                    T* w0 = Line(w, first + i), w1 = Line(w, first + Math.Min(i + 1, last)), w2 = Line(w, first + Math.Min(i + 2, last)), w3 = Line(w, first + last);
                    for (int row = 0; row < sizes.Rows; row++)
                        Dot(x + (nint)row * vector.RowStride, w0, w1, w2, w3, sizes.K, sums + row * MostLines + i);
                }
                for (int row = 0; row < sizes.Rows; row++)
                    Store<T, L, O>(output, sizes, sums + row * MostLines, batch, row, first, count);
            }
        }

        private readonly T* Line(T* w, int line) => w + (nint)line * matrix.ColumnStride;

        [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
        private static void Dot(T* x, T* w0, T* w1, T* w2, T* w3, int depth, T* sums)
        {
            L* part = stackalloc L[4];
            int whole = depth / (2 * L.Width) * (2 * L.Width);
            Whole(x, w0, w1, w2, w3, whole, part);
            for (int k = whole; k < depth; k += L.Width)
                Rest(x + k, w0 + k, w1 + k, w2 + k, w3 + k, depth - k, part);
            sums[0] = L.Sum(part[0]);
            sums[1] = L.Sum(part[1]);
            sums[2] = L.Sum(part[2]);
            sums[3] = L.Sum(part[3]);
        }

        /// <summary>The pairs of vectors: a loop without any call, so that its sums stay in registers.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Whole(T* x, T* w0, T* w1, T* w2, T* w3, int depth, L* part)
        {
            L a0 = L.Constant(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
            for (nint k = 0; k < depth; k += 2 * L.Width)
            {
                L u = *(L*)(x + k), v = *(L*)(x + k + L.Width);
                a0 = L.MultiplyAdd(u, *(L*)(w0 + k), a0);
                a1 = L.MultiplyAdd(u, *(L*)(w1 + k), a1);
                a2 = L.MultiplyAdd(u, *(L*)(w2 + k), a2);
                a3 = L.MultiplyAdd(u, *(L*)(w3 + k), a3);
                b0 = L.MultiplyAdd(v, *(L*)(w0 + k + L.Width), b0);
                b1 = L.MultiplyAdd(v, *(L*)(w1 + k + L.Width), b1);
                b2 = L.MultiplyAdd(v, *(L*)(w2 + k + L.Width), b2);
                b3 = L.MultiplyAdd(v, *(L*)(w3 + k + L.Width), b3);
            }
            part[0] = a0 + b0;
            part[1] = a1 + b1;
            part[2] = a2 + b2;
            part[3] = a3 + b3;
        }

        /// <summary>One more vector of each line, of which <paramref name="left"/> numbers (1 or more) may be read.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Rest(T* x, T* w0, T* w1, T* w2, T* w3, int left, L* part)
        {
            L u = Part(x, left);
            part[0] = L.MultiplyAdd(u, Part(w0, left), part[0]);
            part[1] = L.MultiplyAdd(u, Part(w1, left), part[1]);
            part[2] = L.MultiplyAdd(u, Part(w2, left), part[2]);
            part[3] = L.MultiplyAdd(u, Part(w3, left), part[3]);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static L Part(T* from, int left) => L.Load(Direct.View(from, left), 0, left, L.Constant(0));
    }

    /// <summary>Rows contiguous over the lines: each is scaled by its number of the vector and added, eight rows at a time.</summary>
    private struct RowsWork<T, L, O>(Sizes sizes, Matrix vector, Matrix matrix, O output) : IWork
        where T : unmanaged where L : unmanaged, ILane<L, T> where O : struct, IOutput<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Execute(int item)
        {
            T* sums = stackalloc T[MostLines];
            for (int chunk = item * sizes.Group; chunk < Math.Min((item + 1) * sizes.Group, sizes.Total); chunk++)
            {
                int batch = chunk / sizes.Chunks, first = chunk % sizes.Chunks * sizes.Chunk, count = Math.Min(sizes.Chunk, sizes.Lines - first), whole = count & -L.Width;
                T* w = matrix.Data.Pointer<T>() + (nint)batch * matrix.BatchStride + first, x = vector.Data.Pointer<T>() + (nint)batch * vector.BatchStride;
                nint step = vector.ColumnStride, row = matrix.RowStride;
                for (int j = 0; j < whole; j += L.Width)
                    *(L*)(sums + j) = L.Constant(0);
                int k = 0;
                for (; k <= sizes.K - 8; k += 8)
                    AddEight(x + k * step, step, w + k * row, row, sums, whole);
                for (; k < sizes.K; k++)
                {
                    L scale = L.Splat(x[k * step]);
                    for (int j = 0; j < whole; j += L.Width)
                        *(L*)(sums + j) = L.MultiplyAdd(scale, *(L*)(w + k * row + j), *(L*)(sums + j));
                }
                Store<T, L, O>(output, sizes, sums, batch, 0, first, whole);
                if (whole < count)
                    Rest(x, step, w + whole, row, count - whole, batch, first + whole);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void AddEight(T* x, nint step, T* w, nint row, T* sums, int count)
        {
            L x0 = L.Splat(x[0]), x1 = L.Splat(x[step]), x2 = L.Splat(x[2 * step]), x3 = L.Splat(x[3 * step]);
            L x4 = L.Splat(x[4 * step]), x5 = L.Splat(x[5 * step]), x6 = L.Splat(x[6 * step]), x7 = L.Splat(x[7 * step]);
            T* w1 = w + row, w2 = w1 + row, w3 = w2 + row, w4 = w3 + row, w5 = w4 + row, w6 = w5 + row, w7 = w6 + row;
            for (nint j = 0; j < count; j += L.Width)
            {
                L sum = L.MultiplyAdd(x0, *(L*)(w + j), *(L*)(sums + j));
                sum = L.MultiplyAdd(x1, *(L*)(w1 + j), sum);
                sum = L.MultiplyAdd(x2, *(L*)(w2 + j), sum);
                sum = L.MultiplyAdd(x3, *(L*)(w3 + j), sum);
                sum = L.MultiplyAdd(x4, *(L*)(w4 + j), sum);
                sum = L.MultiplyAdd(x5, *(L*)(w5 + j), sum);
                sum = L.MultiplyAdd(x6, *(L*)(w6 + j), sum);
                *(L*)(sums + j) = L.MultiplyAdd(x7, *(L*)(w7 + j), sum);
            }
        }

        /// <summary>The lines past the last whole vector, through packed panels.</summary>
        private readonly void Rest(T* x, nint step, T* w, nint row, int count, int batch, int line)
        {
            T* panel = stackalloc T[64 * L.Width];
            T* tile = stackalloc T[4 * L.Width];
            var source = new StridedPanels<T>(w, 1, row, 0);
            for (int k = 0; k == 0 || k < sizes.K; k += 64)
            {
                int depth = Math.Min(64, sizes.K - k);
                source.Pack(panel, L.Width, 0, k, depth, 0, count);
                TileKernel.Run<T, L>(1, false, x + k * step, 0, step, panel, L.Width, depth, tile, k == 0);
            }
            Store<T, L, O>(output, sizes, tile, batch, 0, line, count);
        }
    }
}
