namespace TransferEngine.Adaptation;

/// <summary>Copies of named tensors, to put back bit for bit.</summary>
internal sealed class WeightCopy : IDisposable
{
    private readonly (string Name, Tensor Own, Tensor Copy)[] tensors;

    public WeightCopy(IEnumerable<(string Name, Tensor Tensor)> state)
    {
        using var recording = new NoGrad();
        tensors = [.. state.Select(item => (item.Name, item.Tensor, item.Tensor.Clone().KeepAlive()))];
    }

    public IReadOnlyList<(string Name, Tensor Own, Tensor Copy)> Tensors => tensors;

    public void Restore()
    {
        foreach (var (_, own, copy) in tensors)
            own.Assign(copy);
    }

    public void Dispose()
    {
        foreach (var (_, _, copy) in tensors)
            copy.Dispose();
    }
}
