using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using TransferEngine.Modules;
using TransferEngine.Serialization;

namespace TransferEngine.Adaptation;

/// <summary>
/// The weights of a model as it was shipped: remembers them on the model's device, tells what adaptation changed, puts them back, and saves and loads
/// what changed alone. A difference knows the weights that it belongs to by their fingerprint, and those that it makes.
/// </summary>
/// <remarks>
/// A difference is a safetensors file with the changed parameters and buffers, whole tensors under their names, and in its metadata the fingerprints of
/// the shipped weights and of the result. Making this, <see cref="Changed"/>, saving and loading read all weights from the device.
/// </remarks>
/// <example><code>
/// using var shipped = new ShippedWeights(model);   // after loading the model
/// shipped.LoadDifference("here.safetensors");      // what was learnt here before
/// </code></example>
public sealed class ShippedWeights : IDisposable
{
    private const string Kind = "difference.kind", Base = "difference.base", Result = "difference.result", KindText = "transfer-engine-difference-1";
    private const int EntryLength = 4096, FileLength = 1 << 16;

    private readonly WeightCopy copy;

    /// <summary>Remembers all parameters and buffers of a model as they are now.</summary>
    /// <param name="model">The model.</param>
    public ShippedWeights(Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Model = model;
        copy = new(model.StateDict().Select(item => (item.Key, item.Value)));
        Fingerprint = FingerprintOf(copy.Tensors.Select(item => (item.Name, item.Copy)));
    }

    /// <summary>The model.</summary>
    public Module Model { get; }

    /// <summary>SHA-256 over names, types, shapes and bits of all shipped weights, in hexadecimal digits.</summary>
    public string Fingerprint { get; }

    /// <summary>The names of the parameters and buffers of which some bit differs from what was shipped.</summary>
    public IReadOnlyList<string> Changed() => [.. copy.Tensors.Where(item => Differs(item.Own, item.Copy)).Select(item => item.Name)];

    /// <summary>Puts the shipped weights back, bit for bit.</summary>
    public void RollBack() => copy.Restore();

    /// <summary>Saves the changed parameters and buffers; a safetensors file, written beside and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InvalidOperationException">The model has other parameters or buffers than when it was shipped.</exception>
    public void SaveDifference(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        var state = Model.StateDict();
        string[] other = [.. state.Keys.Except(copy.Tensors.Select(item => item.Name)), .. copy.Tensors.Select(item => item.Name).Except(state.Keys)];
        if (other.Length > 0)
            throw new InvalidOperationException($"ShippedWeights.SaveDifference: the model was changed in its parts since it was shipped: {string.Join(", ", other.Take(8))}. Take added parts away, or save the whole model.");
        var changed = Changed();
        Safetensors.Save(path, changed.ToDictionary(name => name, name => state[name]), new Dictionary<string, string>
        {
            [Kind] = KindText,
            [Base] = Fingerprint,
            [Result] = FingerprintOf(state.Select(item => (item.Key, item.Value))),
        });
    }

    /// <summary>Makes the model the shipped one with a saved difference on top of it; either all of it is taken over, or nothing is changed.</summary>
    /// <param name="path">A file of <see cref="SaveDifference"/>.</param>
    /// <returns>The names of the parameters and buffers that it changes.</returns>
    /// <exception cref="DataFormatException">The file is truncated, damaged, too large for this model, or no difference.</exception>
    /// <exception cref="ArgumentException">It belongs to other weights than those that were shipped.</exception>
    public IReadOnlyList<string> LoadDifference(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = new TensorScope();
        long limit = FileLength + copy.Tensors.Sum(item => EntryLength + (long)item.Copy.Elements * (item.Copy.ElementType == ElementType.Float64 ? 8 : 4));
        var file = Safetensors.Load(path, limit: limit);
        if (!file.Metadata.TryGetValue(Kind, out string? kind) || kind != KindText)
            throw new DataFormatException(path, $"no difference of weights: its metadata does not say '{KindText}'. Whole models are loaded with Module.Load.");
        if (!file.Metadata.TryGetValue(Base, out string? of) || of != Fingerprint)
            throw new ArgumentException($"ShippedWeights.LoadDifference: '{path}' belongs to other weights: it was saved for {Shorten(of)}, the shipped weights are {Shorten(Fingerprint)}. Load the model that it was saved with.", nameof(path));
        var own = copy.Tensors.ToDictionary(item => item.Name, item => item.Copy);
        foreach (var (name, values) in file.Tensors)
        {
            if (!own.TryGetValue(name, out var tensor) || tensor.Shape != values.Shape || tensor.ElementType != values.ElementType)
                throw new DataFormatException(path, $"'{name}', {values.ElementType}{values.Shape}, is {(tensor is null ? "no part of the model" : $"{tensor.ElementType}{tensor.Shape} in the model")}.");
        }
        string result = FingerprintOf(own.Select(item => (item.Key, file.Tensors.GetValueOrDefault(item.Key, item.Value))));
        if (!file.Metadata.TryGetValue(Result, out string? wanted) || wanted != result)
            throw new DataFormatException(path, $"damaged: it makes weights {Shorten(result)}, but was saved as {Shorten(wanted)}.");
        foreach (var (name, tensor, shipped) in copy.Tensors)
            tensor.Assign(file.Tensors.GetValueOrDefault(name, shipped));
        return [.. file.Tensors.Keys.Order(StringComparer.Ordinal)];
    }

    /// <summary>Gives the remembered weights back.</summary>
    public void Dispose() => copy.Dispose();

    private static string Shorten(string? fingerprint) => fingerprint is null ? "nothing" : fingerprint[..Math.Min(16, fingerprint.Length)];

    private static bool Differs(Tensor a, Tensor b) => a.ElementType != b.ElementType || a.Shape != b.Shape || !StoredElements.Bytes(a).SequenceEqual(StoredElements.Bytes(b));

    private static string FingerprintOf(IEnumerable<(string Name, Tensor Tensor)> state)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, tensor) in state.OrderBy(item => item.Name, StringComparer.Ordinal))
        {
            // The lengths keep two different states from giving the same text.
            hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{name.Length}:{name} {tensor.ElementType}{tensor.Shape}\n")));
            hash.AppendData(StoredElements.Bytes(tensor));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
