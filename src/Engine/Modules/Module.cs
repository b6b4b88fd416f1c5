namespace TransferEngine.Modules;

/// <summary>
/// A part of a network: named parameters, buffers and child modules, a mode, and a forward pass. A module of one's own derives from this,
/// registers what it holds in its constructor and overrides <see cref="Compute"/>. Names and their order are those of PyTorch, joined by
/// dots. The same tensor or module may be registered in several places; it is then listed once, under its first name.
/// </summary>
/// <example><code>
/// sealed class Block : Module
/// {
///     private readonly Linear inner;
///     public Block(int width) => inner = Add("inner", new Linear(width, width));
///     protected override Tensor Compute(Tensor input) => input + inner.Forward(input).Relu();
/// }
/// </code></example>
public abstract partial class Module
{
    private readonly List<(string Name, Module Module)> children = [];
    private readonly List<(string Name, Tensor Tensor)> parameters = [], buffers = [];
    private List<Func<Module, Tensor, Tensor, Tensor?>>? hooks;
    private bool trains = true;

    /// <summary>
    /// Whether the module behaves as in training (dropout drops, normalisation uses the batch's statistics): what <see cref="Train"/> said last,
    /// unless it is frozen.
    /// </summary>
    public bool IsTraining => trains && EvaluationHolds == 0;

    /// <summary>The child modules in the order in which they were added.</summary>
    public IReadOnlyList<(string Name, Module Module)> Children => children;

    /// <summary>The parameters of this module itself, not of its children.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> OwnParameters => parameters;

    /// <summary>The buffers of this module itself: what is saved with it but not trained.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> OwnBuffers => buffers;

    /// <summary>How many freezes hold the module in evaluation, whatever <see cref="Train"/> says.</summary>
    internal int EvaluationHolds { get; set; }

    /// <summary>
    /// Whether nobody keeps what goes in or comes out: true for layers of this library without hooks, whose outputs a
    /// <see cref="Sequential"/> may give back once the next layer used them. Code of others may keep anything.
    /// </summary>
    internal virtual bool IsTransparent => false;

    /// <summary>Counts what changes the way that the forward pass takes: hooks and children that come, go or are replaced.</summary>
    internal int Revision { get; private set; }

    private protected bool HasHooks => hooks is not null;

    /// <summary>Computes the output, and calls the hooks with it.</summary>
    /// <param name="input">As the module's documentation says.</param>
    public Tensor Forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var output = Compute(input);
        if (hooks is not null)
        {
            foreach (var hook in hooks.ToArray())
                output = hook(this, input, output) ?? output;
        }
        return output;
    }

    /// <summary>Calls <paramref name="hook"/> after each forward pass; what it returns, unless null, takes the output's place.</summary>
    /// <param name="hook">Gets this module, the input and the output.</param>
    /// <returns>Disposing it removes the hook.</returns>
    public IDisposable RegisterForwardHook(Func<Module, Tensor, Tensor, Tensor?> hook)
    {
        ArgumentNullException.ThrowIfNull(hook);
        (hooks ??= []).Add(hook);
        Revision++;
        return new HookRegistration(this, hook);
    }

    /// <summary>Puts the module and all below it into training mode, or out of it. Frozen ones stay in evaluation.</summary>
    /// <param name="training">Whether to train.</param>
    /// <returns>This module.</returns>
    public Module Train(bool training = true)
    {
        foreach (var (_, module) in NamedModules())
            module.trains = training;
        return this;
    }

    /// <summary>Puts the module and all below it into evaluation mode.</summary>
    /// <returns>This module.</returns>
    public Module Eval() => Train(false);

    /// <summary>Evaluation mode for everything below, until the result is called, which puts each module back into the mode that it had.</summary>
    internal Action Evaluate()
    {
        (Module Module, bool Trains)[] before = [.. NamedModules().Select(item => (item.Module, item.Module.trains))];
        Eval();
        return () =>
        {
            foreach (var (module, trained) in before)
                module.trains = trained;
        };
    }

    /// <summary>This module, named by nothing, and all below it, each before its children.</summary>
    public IEnumerable<(string Name, Module Module)> NamedModules()
    {
        var result = new List<(string, Module)>();
        Walk("", this, new(ReferenceEqualityComparer.Instance), result);
        return result;
    }

    /// <summary>A module below by its name, such as <c>features.3</c>; this one by an empty name.</summary>
    /// <param name="name">As <see cref="NamedModules"/> gives it, or another path to a module that is registered twice.</param>
    /// <exception cref="ArgumentException">There is none of this name; the message lists those that there are.</exception>
    public Module GetModule(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        var module = this;
        foreach (string part in name.Length == 0 ? [] : name.Split('.'))
        {
            module = module.children.Find(item => item.Name == part).Module ?? throw new ArgumentException(
                $"{GetType().Name} has no module '{name}'. Its modules are: {string.Join(", ", NamedModules().Select(item => item.Name).Where(item => item.Length > 0))}.", nameof(name));
        }
        return module;
    }

    /// <summary>All parameters, by name.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> NamedParameters() => Named(module => module.parameters);

    /// <summary>All buffers, by name.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> NamedBuffers() => Named(module => module.buffers);

    /// <summary>All parameters: what an optimiser takes.</summary>
    public IEnumerable<Tensor> Parameters() => NamedParameters().Select(item => item.Tensor);

    /// <summary>
    /// Moves all parameters, their gradients and the buffers to a device, in place: who holds a parameter sees it moved. State that an optimiser
    /// keeps already stays behind, so move first.
    /// </summary>
    /// <param name="device">Where.</param>
    /// <returns>This module.</returns>
    public Module To(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Become(tensor => tensor.To(device));
    }

    /// <summary>Converts all floating parameters, their gradients and the buffers to a type, in place as <see cref="To(Device)"/> moves them.</summary>
    /// <param name="type">Float32 or Float64.</param>
    /// <returns>This module.</returns>
    /// <exception cref="ElementTypeException">The type is neither Float32 nor Float64.</exception>
    public Module To(ElementType type) => type is not (ElementType.Float32 or ElementType.Float64)
        ? throw new ElementTypeException($"{GetType().Name}.To: parameters can't be {type}. Use Float32 or Float64; Autocast computes products in 16 bits, of Float32 parameters.")
        : Become(tensor => tensor.ElementType == ElementType.Int32 ? tensor : tensor.To(type));

    /// <summary>Says of all parameters whether gradients are wanted. For transfer see the freeze policies, which also settle modes and optimisers.</summary>
    /// <param name="required">Whether they are.</param>
    /// <returns>This module.</returns>
    public Module RequiresGrad(bool required = true)
    {
        foreach (var parameter in Parameters())
            parameter.RequiresGrad = required;
        return this;
    }

    /// <summary>Drops the gradients of all parameters, and gives their memory back.</summary>
    public void ZeroGrad()
    {
        foreach (var parameter in Parameters())
        {
            parameter.Grad?.Dispose();
            parameter.Grad = null;
        }
    }

    /// <summary>Computes the output. Called by <see cref="Forward"/>.</summary>
    /// <param name="input">What Forward got.</param>
    protected abstract Tensor Compute(Tensor input);

    /// <summary>Registers a child module.</summary>
    /// <typeparam name="T">Its type.</typeparam>
    /// <param name="name">Its name here, without a dot.</param>
    /// <param name="module">The child.</param>
    /// <returns>The child.</returns>
    protected T Add<T>(string name, T module) where T : Module
    {
        ArgumentNullException.ThrowIfNull(module);
        CheckName(name);
        children.Add((name, module));
        Revision++;
        return module;
    }

    /// <summary>Puts a module in the place of a registered one, under its name.</summary>
    /// <typeparam name="T">Its type.</typeparam>
    /// <param name="name">The name here, of a child or, with dots, of a module below one.</param>
    /// <param name="module">The new module.</param>
    /// <returns>The new module.</returns>
    protected T Replace<T>(string name, T module) where T : Module
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(module);
        int dot = name.LastIndexOf('.');
        var parent = dot < 0 ? this : GetModule(name[..dot]);
        var siblings = parent.children;
        int place = siblings.FindIndex(item => item.Name == name[(dot + 1)..]);
        if (place < 0)
            throw new ArgumentException($"{GetType().Name}: no module '{name}' to replace. Beside it there are: {string.Join(", ", siblings.Select(item => item.Name))}.", nameof(name));
        siblings[place] = (siblings[place].Name, module);
        parent.Revision++;
        return module;
    }

    /// <summary>Registers a child from outside, as adapters are; its owner calls it by a hook.</summary>
    internal void Attach(string name, Module module) => Add(name, module);

    /// <summary>Takes an attached child away.</summary>
    internal void Detach(Module module)
    {
        children.RemoveAll(item => ReferenceEquals(item.Module, module));
        Revision++;
    }

    /// <summary>Registers a parameter: it needs a gradient from now on, and lives until the module is collected.</summary>
    /// <param name="name">Its name here, without a dot.</param>
    /// <param name="tensor">A contiguous floating leaf.</param>
    /// <returns>The parameter.</returns>
    protected Tensor AddParameter(string name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        CheckName(name);
        tensor.RequiresGrad = true;
        parameters.Add((name, tensor.KeepAlive()));
        return tensor;
    }

    /// <summary>Registers a buffer: it is saved with the module and not trained.</summary>
    /// <param name="name">Its name here, without a dot.</param>
    /// <param name="tensor">The buffer.</param>
    /// <returns>The buffer.</returns>
    protected Tensor AddBuffer(string name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        CheckName(name);
        buffers.Add((name, tensor.KeepAlive()));
        return tensor;
    }

    /// <summary>
    /// Runs modules one after the other, convolutions with what follows them in one pass where that can be, and disposes of what lies between, where
    /// nobody else saw it. What backward needs of it holds its own reference.
    /// </summary>
    private protected static Tensor Chain(Tensor input, IReadOnlyList<Module> modules)
    {
        var x = input;
        bool isOurs = false;
        for (int i = 0; i < modules.Count; i++)
        {
            bool isTransparent = modules[i].IsTransparent;
            int together = FusedConvolution.TryRun(x, modules, i, null, out var y);
            if (together == 0)
                y = modules[i].Forward(x);
            else
                i += together - 1;
            if (ReferenceEquals(x, y))
            {
                isOurs &= isTransparent;
                continue;
            }
            if (isOurs && isTransparent)
                x.Dispose();
            (x, isOurs) = (y, isTransparent);
        }
        return x;
    }

    private Module Become(Func<Tensor, Tensor> conversion)
    {
        foreach (var (_, tensor) in NamedParameters().Concat(NamedBuffers()))
            tensor.Become(conversion);
        return this;
    }

    private static void Walk(string name, Module module, HashSet<Module> seen, List<(string, Module)> result)
    {
        if (!seen.Add(module))
            return;
        result.Add((name, module));
        foreach (var (childName, child) in module.children)
            Walk(Join(name, childName), child, seen, result);
    }

    private static string Join(string prefix, string name) => prefix.Length == 0 ? name : $"{prefix}.{name}";

    private List<(string Name, Tensor Tensor)> Named(Func<Module, List<(string Name, Tensor Tensor)>> own)
    {
        var result = new List<(string, Tensor)>();
        var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
        foreach (var (prefix, module) in NamedModules())
        {
            foreach (var (name, tensor) in own(module))
            {
                if (seen.Add(tensor))
                    result.Add((Join(prefix, name), tensor));
            }
        }
        return result;
    }

    private void CheckName(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (name.Contains('.'))
            throw new ArgumentException($"{GetType().Name}: the name '{name}' has a dot, which joins names. Leave it out.", nameof(name));
        if (children.Exists(item => item.Name == name) || parameters.Exists(item => item.Name == name) || buffers.Exists(item => item.Name == name))
            throw new ArgumentException($"{GetType().Name}: the name '{name}' is taken. Choose another.", nameof(name));
    }

    private sealed class HookRegistration(Module module, Func<Module, Tensor, Tensor, Tensor?> hook) : IDisposable
    {
        public void Dispose()
        {
            module.hooks?.Remove(hook);
            module.Revision++;
            if (module.hooks is { Count: 0 })
                module.hooks = null;
        }
    }
}
