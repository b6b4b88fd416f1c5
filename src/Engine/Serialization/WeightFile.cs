namespace TransferEngine.Serialization;

/// <summary>What a file of weights holds.</summary>
/// <param name="Tensors">The tensors by name.</param>
/// <param name="Metadata">Texts by name.</param>
public sealed record WeightFile(IReadOnlyDictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, string> Metadata)
{
    /// <summary>The most bytes that a file of weights may have unless the reader is told otherwise.</summary>
    internal const long DefaultLimit = 1L << 34;

    /// <summary>Reads a file of weights: <see cref="Safetensors"/>, or a <see cref="PyTorchCheckpoint"/>. Its first bytes tell which, whatever its name.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where the tensors go; the CPU if null.</param>
    /// <param name="limit">The most bytes that the file may have.</param>
    /// <exception cref="DataFormatException">The file is of neither kind, or contradicts itself.</exception>
    public static WeightFile Load(string path, Device? device = null, long limit = DefaultLimit)
    {
        ArgumentNullException.ThrowIfNull(path);
        return PyTorchCheckpoint.Begins(path) ? PyTorchCheckpoint.Load(path, null, device, limit) : Safetensors.Load(path, device, limit);
    }

    internal static FileStream Open(string path, long limit)
    {
        var file = File.OpenRead(path);
        if (file.Length <= limit)
            return file;
        long length = file.Length;
        file.Dispose();
        throw new DataFormatException(path, $"{length:N0} bytes, more than the limit of {limit:N0}. Raise the limit if the file is to be trusted.");
    }
}
