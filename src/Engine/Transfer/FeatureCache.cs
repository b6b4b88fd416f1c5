using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// The features of a whole data set, computed once by a part of a model that does not change, and kept as one tensor: what lies above is then
/// trained without running the part again. Computed in evaluation mode at first use, and again when a weight or statistic that they depend on
/// has been changed since (told by the tensors' version numbers, which updates and loading count up). Not for several threads at once.
/// </summary>
/// <example><code>
/// var cache = new FeatureCache(new FeatureExtractor(model, "features"), data);
/// var head = LinearProbe.Fit(cache.Features, cache.Targets, classes: 10);
/// </code></example>
public sealed class FeatureCache : IDisposable
{
    private readonly FeatureExtractor extractor;
    private readonly IDataset data;
    private readonly int batchSize;
    private readonly Device device;
    private List<(Tensor Tensor, Storage Storage, int Version)> dependencies = [];
    private Tensor? features, targets;

    /// <summary>A cache; nothing is computed yet.</summary>
    /// <param name="extractor">Where the features come out; of several names the first counts.</param>
    /// <param name="data">The data set.</param>
    /// <param name="batchSize">The rows that are computed at once; the features do not depend on it but for rounding.</param>
    /// <param name="device">Where the data goes and the features stay; the CPU if null.</param>
    public FeatureCache(FeatureExtractor extractor, IDataset data, int batchSize = 256, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(extractor);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (data.Count == 0)
            throw new ArgumentException("FeatureCache: the data set has no row.", nameof(data));
        (this.extractor, this.data, this.batchSize, this.device) = (extractor, data, batchSize, device ?? Device.Cpu);
    }

    /// <summary>The features, [N, ...], rows in the data set's order; no part of any graph. Valid until the weights change or the cache is disposed.</summary>
    public Tensor Features => Current().Features;

    /// <summary>The data set's targets, [N, ...], on the features' device.</summary>
    public Tensor Targets => Current().Targets;

    /// <summary>How often the features were computed.</summary>
    public int Computations { get; private set; }

    /// <summary>Whether features are there that still hold.</summary>
    public bool IsCurrent => features is not null && dependencies.TrueForAll(item => ReferenceEquals(item.Tensor.Storage, item.Storage) && item.Storage.Version == item.Version);

    /// <summary>Computes the features unless they are there and still hold.</summary>
    /// <param name="progress">Hears how many rows are done.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing is cached then.</exception>
    public void Compute(IProgress<int>? progress = null, CancellationToken cancellation = default)
    {
        if (IsCurrent)
            return;
        Dispose();
        var used = new HashSet<Module>(ReferenceEqualityComparer.Instance);
        var rows = new int[Math.Min(batchSize, data.Count)];
        var putBack = extractor.Model.Evaluate();
        try
        {
            using var noGrad = new NoGrad();
            for (int start = 0; start < data.Count; start += batchSize)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = new TensorScope();
                int count = Math.Min(batchSize, data.Count - start);
                for (int i = 0; i < count; i++)
                    rows[i] = start + i;
                using var batch = data.Read(rows.AsSpan(0, count), device);
                var part = start == 0 ? FirstBatch(batch.Input, used) : extractor.Extract(batch.Input);
                Store(ref features, part, start);
                Store(ref targets, batch.Target, start);
                progress?.Report(start + count);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
        finally
        {
            putBack();
        }
        dependencies = [.. used.SelectMany(module => module.OwnParameters.Concat(module.OwnBuffers)).Select(item => (item.Tensor, item.Tensor.Storage, item.Tensor.Storage.Version))];
        Computations++;
    }

    /// <summary>Drops the features and gives their memory back; they are computed again when asked for.</summary>
    public void Dispose()
    {
        features?.Dispose();
        targets?.Dispose();
        features = targets = null;
        dependencies = [];
    }

    private (Tensor Features, Tensor Targets) Current()
    {
        Compute();
        return (features!, targets!);
    }

    /// <summary>Extracts, and finds the modules that the features depend on: those that ran, and those around the place where they come out.</summary>
    private Tensor FirstBatch(Tensor input, HashSet<Module> used)
    {
        var hooks = new List<IDisposable>();
        try
        {
            foreach (var (name, module) in extractor.Model.NamedModules())
            {
                hooks.Add(module.RegisterForwardHook((ran, _, _) =>
                {
                    used.Add(ran);
                    return null;
                }));
                if (name.Length == 0 || extractor.Names[0].StartsWith(name + ".", StringComparison.Ordinal))
                    used.Add(module);
            }
            return extractor.Extract(input);
        }
        finally
        {
            foreach (var hook in hooks)
                hook.Dispose();
        }
    }

    private void Store(ref Tensor? all, Tensor part, int start)
    {
        Check.That(part.Rank > 0 && part.Shape[0] <= batchSize && start + part.Shape[0] <= data.Count, $"FeatureCache: features {part.Shape} are not one row for each of the batch's inputs.");
        all ??= Tensor.Allocate(part.Shape.With(0, data.Count), part.Device, part.ElementType).KeepAlive();
        all.Narrow(0, start, part.Shape[0]).Assign(part);
    }
}
