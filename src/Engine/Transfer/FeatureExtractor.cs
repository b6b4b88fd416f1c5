using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// Computes what named modules inside a model put out, and nothing after the last of them. Works with any model: the forward pass is left as
/// soon as all are there. Gradients flow as in the model; freeze it, or use <see cref="NoGrad"/>, where none are wanted. Not for several
/// threads on one model at once.
/// </summary>
/// <example><code>
/// var features = new FeatureExtractor(model, "layer3").Extract(images);
/// </code></example>
public sealed class FeatureExtractor
{
    private readonly Module[] modules;

    /// <summary>An extractor at given modules.</summary>
    /// <param name="model">The model.</param>
    /// <param name="names">Names of modules in it, as <see cref="Module.NamedModules"/> gives them.</param>
    /// <exception cref="ArgumentException">There is no name, or no such module.</exception>
    public FeatureExtractor(Module model, params string[] names)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(names);
        if (names.Length == 0)
            throw new ArgumentException("FeatureExtractor: no module was named. Name one or more.", nameof(names));
        var known = model.NamedModules().ToDictionary(item => item.Name, item => item.Module);
        modules = Array.ConvertAll(names, name => known.TryGetValue(name, out var module)
            ? module
            : throw new ArgumentException($"FeatureExtractor: {model.GetType().Name} has no module '{name}'. Its modules are: {string.Join(", ", known.Keys.Where(key => key.Length > 0))}.", nameof(names)));
        (Model, Names) = (model, [.. names]);
    }

    /// <summary>The model.</summary>
    public Module Model { get; }

    /// <summary>Where the features are taken.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The modules that the features come out of, one a name.</summary>
    internal IReadOnlyList<Module> Modules => modules;

    /// <summary>Computes the features at the first name.</summary>
    /// <param name="input">What the model takes.</param>
    /// <exception cref="InvalidOperationException">The forward pass did not come by a named module.</exception>
    public Tensor Extract(Tensor input) => ExtractAll(input)[0];

    /// <summary>Computes the features at each name; of a module that is run several times, those of the first.</summary>
    /// <param name="input">What the model takes.</param>
    /// <exception cref="InvalidOperationException">The forward pass did not come by a named module.</exception>
    public Tensor[] ExtractAll(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var found = new Tensor?[modules.Length];
        var hooks = new List<IDisposable>();
        try
        {
            foreach (var module in modules.Distinct())
                hooks.Add(module.RegisterForwardHook(Take));
            Model.Forward(input);
        }
        catch (AllFound stop) when (stop.Owner == found)
        {
            // What comes after is not wanted.
        }
        finally
        {
            foreach (var hook in hooks)
                hook.Dispose();
        }
        int missing = Array.IndexOf(found, null);
        return missing < 0
            ? [.. found.OfType<Tensor>()]
            : throw new InvalidOperationException($"FeatureExtractor: the forward pass of {Model.GetType().Name} did not come by '{Names[missing]}'. Is it used in this mode?");

        Tensor? Take(Module module, Tensor from, Tensor output)
        {
            for (int i = 0; i < modules.Length; i++)
            {
                if (ReferenceEquals(modules[i], module))
                    found[i] ??= output;
            }
            return Array.IndexOf(found, null) < 0 ? throw new AllFound(found) : null;
        }
    }

    /// <summary>Leaves the forward pass; no error.</summary>
    private sealed class AllFound(Tensor?[] owner) : Exception
    {
        public Tensor?[] Owner => owner;
    }
}
