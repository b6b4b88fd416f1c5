using System.Collections;
using System.Globalization;

namespace TransferEngine.Modules;

/// <summary>
/// Modules one after the other, each getting the output of the one before; named by their places or as given. Outputs in between give
/// their memory back early where only layers of this library and no hooks saw them.
/// </summary>
public sealed class Sequential : Module, IReadOnlyList<Module>
{
    /// <summary>Modules named 0, 1, 2...</summary>
    /// <param name="modules">In their order.</param>
    public Sequential(params Module[] modules)
    {
        ArgumentNullException.ThrowIfNull(modules);
        for (int i = 0; i < modules.Length; i++)
            Add(i.ToString(CultureInfo.InvariantCulture), modules[i]);
    }

    /// <summary>Modules with names.</summary>
    /// <param name="modules">In their order.</param>
    public Sequential(params (string Name, Module Module)[] modules)
    {
        ArgumentNullException.ThrowIfNull(modules);
        foreach (var (name, module) in modules)
            Add(name, module);
    }

    /// <inheritdoc/>
    public int Count => Children.Count;

    /// <inheritdoc/>
    public Module this[int index] => Children[index].Module;

    /// <inheritdoc/>
    public IEnumerator<Module> GetEnumerator() => Children.Select(child => child.Module).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks && !Children.Any(child => !child.Module.IsTransparent);

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => Chain(input, this);
}
