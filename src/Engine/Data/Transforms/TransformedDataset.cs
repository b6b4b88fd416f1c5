namespace TransferEngine.Data.Transforms;

/// <summary>
/// A data set whose inputs are transformed, each row always alike: for what does not change from pass to pass, such as <see cref="Resize"/>,
/// <see cref="CenterCrop"/> and <see cref="Normalize"/>.
/// </summary>
/// <param name="data">The data set.</param>
/// <param name="transform">What becomes of each row's input.</param>
public sealed class TransformedDataset(IDataset data, ITransform transform) : IDataset
{
    /// <inheritdoc/>
    public int Count => data.Count;

    /// <inheritdoc/>
    public Batch Read(ReadOnlySpan<int> rows, Device device) => Transformed.Read(data, rows, device, transform, seed: 0, epoch: 0, new());
}
