using System.Globalization;

namespace TransferEngine.Serialization;

/// <summary>The weights among what a checkpoint of PyTorch holds, checked before anything is read for them.</summary>
internal sealed class CheckpointContent
{
    private const string ParallelPrefix = "module.";

    /// <summary>What training scripts call their weights, the commonest first.</summary>
    private static readonly string[] Keys = ["state_dict", "model_state_dict", "model", "net", "weights"];

    private readonly string path;
    private readonly Dictionary<string, PickledTensor> tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> metadata = new(StringComparer.Ordinal);

    /// <param name="path">The file.</param>
    /// <param name="root">What its pickle holds.</param>
    /// <param name="key">The key of the weights; null finds them.</param>
    /// <param name="length">The file's bytes: no more are allocated for its tensors.</param>
    public CheckpointContent(string path, object? root, string? key, long length)
    {
        this.path = path;
        if (root is not PickledMapping mapping)
            throw new DataFormatException(path, "it holds no dictionary at its top. Save the model's state_dict().");
        foreach (var (name, value) in mapping)
        {
            if (name is string text && value is string or long or double or bool)
                metadata[text] = Convert.ToString(value, CultureInfo.InvariantCulture)!;
        }
        var weights = Weights(mapping, key).Where(item => item is { Key: string, Value: PickledTensor }).ToArray();
        int prefix = Array.TrueForAll(weights, item => ((string)item.Key!).StartsWith(ParallelPrefix, StringComparison.Ordinal)) ? ParallelPrefix.Length : 0;
        foreach (var (name, tensor) in weights)
        {
            if (!tensors.TryAdd(((string)name!)[prefix..], (PickledTensor)tensor!))
                throw new DataFormatException(path, $"'{name}' is there twice.");
        }
        long bytes = 0;
        foreach (var group in tensors.GroupBy(item => Place(item.Value)))
        {
            Check(group.First().Key, group.First().Value);
            bytes += (long)group.First().Value.Sizes.Aggregate(1L, (product, size) => product * size) * group.First().Value.Type.Size();
        }
        if (bytes > length)
            throw new DataFormatException(path, $"its tensors claim {bytes:N0} bytes, more than the {length:N0} of the file.");
    }

    /// <summary>Makes the tensors.</summary>
    /// <param name="device">Where.</param>
    /// <param name="bytes">Reads a storage whole.</param>
    public WeightFile Read(Device device, Func<PickledStorage, byte[]> bytes)
    {
        var result = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        try
        {
            foreach (var storage in tensors.GroupBy(item => item.Value.Storage))
            {
                byte[] stored = bytes(storage.Key);
                foreach (var same in storage.GroupBy(item => Place(item.Value)))
                {
                    var (name, view) = same.First();
                    var tensor = StoredElements.Read(path, name, view.Type, Elements(view, stored), view.Sizes, device);
                    foreach (var item in same)
                        result.Add(item.Key, tensor);
                }
            }
            // In the file's order, which is the model's.
            return new(tensors.Keys.ToDictionary(name => name, name => result[name], StringComparer.Ordinal), metadata);
        }
        catch
        {
            foreach (var tensor in result.Values)
                tensor.Dispose();
            throw;
        }
    }

    /// <summary>What two names of the same tensor have in common.</summary>
    private static string Place(PickledTensor tensor) => string.Create(CultureInfo.InvariantCulture, $"{tensor.Type} {tensor.Offset} {string.Join(',', tensor.Sizes)} {string.Join(',', tensor.Strides)} {tensor.Storage.Key}");

    private PickledMapping Weights(PickledMapping root, string? key)
    {
        var found = root.Where(item => item is { Key: string, Value: PickledMapping inner } && inner.Exists(entry => entry is { Key: string, Value: PickledTensor }))
            .Select(item => ((string)item.Key!, (PickledMapping)item.Value!)).ToArray();
        string there = string.Join(", ", found.Take(8).Select(item => $"'{item.Item1}'"));
        if (key is not null)
            return Find(key) ?? throw new DataFormatException(path, $"no tensors stand under '{key}'{(found.Length > 0 ? $"; they do under {there}" : "")}.");
        if (root.Exists(item => item is { Key: string, Value: PickledTensor }))
            return root;
        return found switch
        {
            [] => throw new DataFormatException(path, "it holds no dictionary of tensors by name, neither at its top nor below. Save the model's state_dict()."),
            [var only] => only.Item2,
            _ => Keys.Select(Find).FirstOrDefault(item => item is not null) ?? throw new DataFormatException(path, $"tensors stand under {there}. Name the key of the weights."),
        };

        PickledMapping? Find(string name) => Array.Find(found, item => item.Item1 == name).Item2;
    }

    private void Check(string name, PickledTensor tensor)
    {
        long last = tensor.Offset, available = tensor.Storage.Type is { } type ? type == tensor.Type ? tensor.Storage.Elements : -1 : tensor.Storage.Bytes / tensor.Type.Size();
        Shape shape;
        try
        {
            shape = tensor.Sizes;
            for (int axis = 0; axis < tensor.Sizes.Length; axis++)
                last = checked(last + Math.Max(tensor.Sizes[axis] - 1L, 0) * tensor.Strides[axis]);
        }
        catch (Exception e) when (e is ShapeException or OverflowException)
        {
            throw new DataFormatException(path, $"'{name}': {e.Message}", e);
        }
        if (tensor.Offset < 0 || shape.Elements > 0 && (last >= available || shape.Elements > available))
            throw new DataFormatException(path, $"'{name}', {tensor.Type} {shape} of strides [{string.Join(", ", tensor.Strides)}] from {tensor.Offset:N0}, does not lie in its storage of {available:N0} elements.");
        if (shape.Elements > Array.MaxLength / tensor.Type.Size() || tensor.Storage.Bytes > Array.MaxLength)
            throw new DataFormatException(path, $"'{name}' has {shape.Elements:N0} elements in a storage of {tensor.Storage.Bytes:N0} bytes, more than an array of .NET holds.");
    }

    /// <summary>The bytes of a tensor's elements in their order.</summary>
    private static ReadOnlySpan<byte> Elements(PickledTensor tensor, byte[] stored)
    {
        int size = tensor.Type.Size(), count = ((Shape)tensor.Sizes).Elements;
        var expected = ((Shape)tensor.Sizes).ContiguousStrides();
        if (count == 0)
            return [];
        if (tensor.Sizes.Zip(tensor.Strides, expected).All(axis => axis.First == 1 || axis.Second == axis.Third))
            return stored.AsSpan((int)(tensor.Offset * size), count * size);
        var ordered = new byte[count * size];
        var index = new int[tensor.Sizes.Length];
        for (int i = 0; i < count; i++)
        {
            long at = tensor.Offset;
            for (int axis = 0; axis < index.Length; axis++)
                at += index[axis] * tensor.Strides[axis];
            stored.AsSpan((int)(at * size), size).CopyTo(ordered.AsSpan(i * size));
            for (int axis = index.Length - 1; axis >= 0 && ++index[axis] == tensor.Sizes[axis]; axis--)
                index[axis] = 0;
        }
        return ordered;
    }
}
