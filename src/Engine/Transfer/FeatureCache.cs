using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Serialization;

namespace TransferEngine.Transfer;

/// <summary>
/// Where a <see cref="FeatureCache"/> keeps its features between runs: a safetensors file. It counts for the weights, statistics and place that the features
/// were computed by, for as many rows, and for one <see cref="Key"/>, which all go into a SHA-256 beside that of the features; otherwise, and if it is damaged,
/// it is computed anew and written over.
/// </summary>
/// <param name="Path">The file.</param>
/// <param name="Key">Tells the data apart: which files or version, which preprocessing, which seed of augmentation. The cache can't see these.</param>
public sealed record FeatureCacheFile(string Path, string Key);

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
    private readonly FeatureCacheFile? file;
    private List<(Tensor Tensor, Storage Storage, int Version)> dependencies = [];
    private Tensor? features, targets;

    /// <summary>A cache; nothing is computed yet.</summary>
    /// <param name="extractor">Where the features come out; of several names the first counts.</param>
    /// <param name="data">The data set.</param>
    /// <param name="batchSize">The rows that are computed at once; the features do not depend on it but for rounding.</param>
    /// <param name="device">Where the data goes and the features stay; the CPU if null.</param>
    /// <param name="file">Where they are kept between runs; only in memory if null.</param>
    public FeatureCache(FeatureExtractor extractor, IDataset data, int batchSize = 256, Device? device = null, FeatureCacheFile? file = null)
    {
        ArgumentNullException.ThrowIfNull(extractor);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (data.Count == 0)
            throw new ArgumentException("FeatureCache: the data set has no row.", nameof(data));
        (this.extractor, this.data, this.batchSize, this.device, this.file) = (extractor, data, batchSize, device ?? Device.Cpu, file);
    }

    /// <summary>The features, [N, ...], rows in the data set's order; no part of any graph. Valid until the weights change or the cache is disposed.</summary>
    public Tensor Features => Current().Features;

    /// <summary>The data set's targets, [N, ...], on the features' device.</summary>
    public Tensor Targets => Current().Targets;

    /// <summary>How often the features were computed; reading them from the file is no computation.</summary>
    public int Computations { get; private set; }

    /// <summary>Whether features are there that still hold.</summary>
    public bool IsCurrent => features is not null && dependencies.TrueForAll(item => ReferenceEquals(item.Tensor.Storage, item.Storage) && item.Storage.Version == item.Version);

    /// <summary>Computes the features unless they are there, or in the file, and still hold.</summary>
    /// <param name="progress">Hears how many rows are done.</param>
    /// <param name="cancellation">Looked at before each batch.</param>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing is cached then.</exception>
    /// <exception cref="IOException">The file can't be written; the features hold in memory.</exception>
    public void Compute(IProgress<int>? progress = null, CancellationToken cancellation = default)
    {
        if (IsCurrent)
            return;
        Dispose();
        var putBack = extractor.Model.Evaluate();
        bool isComputed = false;
        string? origin = null;
        try
        {
            using var noGrad = new NoGrad();
            using var scope = new TensorScope();
            var (used, first) = FirstRow();
            if (file is not null)
                origin = Origin(file.Key, used, first);
            if (origin is null || !Load(file!.Path, origin))
            {
                ComputeAll(progress, cancellation);
                isComputed = true;
            }
            dependencies = [.. used.SelectMany(item => item.Module.OwnParameters.Concat(item.Module.OwnBuffers)).Select(item => (item.Tensor, item.Tensor.Storage, item.Tensor.Storage.Version))];
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
        if (!isComputed)
            return;
        Computations++;
        if (origin is not null)
            Safetensors.Save(file!.Path, new Dictionary<string, Tensor> { [nameof(Features)] = features!, [nameof(Targets)] = targets! }, new Dictionary<string, string> { [nameof(Origin)] = origin, [nameof(Content)] = Content(features!, targets!) });
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

    private void ComputeAll(IProgress<int>? progress, CancellationToken cancellation)
    {
        var rows = new int[Math.Min(batchSize, data.Count)];
        for (int start = 0; start < data.Count; start += batchSize)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            int count = Math.Min(batchSize, data.Count - start);
            for (int i = 0; i < count; i++)
                rows[i] = start + i;
            using var batch = data.Read(rows.AsSpan(0, count), device);
            Store(ref features, extractor.Extract(batch.Input), start);
            Store(ref targets, batch.Target, start);
            progress?.Report(start + count);
        }
    }

    /// <summary>The first row's features, and the modules that features depend on: those that ran, and those around the place where they come out.</summary>
    private ((string Name, Module Module)[] Used, Tensor Features) FirstRow()
    {
        var ran = new HashSet<Module>(ReferenceEqualityComparer.Instance);
        var hooks = new List<IDisposable>();
        var named = extractor.Model.NamedModules().ToArray();
        try
        {
            foreach (var (_, module) in named)
            {
                hooks.Add(module.RegisterForwardHook((its, _, _) =>
                {
                    ran.Add(its);
                    return null;
                }));
            }
            using var batch = data.Read([0], device);
            var features = extractor.Extract(batch.Input);
            return ([.. named.Where(item => ran.Contains(item.Module) || item.Name.Length == 0 || extractor.Names[0].StartsWith(item.Name + ".", StringComparison.Ordinal))], features);
        }
        finally
        {
            foreach (var hook in hooks)
                hook.Dispose();
        }
    }

    /// <summary>
    /// What the features come from, as a SHA-256 in hexadecimal digits: the key, the number of rows, the place, the weights and statistics, and for what these do
    /// not show, such as a stride, the features of the first row.
    /// </summary>
    private string Origin(string key, (string Name, Module Module)[] used, Tensor first)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(string.Create(CultureInfo.InvariantCulture, $"1\n{key}\n{data.Count}\n{extractor.Names[0]}\n"));
        foreach (var (name, module) in used)
        {
            Add($"{name} {module.GetType().FullName}\n");
            foreach (var (part, tensor) in module.OwnParameters.Concat(module.OwnBuffers))
            {
                Add($"{part} {tensor.ElementType} {tensor.Shape}\n");
                hash.AppendData(StoredElements.Bytes(tensor));
            }
        }
        Add($"{first.ElementType} {first.Shape}\n");
        hash.AppendData(StoredElements.Bytes(first));
        return Convert.ToHexString(hash.GetHashAndReset());

        void Add(string text) => hash.AppendData(Encoding.UTF8.GetBytes(text));
    }

    private static string Content(Tensor features, Tensor targets)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(StoredElements.Bytes(features));
        hash.AppendData(StoredElements.Bytes(targets));
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private bool Load(string path, string origin)
    {
        if (!File.Exists(path))
            return false;
        try
        {
            var (tensors, metadata) = Safetensors.Load(path, device);
            if (!metadata.TryGetValue(nameof(Origin), out string? from) || from != origin
                || !tensors.TryGetValue(nameof(Features), out var loaded) || !tensors.TryGetValue(nameof(Targets), out var labels)
                || loaded.Rank == 0 || labels.Rank == 0 || loaded.Shape[0] != data.Count || labels.Shape[0] != data.Count
                || !metadata.TryGetValue(nameof(Content), out string? content) || content != Content(loaded, labels))
            {
                return false;
            }
            (features, targets) = (loaded.KeepAlive(), labels.KeepAlive());
            return true;
        }
        catch (DataFormatException)
        {
            return false; // not whole: it is written anew
        }
    }

    private void Store(ref Tensor? all, Tensor part, int start)
    {
        Check.That(part.Rank > 0 && part.Shape[0] <= batchSize && start + part.Shape[0] <= data.Count, $"FeatureCache: features {part.Shape} are not one row for each of the batch's inputs.");
        all ??= Tensor.Allocate(part.Shape.With(0, data.Count), part.Device, part.ElementType).KeepAlive();
        all.Narrow(0, start, part.Shape[0]).Assign(part);
    }
}
