using System.Text.RegularExpressions;

using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>Which weights of the frozen modules stay as they are.</summary>
public enum FrozenWeights
{
    /// <summary>All of them.</summary>
    All,

    /// <summary>All but the scale and shift of normalisation modules, which train on.</summary>
    AllButNormalization,

    /// <summary>All but those named <c>bias</c>, which train on (BitFit).</summary>
    AllButBiases,

    /// <summary>None: only the modes below apply, as for a network fine-tuned with its normalisation statistics held.</summary>
    None,
}

/// <summary>What normalisation with running statistics does in frozen modules.</summary>
public enum FrozenNormalization
{
    /// <summary>Normalises by the running statistics and leaves them as they are: the module computes the same function all the time.</summary>
    HoldStatistics,

    /// <summary>
    /// Goes on as if not frozen: in training by the statistics of the batch, which enter the running ones. What PyTorch does where only
    /// requires_grad is cleared.
    /// </summary>
    UpdateStatistics,
}

/// <summary>What dropout does in frozen modules.</summary>
public enum FrozenDropout
{
    /// <summary>Nothing is dropped.</summary>
    Off,

    /// <summary>Goes on as if not frozen.</summary>
    On,
}

/// <summary>
/// Says which modules of a model are frozen, and what that means for weights, normalisation statistics, dropout and the optimiser. Where
/// nothing else is said, a frozen module is one that computes a fixed function: its weights need no gradient and leave the optimiser's groups
/// with their state, and it and all below it run as in evaluation, whatever <c>model.Train()</c> says. Where all modules up to some place are
/// frozen, nothing is recorded, saved or run backwards below it.
/// </summary>
/// <example><code>
/// var frozen = FreezePolicy.Named("features.*").Apply(model, optimizer);
/// ...
/// frozen.Undo();
/// </code></example>
public sealed record FreezePolicy
{
    private readonly Func<string, Module, int, bool> chooses;

    private FreezePolicy(Func<string, Module, int, bool> chooses) => this.chooses = chooses;

    /// <summary>Which weights stay as they are.</summary>
    public FrozenWeights Weights { get; init; }

    /// <summary>What normalisation does.</summary>
    public FrozenNormalization Normalization { get; init; }

    /// <summary>What dropout does.</summary>
    public FrozenDropout Dropout { get; init; }

    /// <summary>Patterns, as of <see cref="Named"/>, of modules that are left out with all below them.</summary>
    public IReadOnlyList<string> Except { get; init; } = [];

    /// <summary>Freezes the whole model.</summary>
    public static FreezePolicy All() => new((_, _, depth) => depth == 0);

    /// <summary>Freezes given modules and all below them.</summary>
    /// <param name="modules">Modules of the model.</param>
    public static FreezePolicy Modules(params Module[] modules)
    {
        ArgumentNullException.ThrowIfNull(modules);
        var chosen = new HashSet<Module>(modules, ReferenceEqualityComparer.Instance);
        return new((_, module, _) => chosen.Contains(module));
    }

    /// <summary>Freezes modules by name, and all below them.</summary>
    /// <param name="patterns">
    /// Names from the model's root, such as <c>features.3</c>. <c>*</c> stands for any text within one part of a name, <c>**</c> for any text,
    /// <c>?</c> for one character; letters count as written.
    /// </param>
    public static FreezePolicy Named(params string[] patterns)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        var expressions = Array.ConvertAll(patterns, Expression);
        return new((name, _, depth) => depth > 0 && Array.Exists(expressions, expression => expression.IsMatch(name)));
    }

    /// <summary>Freezes the model's first children, in the order in which it has them, and all below them.</summary>
    /// <param name="children">How many; a negative number means all but the last so many.</param>
    public static FreezePolicy First(int children) => new((_, _, _) => false) { FirstChildren = children };

    private int? FirstChildren { get; init; }

    /// <summary>Freezes.</summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Whose groups the frozen weights leave; without one their missing gradients keep it from changing them.</param>
    /// <returns>What undoes it.</returns>
    /// <exception cref="ArgumentException">Nothing is chosen: a name or depth that the model does not have.</exception>
    public FreezeHandle Apply(Module model, Optimizer? optimizer = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        var frozen = Choose(model);
        if (frozen.Count == 0)
            throw new ArgumentException($"FreezePolicy: it chooses no module of this {model.GetType().Name}. Its modules are: {string.Join(", ", model.NamedModules().Select(item => item.Name).Where(name => name.Length > 0))}.", nameof(model));
        return new FreezeHandle(this, frozen, optimizer);
    }

    /// <summary>A pattern of names as a regular expression of the whole name.</summary>
    internal static Regex Expression(string pattern)
    {
        ArgumentException.ThrowIfNullOrEmpty(pattern);
        return new("^" + Regex.Escape(pattern).Replace(@"\*\*", ".*").Replace(@"\*", @"[^.]*").Replace(@"\?", @"[^.]") + "$", RegexOptions.CultureInvariant);
    }

    private List<(string Name, Module Module)> Choose(Module model)
    {
        var except = Except.Select(Expression).ToArray();
        var result = new List<(string, Module)>();
        var seen = new HashSet<Module>(ReferenceEqualityComparer.Instance);
        Walk("", model, 0, false);
        return result;

        void Walk(string name, Module module, int depth, bool isFrozen)
        {
            if (Array.Exists(except, expression => expression.IsMatch(name)))
                return;
            isFrozen |= chooses(name, module, depth);
            if (isFrozen && seen.Add(module))
                result.Add((name, module));
            var children = module.Children.ToArray();
            int first = depth > 0 || FirstChildren is not { } count ? 0 : Math.Clamp(count < 0 ? children.Length + count : count, 0, children.Length);
            for (int i = 0; i < children.Length; i++)
                Walk(name.Length == 0 ? children[i].Name : $"{name}.{children[i].Name}", children[i].Module, depth + 1, isFrozen || i < first);
        }
    }
}
