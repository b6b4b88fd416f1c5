namespace TransferEngine.Adaptation;

/// <summary>
/// Adapts a shipped model while it is used: without source data, without labels, batch by batch. Not for several threads on one model at once.
/// </summary>
/// <example><code>
/// using var shipped = new ShippedWeights(model);
/// using var adapter = new Tent(model);
/// foreach (var batch in stream)
///     Use(adapter.Adapt(batch).ArgMax(1));
/// shipped.SaveDifference("here.safetensors");  // or: adapter.RollBack()
/// </code></example>
public interface IStreamAdapter : IDisposable
{
    /// <summary>Predicts a batch and adapts to it.</summary>
    /// <param name="batch">Inputs of the target domain, [N, ...].</param>
    /// <returns>Logits [N, C], part of no graph.</returns>
    /// <exception cref="ArgumentException">The batch has no row, or holds NaN or infinities; nothing is changed then.</exception>
    Tensor Adapt(Tensor batch);

    /// <summary>Puts everything back as it was when the adapter was made, bit for bit.</summary>
    void RollBack();
}

internal static class StreamBatch
{
    /// <summary>Refuses what would spoil the model for all batches to come.</summary>
    public static void Check(string name, Tensor batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        TransferEngine.Check.That(batch.Rank > 0 && batch.Elements > 0, $"{name}.Adapt: the batch {batch.Shape} is empty. Give one row or more.");
        if (batch.ElementType == ElementType.Int32)
            return;
        if (!IsFinite(batch))
            throw new ArgumentException($"{name}.Adapt: the batch {batch.Shape} holds NaN or infinities, which would spoil the model. Leave such rows out.", nameof(batch));
    }

    /// <summary>Whether all elements are numbers.</summary>
    public static bool IsFinite(Tensor x)
    {
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        // 0 times a number is 0, 0 times NaN or infinity is not.
        return (x * 0).Sum().Item() == 0;
    }

    /// <summary>Refuses outputs that are no logits of the batch.</summary>
    public static Tensor Logits(string name, Tensor batch, Tensor output)
    {
        TransferEngine.Check.That(output.Rank == 2 && output.Shape[0] == batch.Shape[0] && output.Shape[1] > 0,
            $"{name}: the model makes {output.Shape} of {batch.Shape}; wanted logits [{batch.Shape[0]}, C].");
        return output;
    }
}
