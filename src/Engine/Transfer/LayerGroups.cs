using System.Collections;

using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>A stage of a model: modules that are frozen together and share a learning rate.</summary>
/// <param name="Name">The name of its first module; empty where it is the model's own parameters alone.</param>
/// <param name="Modules">The names of its modules, from the model's root.</param>
/// <param name="Parameters">Its parameters, none of which is in another group.</param>
public sealed record LayerGroup(string Name, IReadOnlyList<string> Modules, IReadOnlyList<Tensor> Parameters);

/// <summary>
/// The stages of a model from its input to its head: what discriminative learning rates and gradual unfreezing go by (Howard and Ruder:
/// Universal language model fine-tuning for text classification; ACL 2018). Make them after the head was replaced.
/// </summary>
/// <example><code>
/// var groups = LayerGroups.Of(model);
/// var optimizer = new AdamW(groups.ParameterGroups(groups.Discriminative(1e-3)));
/// groups.FreezeFirst(3).Apply(model, optimizer);
/// </code></example>
public sealed class LayerGroups : IReadOnlyList<LayerGroup>
{
    private const int FewestStages = 4;

    private readonly Module model;
    private readonly LayerGroup[] groups;
    private readonly bool hasOwnParameters;

    private LayerGroups(Module model, List<List<(string Name, Module Module)>> stages)
    {
        this.model = model;
        var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
        var own = model.OwnParameters.Select(item => item.Tensor).Where(seen.Add).ToArray();
        hasOwnParameters = own.Length > 0 && !stages.Exists(stage => stage.Exists(item => ReferenceEquals(item.Module, model)));
        if (stages.Count == 0)
            stages = [[]];
        groups = [.. stages.Select((stage, i) => new LayerGroup(
            stage.Count > 0 ? stage[0].Name : "",
            [.. stage.Select(item => item.Name)],
            [.. (i == 0 ? own : []), .. stage.SelectMany(item => item.Module.Parameters()).Where(seen.Add)]))];
    }

    /// <inheritdoc/>
    public int Count => groups.Length;

    /// <inheritdoc/>
    public LayerGroup this[int index] => groups[index];

    /// <summary>
    /// The stages of any model: its children that have parameters, in their order. Where they are fewer than four, normalisation not counted, each <see cref="Sequential"/> among them
    /// gives way to its members. Normalisation belongs to the stage before it, parameters of the model itself to the first.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <exception cref="ArgumentException">It has no parameters.</exception>
    public static LayerGroups Of(Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (!model.Parameters().Any())
            throw new ArgumentException($"LayerGroups: {model.GetType().Name} has no parameters.", nameof(model));
        var units = Members("", model);
        while (units.Count(unit => unit.Module is not INormalization) < FewestStages && units.Exists(unit => unit.Module is Sequential))
            units = [.. units.SelectMany(unit => unit.Module is Sequential ? Members(unit.Name, unit.Module) : [unit])];
        var stages = new List<List<(string, Module)>>();
        foreach (var unit in units)
        {
            if (unit.Module is INormalization && stages.Count > 0)
                stages[^1].Add(unit);
            else
                stages.Add([unit]);
        }
        return new LayerGroups(model, stages);
    }

    /// <summary>Stages by name.</summary>
    /// <param name="model">The model.</param>
    /// <param name="patterns">
    /// A stage each, from the input on: patterns, as of <see cref="FreezePolicy.Named"/>, of its modules; several are parted by a bar, as in <c>conv1|bn1</c>.
    /// </param>
    /// <exception cref="ArgumentException">A pattern fits no module, or a parameter is in no stage.</exception>
    public static LayerGroups Of(Module model, params string[] patterns)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(patterns);
        var modules = model.NamedModules().ToArray();
        List<List<(string Name, Module Module)>> stages = [.. patterns.Select(pattern =>
        {
            var expressions = Array.ConvertAll(pattern.Split('|'), FreezePolicy.Expression);
            List<(string Name, Module Module)> found = [.. modules.Where(item => item.Name.Length > 0 && Array.Exists(expressions, expression => expression.IsMatch(item.Name)))];
            return found.Count > 0
                ? found
                : throw new ArgumentException($"LayerGroups: '{pattern}' fits no module of this {model.GetType().Name}. Its modules are: {string.Join(", ", modules.Select(item => item.Name).Where(name => name.Length > 0))}.", nameof(patterns));
        })];
        var result = new LayerGroups(model, stages);
        var known = new HashSet<Tensor>(result.groups.SelectMany(group => group.Parameters), ReferenceEqualityComparer.Instance);
        string[] left = [.. model.NamedParameters().Where(item => !known.Contains(item.Tensor)).Select(item => item.Name)];
        return left.Length == 0
            ? result
            : throw new ArgumentException($"LayerGroups: no stage holds {string.Join(", ", left.Take(8))}{(left.Length > 8 ? $" and {left.Length - 8} more" : "")}. Name their modules too.", nameof(patterns));
    }

    /// <summary>Learning rates that fall with depth: the head's, and each stage below it divided by the factor once more (ULMFiT, section 3.2).</summary>
    /// <param name="head">The rate of the last stage.</param>
    /// <param name="factor">By how much a stage is slower than the one above it.</param>
    /// <returns>A rate a stage, from the input on.</returns>
    public double[] Discriminative(double head, double factor = 2.6)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(factor);
        return [.. Enumerable.Range(0, Count).Select(i => head / Math.Pow(factor, Count - 1 - i))];
    }

    /// <summary>Learning rates at equal ratios from the first stage's to the last's: fastai's slice of two numbers.</summary>
    /// <param name="lowest">The rate of the first stage.</param>
    /// <param name="highest">The rate of the last stage.</param>
    /// <returns>A rate a stage, from the input on.</returns>
    public double[] Between(double lowest, double highest)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(lowest);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(highest);
        return [.. Enumerable.Range(0, Count).Select(i => Count == 1 ? highest : lowest * Math.Pow(highest / lowest, (double)i / (Count - 1)))];
    }

    /// <summary>What an optimiser takes: a group a stage.</summary>
    /// <param name="rates">A rate a stage; null for the optimiser's own.</param>
    /// <exception cref="ArgumentException">There are not as many rates as stages.</exception>
    public IReadOnlyList<ParameterGroup> ParameterGroups(IReadOnlyList<double>? rates = null)
    {
        if (rates is not null && rates.Count != Count)
            throw new ArgumentException($"LayerGroups: {rates.Count} rates for {Count} stages. Give one each.", nameof(rates));
        return [.. groups.Select((group, i) => rates is null ? new ParameterGroup(group.Parameters) : new ParameterGroup(group.Parameters) { LearningRate = rates[i] })];
    }

    /// <summary>Freezes the first stages.</summary>
    /// <param name="count">How many, 1 or more; a negative number means all but the last so many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are not so many.</exception>
    public FreezePolicy FreezeFirst(int count)
    {
        int frozen = count < 0 ? Count + count : count;
        if (frozen < 1 || frozen > Count)
            throw new ArgumentOutOfRangeException(nameof(count), count, $"LayerGroups.FreezeFirst: from 1 to {Count} stages can be frozen.");
        // A model's own parameters are frozen with the model; what is not to be frozen is left out then.
        return hasOwnParameters
            ? FreezePolicy.All() with { Except = [.. groups.Skip(frozen).SelectMany(group => group.Modules)] }
            : FreezePolicy.Modules([.. groups.Take(frozen).SelectMany(group => group.Modules).Select(model.GetModule)]);
    }

    /// <inheritdoc/>
    public IEnumerator<LayerGroup> GetEnumerator() => ((IEnumerable<LayerGroup>)groups).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static List<(string Name, Module Module)> Members(string prefix, Module module) => [.. module.Children
        .Where(child => child.Module.Parameters().Any())
        .Select(child => (prefix.Length == 0 ? child.Name : $"{prefix}.{child.Name}", child.Module))];
}
