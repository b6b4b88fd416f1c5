using TransferEngine.Serialization;

namespace TransferEngine.Modules;

/// <summary>What loading a state found.</summary>
/// <param name="Matched">Names whose values were taken over.</param>
/// <param name="Missing">Names that the model has and the state has not.</param>
/// <param name="Unexpected">Names that the state has and the model has not.</param>
/// <param name="Mismatched">Names whose shapes or types differ, with both.</param>
public sealed record LoadReport(IReadOnlyList<string> Matched, IReadOnlyList<string> Missing, IReadOnlyList<string> Unexpected, IReadOnlyList<string> Mismatched);

public abstract partial class Module
{
    private const string BatchCount = "num_batches_tracked";

    /// <summary>Parameters and buffers by name, as PyTorch's state_dict; the module's own tensors, not copies.</summary>
    public IReadOnlyDictionary<string, Tensor> StateDict()
    {
        var result = new Dictionary<string, Tensor>();
        foreach (var (prefix, module) in NamedModules())
        {
            foreach (var (name, tensor) in module.parameters.Concat(module.buffers))
                result[Join(prefix, name)] = tensor;
        }
        return result;
    }

    /// <summary>
    /// Copies values into the parameters and buffers of the same names. Either all that match are copied, or nothing is changed.
    /// A missing <c>num_batches_tracked</c> is no fault: older files of PyTorch have none.
    /// </summary>
    /// <param name="state">Tensors by name, on any device.</param>
    /// <param name="strict">Whether names, shapes and types must agree both ways; otherwise what differs is passed over, as the head of a model with another number of classes.</param>
    /// <returns>What was taken over and what was not.</returns>
    /// <exception cref="ArgumentException">Strict, and a name is missing or unknown, or a tensor has another shape or type; the message lists them.</exception>
    public LoadReport LoadStateDict(IReadOnlyDictionary<string, Tensor> state, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        var report = Compare(state);
        if (strict)
            Refuse(report);
        var own = StateDict();
        foreach (string name in report.Matched)
            own[name].Assign(state[name]);
        return report;
    }

    /// <summary>Writes parameters and buffers as a safetensors file, which PyTorch reads too; beside the file and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="metadata">Texts to keep with them.</param>
    public void Save(string path, IReadOnlyDictionary<string, string>? metadata = null) => Safetensors.Save(path, StateDict(), metadata);

    /// <summary>Reads parameters and buffers from a file of weights, safetensors or a checkpoint of PyTorch.</summary>
    /// <param name="path">The file; its first bytes tell its kind.</param>
    /// <param name="strict">As of <see cref="LoadStateDict"/>.</param>
    /// <returns>What was taken over and what was not.</returns>
    /// <exception cref="DataFormatException">As of <see cref="WeightFile.Load"/>.</exception>
    /// <exception cref="ArgumentException">As of <see cref="LoadStateDict"/>.</exception>
    public LoadReport Load(string path, bool strict = true)
    {
        using var scope = new TensorScope();
        return LoadStateDict(WeightFile.Load(path).Tensors, strict);
    }

    /// <summary>Throws what a strict <see cref="LoadStateDict"/> would, and changes nothing.</summary>
    internal void CheckStateDict(IReadOnlyDictionary<string, Tensor> state) => Refuse(Compare(state));

    private LoadReport Compare(IReadOnlyDictionary<string, Tensor> state)
    {
        var own = StateDict();
        List<string> matched = [], missing = [], mismatched = [];
        foreach (var (name, tensor) in own)
        {
            if (!state.TryGetValue(name, out var values))
                missing.Add(name);
            else if (values.Shape != tensor.Shape || values.ElementType != tensor.ElementType)
                mismatched.Add($"{name} is {values.ElementType}{values.Shape}, wanted {tensor.ElementType}{tensor.Shape}");
            else
                matched.Add(name);
        }
        return new(matched, missing, [.. state.Keys.Where(name => !own.ContainsKey(name))], mismatched);
    }

    private void Refuse(LoadReport report)
    {
        string[] faults =
        [
            .. report.Missing.Where(name => name.Split('.')[^1] != BatchCount).Select(name => $"{name} is missing"),
            .. report.Mismatched,
            .. report.Unexpected.Select(name => $"{name} is unknown"),
        ];
        if (faults.Length > 0)
            throw new ArgumentException($"{GetType().Name}.LoadStateDict: {string.Join("; ", faults.Take(8))}{(faults.Length > 8 ? $"; and {faults.Length - 8} more" : "")}. Was it saved from another model? What differs is passed over with strict: false.");
    }
}
