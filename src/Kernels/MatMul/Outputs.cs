using System.Runtime.CompilerServices;
using ILGPU;

namespace TransferEngine.Kernels;

/// <summary>What happens to the sums of a product, in registers, before they are stored. Written over lanes: runs on every machine.</summary>
internal interface IEpilogue<T> where T : unmanaged
{
    /// <param name="sum">The sums of consecutive columns of one row.</param>
    /// <param name="row">The row.</param>
    /// <param name="column">The first of the columns.</param>
    /// <param name="remaining">How many columns, 1 or more, if fewer than the lane is wide; what the others hold is never stored.</param>
    L Apply<L>(L sum, int row, int column, int remaining) where L : unmanaged, ILane<L, T>;
}

/// <summary>Takes the sums of a product to memory: where they lie there, and what is done to them first, is the output's own affair.</summary>
internal interface IOutput<T> where T : unmanaged
{
    /// <summary>Stores the sums of consecutive columns of one row of one product of the batch; parameters as <see cref="IEpilogue{T}.Apply"/>.</summary>
    void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T>;

    /// <summary>Called on the CPU's direct path a while before <paramref name="count"/> columns of a row are stored: may fetch their memory. Does nothing where none is called for.</summary>
    void Prepare(int batch, int row, int column, int count);
}

/// <summary>The sums as they are.</summary>
internal readonly struct Identity<T> : IEpilogue<T> where T : unmanaged
{
    public L Apply<L>(L sum, int row, int column, int remaining) where L : unmanaged, ILane<L, T> => sum;
}

/// <summary>x itself: for epilogues that apply no function.</summary>
internal readonly struct Same : IUnary
{
    public L Apply<L, T>(L x) where L : unmanaged, ILane<L, T> where T : unmanaged => x;
}

/// <summary>function(sum + bias[column]).</summary>
internal readonly struct ColumnBias<T, F>(ArrayView<T> bias, F function) : IEpilogue<T> where T : unmanaged where F : struct, IUnary
{
    private readonly ArrayView<T> bias = bias;
    private readonly F function = function;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public L Apply<L>(L sum, int row, int column, int remaining) where L : unmanaged, ILane<L, T> =>
        function.Apply<L, T>(sum + L.Load(bias, column, remaining, L.Constant(0)));
}

/// <summary>Row-major matrices [Batch, rows, columns], one after the other.</summary>
internal readonly struct RowMajor<T, E>(ArrayView<T> c, int rows, int columns, E epilogue) : IOutput<T> where T : unmanaged where E : struct, IEpilogue<T>
{
    private readonly ArrayView<T> c = c;
    private readonly int rows = rows, columns = columns;
    private readonly E epilogue = epilogue;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T> =>
        L.Store(c, (batch * rows + row) * columns + column, remaining, epilogue.Apply(sum, row, column, remaining));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Prepare(int batch, int row, int column, int count) => Direct.Prefetch(c, (batch * rows + row) * columns + column, count);
}

/// <summary>As <see cref="RowMajor{T, E}"/>, added to what is there.</summary>
internal readonly struct AddedRowMajor<T, E>(ArrayView<T> c, int rows, int columns, E epilogue) : IOutput<T> where T : unmanaged where E : struct, IEpilogue<T>
{
    private readonly ArrayView<T> c = c;
    private readonly int rows = rows, columns = columns;
    private readonly E epilogue = epilogue;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T>
    {
        int at = (batch * rows + row) * columns + column;
        L.Store(c, at, remaining, L.Load(c, at, remaining, L.Constant(0)) + epilogue.Apply(sum, row, column, remaining));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Prepare(int batch, int row, int column, int count) => Direct.Prefetch(c, (batch * rows + row) * columns + column, count);
}

/// <summary>An output whose columns begin further right: for a product that is computed in parts.</summary>
internal readonly struct ShiftedOutput<T, O>(O output, int columns) : IOutput<T> where T : unmanaged where O : struct, IOutput<T>
{
    private readonly O output = output;
    private readonly int columns = columns;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store<L>(L sum, int batch, int row, int column, int remaining) where L : unmanaged, ILane<L, T> =>
        output.Store(sum, batch, row, columns + column, remaining);

    public void Prepare(int batch, int row, int column, int count) => output.Prepare(batch, row, columns + column, count);
}
