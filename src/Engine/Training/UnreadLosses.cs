namespace TransferEngine.Training;

/// <summary>Losses that wait on the device in one tensor until they are read together, as each reading waits for the device.</summary>
internal sealed class UnreadLosses : IDisposable
{
    /// <summary>The most losses at once.</summary>
    private const int Capacity = 64;

    private readonly int[] rows = new int[Capacity];
    private Tensor? values;

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>Takes over the value of a scalar. False if there are too many already, or they are elsewhere or of another type.</summary>
    public bool TryAdd(Tensor loss, int weight)
    {
        values ??= Tensor.Allocate([Capacity], loss.Device, loss.ElementType).KeepAlive();
        if (Count == Capacity || !ReferenceEquals(values.Device, loss.Device) || values.ElementType != loss.ElementType)
            return false;
        loss.Device.Compute.CopyWithin(loss.Slice, values.Slice with { Offset = Count, Length = 1 });
        rows[Count++] = weight;
        return true;
    }

    /// <summary>Reads all, with what each weighs, and forgets them.</summary>
    public IReadOnlyList<(double Value, int Weight)> Read()
    {
        if (Count == 0)
            return [];
        using var scope = new TensorScope();
        double[] read = values!.Narrow(0, 0, Count).To(ElementType.Float64).ToArray<double>();
        var result = new (double, int)[Count];
        for (int i = 0; i < result.Length; i++)
            result[i] = (read[i], rows[i]);
        Count = 0;
        return result;
    }

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        values?.Dispose();
        (values, Count) = (null, 0);
    }
}
