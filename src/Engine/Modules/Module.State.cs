using TransferEngine.Kernels;

namespace TransferEngine.Modules;

public abstract partial class Module
{
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

    /// <summary>Copies values into the parameters and buffers of the same names. Either all is copied, or nothing is changed.</summary>
    /// <param name="state">Tensors by name, on any device, of the same shapes and types.</param>
    /// <param name="strict">Whether names must agree both ways; otherwise those that only one side has are passed over.</param>
    /// <exception cref="ArgumentException">A name is missing or unknown, or a tensor has another shape or type; the message lists them.</exception>
    public void LoadStateDict(IReadOnlyDictionary<string, Tensor> state, bool strict = true)
    {
        CheckStateDict(state, strict);
        foreach (var (name, tensor) in StateDict())
        {
            if (state.TryGetValue(name, out var values))
                tensor.Assign(values);
        }
    }

    /// <summary>Throws what <see cref="LoadStateDict"/> would, and changes nothing.</summary>
    internal void CheckStateDict(IReadOnlyDictionary<string, Tensor> state, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        var own = StateDict();
        var faults = new List<string>();
        foreach (var (name, tensor) in own)
        {
            if (!state.TryGetValue(name, out var values))
            {
                if (strict)
                    faults.Add($"{name} is missing");
            }
            else if (values.Shape != tensor.Shape || values.ElementType != tensor.ElementType)
            {
                faults.Add($"{name} is {values.ElementType}{values.Shape}, wanted {tensor.ElementType}{tensor.Shape}");
            }
        }
        if (strict)
            faults.AddRange(state.Keys.Where(name => !own.ContainsKey(name) && !name.EndsWith("num_batches_tracked", StringComparison.Ordinal)).Select(name => $"{name} is unknown"));
        if (faults.Count > 0)
            throw new ArgumentException($"{GetType().Name}.LoadStateDict: {string.Join("; ", faults.Take(8))}{(faults.Count > 8 ? $"; and {faults.Count - 8} more" : "")}. Was it saved from another model? Names that differ may be passed over with strict: false.", nameof(state));
    }
}
