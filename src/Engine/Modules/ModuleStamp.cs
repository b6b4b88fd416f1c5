namespace TransferEngine.Modules;

/// <summary>
/// What a captured step takes for granted of a model: the modes, hooks and children of its modules, where its tensors are, which of them learn, and what is in
/// those that do not, as others may be made of them (filters with a normalisation folded in).
/// </summary>
internal sealed class ModuleStamp
{
    /// <summary>Of tensors that a step may change.</summary>
    private const int AnyVersion = -1;

    private readonly List<(Module Module, bool Trains, int Revision)> modules = [];
    private readonly List<(Tensor Tensor, Storage Memory, bool Learns, int Version)> tensors = [];

    public ModuleStamp(Module model)
    {
        foreach (var (_, module) in model.NamedModules())
        {
            modules.Add((module, module.IsTraining, module.Revision));
            foreach (var (_, tensor) in module.OwnParameters)
                tensors.Add((tensor, tensor.Storage, tensor.RequiresGrad, tensor.RequiresGrad ? AnyVersion : tensor.Storage.Version));
            foreach (var (_, tensor) in module.OwnBuffers)
                tensors.Add((tensor, tensor.Storage, false, module.IsTraining ? AnyVersion : tensor.Storage.Version));
        }
    }

    /// <summary>Whether all is as it was. Allocates nothing.</summary>
    public bool Holds
    {
        get
        {
            foreach (var (module, trains, revision) in modules)
            {
                if (module.IsTraining != trains || module.Revision != revision)
                    return false;
            }
            foreach (var (tensor, memory, learns, version) in tensors)
            {
                if (tensor.IsDisposed || !ReferenceEquals(tensor.Storage, memory) || tensor.RequiresGrad != learns || (version != AnyVersion && version != memory.Version))
                    return false;
            }
            return true;
        }
    }
}
