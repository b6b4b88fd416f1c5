using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>What a candidate's method is made of.</summary>
/// <param name="Weight">What it weighs.</param>
/// <param name="Generator">What the first weights of networks of its own are drawn from.</param>
/// <param name="Device">Where they belong.</param>
public sealed record MethodSettings(double Weight, Generator Generator, Device Device);

/// <summary>
/// Makes candidates that an <see cref="Adapter"/> trains: all on the same data, each from new networks, which candidates of one seed begin alike and to which rows come in the
/// same order.
/// </summary>
/// <example><code>
/// var runs = new AdapterCandidates(source, target, draw => (new Mlp(...), new Linear(...))) { Settings = new() { Steps = 1000 } };
/// Candidate[] candidates = [runs.SourceOnly(), .. runs.Grid("coral", make => new DiscrepancyMethod("coral", new DeepCoral(), make.Weight), weights: [1, 10], learningRates: [1e-3])];
/// </code></example>
public sealed class AdapterCandidates
{
    private readonly IDataset source, target;
    private readonly Func<Generator, (Module Features, Module Head)> networks;
    private readonly Device device;

    /// <param name="source">The source's training rows, with labels.</param>
    /// <param name="target">The target's training rows; their labels are dropped unread.</param>
    /// <param name="networks">Makes features and head, on <paramref name="device"/>, with first weights drawn from a stream.</param>
    /// <param name="device">Where the networks are; the CPU if null.</param>
    public AdapterCandidates(IDataset source, IDataset target, Func<Generator, (Module Features, Module Head)> networks, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(networks);
        (this.source, this.target, this.networks, this.device) = (source, target, networks, device ?? Device.Cpu);
    }

    /// <summary>How each is trained; its optimiser is made by <see cref="Optimizer"/>, so that the candidate's learning rate counts.</summary>
    public AdapterSettings Settings { get; init; } = new();

    /// <summary>How both domains are gone through; the orders are drawn from the candidate's seed.</summary>
    public DataLoaderSettings Loader { get; init; } = new() { BatchSize = 32, Shuffle = true, DropLast = true };

    /// <summary>How the target is gone through, where otherwise than the source, such as without its augmentation; as <see cref="Loader"/> says if null.</summary>
    public DataLoaderSettings? TargetLoader { get; init; }

    /// <summary>The loss of the task, from logits and classes; cross-entropy if null.</summary>
    public Func<Tensor, Tensor, Tensor>? Criterion { get; init; }

    /// <summary>Makes the optimiser of parameters with a learning rate; Adam if null.</summary>
    public Func<IEnumerable<Tensor>, double, Optimizer> Optimizer { get; init; } = (parameters, rate) => new Adam(parameters, rate);

    /// <summary>A candidate that is trained on the source alone.</summary>
    /// <param name="learningRate">The optimiser's step size.</param>
    /// <param name="seed">What it is drawn from.</param>
    public Candidate SourceOnly(double learningRate = 1e-3, ulong seed = 0)
    {
        var method = new SourceOnly();
        return Create(method.Name, _ => method, learningRate: learningRate, seed: seed) with { IsBaseline = true };
    }

    /// <summary>A candidate.</summary>
    /// <param name="method">What it is called.</param>
    /// <param name="make">Makes the method, anew for each training.</param>
    /// <param name="weight">What the method weighs.</param>
    /// <param name="learningRate">The optimiser's step size.</param>
    /// <param name="seed">What it is drawn from.</param>
    public Candidate Create(string method, Func<MethodSettings, AdaptationMethod> make, double weight = 1, double learningRate = 1e-3, ulong seed = 0)
    {
        ArgumentNullException.ThrowIfNull(make);
        return new(method, (candidate, progress, cancellation) =>
        {
            var (features, head) = networks(new(candidate.Seed));
            var adapter = new Adapter(features, head, make(new(candidate.Weight, new(candidate.Seed + 1), device)), Criterion);
            DataLoader Loaded(IDataset rows, DataLoaderSettings settings) => new(rows, settings with { Seed = candidate.Seed }, device);
            adapter.Fit(new(Loaded(source, Loader), Loaded(target, TargetLoader ?? Loader)), Settings with { Optimizer = parameters => Optimizer(parameters, candidate.LearningRate) }, progress, cancellation);
            adapter.Method.HandOver(adapter.Run);
            return new(features, head);
        }, weight, learningRate, seed);
    }

    /// <summary>A candidate for each weight, learning rate and seed.</summary>
    /// <param name="method">What they are called.</param>
    /// <param name="make">Makes the method, anew for each training.</param>
    /// <param name="weights">What the method may weigh; 1 if null.</param>
    /// <param name="learningRates">The optimiser's step sizes; 1e-3 if null.</param>
    /// <param name="seeds">What they are drawn from; 0 if null.</param>
    public IEnumerable<Candidate> Grid(
        string method, Func<MethodSettings, AdaptationMethod> make, IReadOnlyList<double>? weights = null, IReadOnlyList<double>? learningRates = null, IReadOnlyList<ulong>? seeds = null) =>
        from weight in weights ?? [1]
        from rate in learningRates ?? [1e-3]
        from seed in seeds ?? [0]
        select Create(method, make, weight, rate, seed);
}
