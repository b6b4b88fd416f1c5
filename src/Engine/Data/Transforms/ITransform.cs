using System.Buffers;

namespace TransferEngine.Data.Transforms;

/// <summary>
/// Changes the input of one row while it is loaded, such as an image [C, H, W]. A <see cref="DataLoader"/> gives each row random numbers that depend on its
/// seed, the number of the pass and the row alone: the same augmentation comes whatever the batch, the prefetch or the thread.
/// </summary>
public interface ITransform
{
    /// <summary>The shape that a row of some shape becomes.</summary>
    /// <param name="row">The row's shape, without the axis of the batch.</param>
    /// <exception cref="ShapeException">Rows of this shape can't be taken.</exception>
    Shape Output(Shape row);

    /// <summary>Changes a row. Called from several threads.</summary>
    /// <param name="row">The row's values.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="result">Where all values of the result go; it does not overlap the row.</param>
    /// <param name="random">The row's random numbers.</param>
    void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random);
}

/// <summary>Transforms one after the other.</summary>
/// <param name="transforms">In the order in which they are applied.</param>
public sealed class Compose(params ITransform[] transforms) : ITransform
{
    /// <inheritdoc/>
    public Shape Output(Shape row) => transforms.Aggregate(row, (shape, transform) => transform.Output(shape));

    /// <inheritdoc/>
    public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
    {
        if (transforms.Length == 0)
        {
            row.CopyTo(result);
            return;
        }
        float[]? held = null;
        for (int i = 0; i < transforms.Length; i++)
        {
            var next = transforms[i].Output(shape);
            float[]? made = i == transforms.Length - 1 ? null : ArrayPool<float>.Shared.Rent(next.Elements);
            transforms[i].Apply(held is null ? row : held.AsSpan(0, shape.Elements), shape, made is null ? result : made.AsSpan(0, next.Elements), random);
            if (held is not null)
                ArrayPool<float>.Shared.Return(held);
            (held, shape) = (made, next);
        }
    }
}

/// <summary>Applies a transform to the rows of a batch.</summary>
internal static class Transformed
{
    public static Batch Read(IDataset data, ReadOnlySpan<int> rows, Device device, ITransform transform, ulong seed, int epoch, ParallelOptions threads)
    {
        int[] numbers = rows.ToArray();
        if (data is IRows { Single: true } single)
        {
            TensorDataset.CheckRows("Transform", rows, data.Count);
            return new(Change(numbers, single, device, transform, seed, epoch, threads), Tensor.From(Array.ConvertAll(numbers, single.Label), [numbers.Length], device));
        }
        // Rows are changed in the host's memory, before they move to the device.
        using var batch = data.Read(rows, Device.Cpu);
        var input = batch.Input;
        if (input.ElementType != ElementType.Float32)
            throw new ElementTypeException($"Transform: input {input.Shape} is {input.ElementType}, wanted Float32. Convert the data set's inputs with To(ElementType.Float32).");
        if (input.Rank == 0 || input.Shape[0] != rows.Length)
            throw new ShapeException($"Transform: the data set gave {input.Shape} for {rows.Length} rows, wanted a first axis of {rows.Length}.");
        Shape shape = input.Shape.Span[1..].ToArray();
        float[] values = input.ToArray<float>();
        var made = Run(numbers, transform.Output(shape), device, seed, epoch, threads, (i, result, random) =>
            transform.Apply(values.AsSpan(i * shape.Elements, shape.Elements), shape, result, random));
        var target = batch.Target.To(device);
        return new(made, ReferenceEquals(target, batch.Target) ? target.Alias() : target);
    }

    private static Tensor Change(int[] numbers, IRows data, Device device, ITransform transform, ulong seed, int epoch, ParallelOptions threads)
    {
        if (numbers.Length == 0)
            throw new ShapeException("Transform: no rows were asked for, of a data set whose rows have no common shape. Ask for one at least.");
        // What the first row becomes is what all have to become: it is decoded before the others.
        float[] first = data.Rent(numbers[0], out var firstShape);
        var made = transform.Output(firstShape);
        return Run(numbers, made, device, seed, epoch, threads, (i, result, random) =>
        {
            var (held, shape) = i == 0 ? (first, firstShape) : (data.Rent(numbers[i], out var own), own);
            try
            {
                var becomes = transform.Output(shape);
                if (becomes != made)
                    throw new ShapeException($"Transform: row {numbers[i]}, {shape}, becomes {becomes}, while row {numbers[0]} becomes {made}. End with a transform that makes them one size, such as CenterCrop.");
                transform.Apply(held.AsSpan(0, shape.Elements), shape, result, random);
            }
            finally
            {
                ArrayPool<float>.Shared.Return(held);
            }
        });
    }

    private delegate void Row(int place, Span<float> result, Generator random);

    private static Tensor Run(int[] numbers, Shape made, Device device, ulong seed, int epoch, ParallelOptions threads, Row row)
    {
        Shape whole = (int[])[numbers.Length, .. made];
        float[] changed = ArrayPool<float>.Shared.Rent(whole.Elements);
        try
        {
            var errors = new Exception?[numbers.Length];
            Parallel.For(0, numbers.Length, threads, i =>
            {
                try
                {
                    row(i, changed.AsSpan(i * made.Elements, made.Elements), Random(seed, epoch, numbers[i]));
                }
                catch (Exception e)
                {
                    errors[i] = e;
                }
            });
            if (Array.Find(errors, error => error is not null) is { } first)
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(first);
            return Tensor.From<float>(changed.AsSpan(0, whole.Elements), whole, device);
        }
        finally
        {
            ArrayPool<float>.Shared.Return(changed);
        }
    }

    /// <summary>The random numbers of something numbered in a pass.</summary>
    public static Generator Random(ulong seed, int epoch, int number) =>
        new(unchecked(((seed ^ 0xD1B54A32D192ED03UL) * 0x9E3779B97F4A7C15UL + (ulong)epoch) * 0xBF58476D1CE4E5B9UL + (ulong)number));

    /// <summary>The sizes of an image, or the error that says what was given.</summary>
    public static (int Channels, int Height, int Width) Image(string transform, Shape row) => row.Rank == 3
        ? (row[0], row[1], row[2])
        : throw new ShapeException($"{transform}: a row of shape {row} is no image, wanted [channels, height, width].");
}
