namespace TransferEngine.Data;

/// <summary>Rows of inputs with their targets, read by number. Reading is pure: the same rows give the same tensors, from any thread.</summary>
public interface IDataset
{
    /// <summary>The number of rows.</summary>
    int Count { get; }

    /// <summary>Reads rows.</summary>
    /// <param name="rows">Their numbers, from 0 to <see cref="Count"/> - 1, in the order wanted.</param>
    /// <param name="device">Where the tensors go.</param>
    /// <returns>The rows' inputs and targets, stacked along the first axis.</returns>
    Batch Read(ReadOnlySpan<int> rows, Device device);
}

/// <summary>A data set whose rows may differ in shape: read one by one, on the thread that transforms them.</summary>
internal interface IRows
{
    /// <summary>Whether rows have to be read so.</summary>
    bool Single { get; }

    /// <summary>A row's values, in an array of the shared pool for the caller to return, and its shape.</summary>
    float[] Rent(int row, out Shape shape);

    /// <summary>A row's class.</summary>
    int Label(int row);
}

/// <summary>A batch that says which tensors it is made of, and can be made of others: what a captured step takes.</summary>
/// <typeparam name="TSelf">The batch's own type.</typeparam>
public interface ITensorBatch<TSelf>
{
    /// <summary>The tensors, in an order of the type's own.</summary>
    IReadOnlyList<Tensor> Tensors { get; }

    /// <summary>A batch of other tensors in their places.</summary>
    /// <param name="tensors">In the order of <see cref="Tensors"/>.</param>
    TSelf With(IReadOnlyList<Tensor> tensors);
}

/// <summary>Inputs and targets of some rows. Disposing gives their memory back.</summary>
/// <param name="Input">[N, ...].</param>
/// <param name="Target">[N, ...], for classes Int32 [N].</param>
public sealed record Batch(Tensor Input, Tensor Target) : IDisposable, ITensorBatch<Batch>
{
    /// <summary>Further views of the same inputs, each [N, ...], as <see cref="DataLoaderSettings.Views"/> wants them.</summary>
    public IReadOnlyList<Tensor> Views { get; init; } = [];

    /// <summary>The rows' numbers in the data set of the <see cref="DataLoader"/> that read them; empty of batches made elsewhere.</summary>
    public ReadOnlyMemory<int> Rows { get; internal set; }

    IReadOnlyList<Tensor> ITensorBatch<Batch>.Tensors => (Tensor[])[Input, Target, .. Views];

    Batch ITensorBatch<Batch>.With(IReadOnlyList<Tensor> tensors) => new(tensors[0], tensors[1]) { Views = [.. tensors.Skip(2)] };

    /// <inheritdoc/>
    public void Dispose()
    {
        Input.Dispose();
        Target.Dispose();
        foreach (var view in Views)
            view.Dispose();
    }
}

/// <summary>A data set in memory: tensors whose first axes are the rows.</summary>
public sealed partial class TensorDataset : IDataset
{
    /// <param name="inputs">[N, ...].</param>
    /// <param name="targets">[N, ...].</param>
    /// <exception cref="ShapeException">The numbers of rows differ.</exception>
    public TensorDataset(Tensor inputs, Tensor targets)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(targets);
        Check.That(inputs.Rank > 0 && targets.Rank > 0 && inputs.Shape[0] == targets.Shape[0],
            $"TensorDataset: inputs {inputs.Shape} and targets {targets.Shape} differ in rows; a target is wanted for each input.");
        Check.SameDevice("TensorDataset", inputs, targets);
        (Inputs, Targets) = (inputs.KeepAlive(), targets.KeepAlive());
    }

    /// <summary>All inputs.</summary>
    public Tensor Inputs { get; }

    /// <summary>All targets.</summary>
    public Tensor Targets { get; }

    /// <inheritdoc/>
    public int Count => Inputs.Shape[0];

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">A row is not there.</exception>
    public Batch Read(ReadOnlySpan<int> rows, Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        CheckRows("TensorDataset", rows, Count);
        using var recording = new NoGrad();
        using var index = Tensor.From(rows, [rows.Length], Inputs.Device);
        var input = Move(Inputs.IndexSelect(0, index));
        try
        {
            return new(input, Move(Targets.IndexSelect(0, index)));
        }
        catch
        {
            input.Dispose();
            throw;
        }

        Tensor Move(Tensor selected)
        {
            var moved = selected.To(device);
            if (!ReferenceEquals(moved, selected))
                selected.Dispose();
            return moved;
        }
    }

    /// <summary>Rows are checked here: on a GPU the selection does not look.</summary>
    internal static void CheckRows(string data, ReadOnlySpan<int> rows, int count)
    {
        foreach (int row in rows)
        {
            if ((uint)row >= (uint)count)
                throw new ArgumentOutOfRangeException(nameof(rows), row, $"{data}: there is no row {row} among {count}, 0 to {count - 1}.");
        }
    }
}

/// <summary>Some rows of another data set, in an order of their own.</summary>
/// <param name="data">The data set.</param>
/// <param name="rows">Which of its rows; copied.</param>
/// <exception cref="ArgumentOutOfRangeException">A row is not in the data set.</exception>
public sealed class Subset(IDataset data, IReadOnlyList<int> rows) : IDataset, IRows
{
    private readonly int[] rows = Checked(data, rows);

    bool IRows.Single => data is IRows { Single: true };

    float[] IRows.Rent(int row, out Shape shape) => ((IRows)data).Rent(rows[row], out shape);

    int IRows.Label(int row) => ((IRows)data).Label(rows[row]);

    /// <inheritdoc/>
    public int Count => rows.Length;

    /// <inheritdoc/>
    public Batch Read(ReadOnlySpan<int> subset, Device device)
    {
        TensorDataset.CheckRows("Subset", subset, Count);
        var chosen = new int[subset.Length];
        for (int i = 0; i < chosen.Length; i++)
            chosen[i] = rows[subset[i]];
        return data.Read(chosen, device);
    }
    private static int[] Checked(IDataset data, IReadOnlyList<int> rows)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(rows);
        int[] copy = [.. rows];
        TensorDataset.CheckRows("Subset", copy, data.Count);
        return copy;
    }
}
