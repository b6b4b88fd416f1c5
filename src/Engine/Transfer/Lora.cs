using System.Globalization;

using TransferEngine.Modules;
using TransferEngine.Serialization;

namespace TransferEngine.Transfer;

/// <summary>
/// Low-rank adapters beside <see cref="Linear"/> and <see cref="Conv2d"/> modules: W x becomes W x + (alpha / rank) B A x, where A begins at random and
/// B at zero, so that the model's output is at first what it was. Only A and B, and a head, are trained and saved. A convolution's A has its window,
/// stride, padding and groups, and its B is 1 x 1. An adapter is the child <c>lora</c> of its module.
/// </summary>
/// <remarks>Hu et al.: LoRA, low-rank adaptation of large language models; ICLR 2022, equation 3 and section 4.1.</remarks>
/// <example><code>
/// var lora = Lora.Apply(model, "**.qkv", rank: 8, alpha: 16);
/// lora.FreezeRest("head").Apply(model, optimizer);
/// ...
/// lora.Save("adapter.safetensors", "head");
/// </code></example>
public sealed class Lora
{
    private const string ChildName = "lora";

    private readonly Module model;
    private readonly List<Adapter> adapters;
    private readonly int rank;
    private readonly double alpha;

    private Lora(Module model, int rank, double alpha, List<Adapter> adapters) => (this.model, this.rank, this.alpha, this.adapters) = (model, rank, alpha, adapters);

    /// <summary>The names of the modules that have adapters.</summary>
    public IReadOnlyList<string> Modules => [.. adapters.Select(adapter => adapter.Name)];

    /// <summary>Whether the adapters are part of the weights now.</summary>
    public bool IsMerged { get; private set; }

    /// <summary>Adds adapters.</summary>
    /// <param name="model">The model.</param>
    /// <param name="pattern">Modules, as of <see cref="FreezePolicy.Named"/>; several patterns are parted by a bar, as in <c>**.qkv|**.proj</c>.</param>
    /// <param name="rank">The inner size.</param>
    /// <param name="alpha">What the adapters weigh, relative to the rank.</param>
    /// <param name="dropout">The part of an adapter's input that is dropped in training.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentException">The pattern fits nothing, or a module that is neither linear nor a convolution, or that has an adapter; nothing is changed then.</exception>
    public static Lora Apply(Module model, string pattern, int rank = 8, double alpha = 16, double dropout = 0, Generator? generator = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentException.ThrowIfNullOrEmpty(pattern);
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        if (!double.IsFinite(alpha))
            throw new ArgumentOutOfRangeException(nameof(alpha), alpha, "Lora: alpha is a number.");
        if (!(dropout is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(dropout), dropout, "Lora: a probability is from 0 to 1.");
        var expressions = Array.ConvertAll(pattern.Split('|'), FreezePolicy.Expression);
        var chosen = model.NamedModules().Where(item => Array.Exists(expressions, expression => expression.IsMatch(item.Name))).ToArray();
        if (chosen.Length == 0)
            throw new ArgumentException($"Lora: '{pattern}' fits no module of this {model.GetType().Name}. Its linear modules and convolutions are: {string.Join(", ", model.NamedModules().Where(item => item.Module is Linear or Conv2d).Select(item => item.Name))}.", nameof(pattern));
        foreach (var (name, module) in chosen)
        {
            if (module is not (Linear or Conv2d))
                throw new ArgumentException($"Lora: '{name}' is a {module.GetType().Name}. Adapters stand beside Linear and Conv2d; name those.", nameof(pattern));
            if (module.Children.Any(child => child.Name == ChildName))
                throw new ArgumentException($"Lora: '{name}' has an adapter already. Merge and Remove it first.", nameof(pattern));
        }
        return new Lora(model, rank, alpha, [.. chosen.Select(item => new Adapter(item.Name, item.Module, rank, alpha / rank, dropout, generator))]);
    }

    /// <summary>Freezes the model, but for the adapters and the head.</summary>
    /// <param name="head">Patterns, as of <see cref="FreezePolicy.Named"/>, of modules that train as a whole.</param>
    public FreezePolicy FreezeRest(params string[] head)
    {
        ArgumentNullException.ThrowIfNull(head);
        return FreezePolicy.All() with { Except = [ChildName, $"**.{ChildName}", .. head] };
    }

    /// <summary>The adapters' parameters.</summary>
    public IEnumerable<Tensor> Parameters() => adapters.SelectMany(adapter => adapter.Layer.Parameters());

    /// <summary>Adds (alpha / rank) B A to the weights: the model then computes the same at the cost that it had without adapters. The weights before are kept.</summary>
    public void Merge()
    {
        if (IsMerged)
            return;
        foreach (var adapter in adapters)
            adapter.Merge();
        IsMerged = true;
    }

    /// <summary>Puts the weights back, bit for bit, and the adapters beside them.</summary>
    /// <exception cref="InvalidOperationException">The weights were changed since they were merged.</exception>
    public void Unmerge()
    {
        if (!IsMerged)
            return;
        if (adapters.Find(adapter => adapter.IsStale) is { } changed)
            throw new InvalidOperationException($"Lora: the weight of '{changed.Name}' was changed since it was merged. Train with the adapters unmerged.");
        foreach (var adapter in adapters)
            adapter.Unmerge();
        IsMerged = false;
    }

    /// <summary>Takes the adapters away; weights that they were merged into stay merged.</summary>
    public void Remove()
    {
        foreach (var adapter in adapters)
            adapter.Remove();
        adapters.Clear();
        IsMerged = false;
    }

    /// <summary>Saves the adapters, and the head's parameters and buffers, under their names in the model; a safetensors file, written beside and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="head">Patterns, as of <see cref="FreezePolicy.Named"/>, of modules to save as a whole.</param>
    public void Save(string path, params string[] head)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(head);
        var expressions = Array.ConvertAll(head, FreezePolicy.Expression);
        string[] prefixes = [.. model.NamedModules().Where(item => Array.Exists(expressions, expression => expression.IsMatch(item.Name))).Select(item => item.Name + "."), .. adapters.Select(adapter => adapter.Prefix)];
        Safetensors.Save(path, model.StateDict().Where(item => Array.Exists(prefixes, prefix => item.Key.StartsWith(prefix, StringComparison.Ordinal))).ToDictionary(), Settings());
    }

    /// <summary>Loads what <see cref="Save"/> wrote for adapters of the same settings; either all of it, or nothing is changed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="DataFormatException">It is no safetensors file, or contradicts itself.</exception>
    /// <exception cref="ArgumentException">It is of other adapters or another head.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (IsMerged)
            throw new InvalidOperationException("Lora.Load: the adapters are merged. Unmerge them first.");
        using var scope = new TensorScope();
        var file = Safetensors.Load(path);
        foreach (var (name, value) in Settings())
        {
            if (!file.Metadata.TryGetValue(name, out string? saved) || saved != value)
                throw new ArgumentException($"Lora.Load: '{path}' has {name} {saved ?? "unsaid"}, these adapters {value}. Apply adapters as they were when it was saved.", nameof(path));
        }
        var own = model.StateDict();
        string[] wrong =
        [
            .. file.Tensors.Where(item => !own.TryGetValue(item.Key, out var tensor) || tensor.Shape != item.Value.Shape || tensor.ElementType != item.Value.ElementType).Select(item => $"{item.Key} {item.Value.Shape} fits nothing"),
            .. own.Keys.Where(name => adapters.Exists(adapter => name.StartsWith(adapter.Prefix, StringComparison.Ordinal)) && !file.Tensors.ContainsKey(name)).Select(name => $"{name} is missing"),
        ];
        if (wrong.Length > 0)
            throw new ArgumentException($"Lora.Load: '{path}': {string.Join("; ", wrong.Take(8))}{(wrong.Length > 8 ? $"; and {wrong.Length - 8} more" : "")}. Is it of another model, or another pattern?", nameof(path));
        model.LoadStateDict(file.Tensors, strict: false);
    }

    private Dictionary<string, string> Settings() => new()
    {
        ["lora.rank"] = rank.ToString(CultureInfo.InvariantCulture),
        ["lora.alpha"] = alpha.ToString("R", CultureInfo.InvariantCulture),
    };

    /// <summary>One adapter in its place.</summary>
    private sealed class Adapter
    {
        private readonly Module target;
        private readonly Tensor weight;
        private IDisposable? hook;
        private Tensor? before;
        private (Storage Memory, int Version) merged;

        public Adapter(string name, Module target, int rank, double scale, double dropout, Generator? generator)
        {
            (Name, this.target) = (name, target);
            weight = target is Linear linear ? linear.Weight : ((Conv2d)target).Weight;
            Layer = new LowRank(weight, target as Conv2d, rank, scale, dropout, generator);
            target.Attach(ChildName, Layer);
            Layer.Train(target.IsTraining);
            Connect();
        }

        public string Name { get; }

        public string Prefix => Name.Length == 0 ? ChildName + "." : $"{Name}.{ChildName}.";

        public LowRank Layer { get; }

        public bool IsStale => merged != (weight.Storage, weight.Storage.Version);

        public void Merge()
        {
            using var noGrad = new NoGrad();
            using var scope = new TensorScope();
            before = weight.Clone().KeepAlive();
            weight.AddInPlace(Layer.Delta());
            merged = (weight.Storage, weight.Storage.Version);
            hook?.Dispose();
        }

        public void Unmerge()
        {
            using var noGrad = new NoGrad();
            weight.CopyInPlace(before!);
            Forget();
            Connect();
        }

        public void Remove()
        {
            hook?.Dispose();
            target.Detach(Layer);
            Forget();
        }

        private void Connect() => hook = target.RegisterForwardHook((_, input, output) => output + Layer.Forward(input));

        private void Forget()
        {
            before?.Dispose();
            before = null;
        }
    }

    /// <summary>(alpha / rank) B A x.</summary>
    private sealed class LowRank : Module
    {
        private readonly Tensor a, b;
        private readonly Conv2d? convolution;
        private readonly Shape whole;
        private readonly double scale, dropout;
        private readonly Generator? generator;

        public LowRank(Tensor weight, Conv2d? convolution, int rank, double scale, double dropout, Generator? generator)
        {
            (this.convolution, this.scale, this.dropout, this.generator, whole) = (convolution, scale, dropout, generator, weight.Shape);
            double bound = 1 / Math.Sqrt((double)weight.Elements / weight.Shape[0]);
            a = AddParameter("a", Tensor.Uniform(weight.Shape.With(0, rank * Groups), -bound, bound, generator, weight.Device, weight.ElementType));
            b = AddParameter("b", Tensor.Zeros(convolution is null ? [weight.Shape[0], rank] : [weight.Shape[0], rank, 1, 1], weight.Device, weight.ElementType));
        }

        private int Groups => convolution?.Groups ?? 1;

        /// <summary>What the adapter adds to the weight, group by group.</summary>
        public Tensor Delta()
        {
            int rank = b.Shape[1];
            return (b.Reshape(Groups, -1, rank).MatMul(a.Reshape(Groups, rank, -1)) * scale).Reshape(whole.Span);
        }

        protected override Tensor Compute(Tensor input)
        {
            var x = dropout > 0 ? input.Dropout(dropout, IsTraining, generator) : input;
            return (convolution is null ? x.Linear(a).Linear(b) : convolution.Convolve(x, a, null).Conv2d(b, groups: Groups)) * scale;
        }
    }
}
