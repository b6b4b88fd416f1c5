using System.Collections;

namespace TransferEngine.Data;

/// <summary>A batch of each domain: sources with targets, the target domain without.</summary>
/// <param name="Sources">Inputs and targets of the source domains, one or more.</param>
/// <param name="TargetInput">Inputs of the target domain, [M, ...]; null where there is none.</param>
public sealed record DomainBatch(IReadOnlyList<Batch> Sources, Tensor? TargetInput) : IDisposable
{
    /// <summary>A batch of one source and of the target domain.</summary>
    /// <param name="source">Inputs and targets of the source domain.</param>
    /// <param name="targetInput">Inputs of the target domain, [M, ...].</param>
    public DomainBatch(Batch source, Tensor? targetInput) : this([source], targetInput)
    {
    }

    /// <summary>Further views of the target domain's inputs, each [M, ...], as <see cref="DataLoaderSettings.Views"/> of its loader wants them.</summary>
    public IReadOnlyList<Tensor> TargetViews { get; init; } = [];

    /// <summary>The numbers of the target's rows, as <see cref="Batch.Rows"/>; empty where they are not known.</summary>
    public ReadOnlyMemory<int> TargetRows { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var source in Sources)
            source.Dispose();
        TargetInput?.Dispose();
        foreach (var view in TargetViews)
            view.Dispose();
    }
}

/// <summary>
/// Joins batches of domains of unequal lengths: a pass is as long as the longest one, the shorter ones begin anew as often as they must. The targets of the
/// target domain are dropped before anybody sees them.
/// </summary>
public sealed class DomainLoader : IEnumerable<DomainBatch>, IPassed
{
    private readonly DataLoader[] all;

    /// <summary>One source and the target domain.</summary>
    /// <param name="source">The source domain's batches.</param>
    /// <param name="target">The target domain's batches.</param>
    public DomainLoader(DataLoader source, DataLoader target) : this([source], target)
    {
        ArgumentNullException.ThrowIfNull(target);
    }

    /// <summary>Several sources, with a target domain or without one.</summary>
    /// <param name="sources">The source domains' batches.</param>
    /// <param name="target">The target domain's batches; null where the target is not known.</param>
    /// <exception cref="ArgumentException">There is no source.</exception>
    public DomainLoader(IReadOnlyList<DataLoader> sources, DataLoader? target)
    {
        ArgumentNullException.ThrowIfNull(sources);
        if (sources.Count == 0)
            throw new ArgumentException("DomainLoader: there is no source domain. Give one or more.", nameof(sources));
        foreach (var source in sources)
            ArgumentNullException.ThrowIfNull(source, nameof(sources));
        (Sources, Target) = ([.. sources], target);
        all = target is null ? [.. sources] : [.. sources, target];
    }

    /// <summary>The source domains' batches.</summary>
    public IReadOnlyList<DataLoader> Sources { get; }

    /// <summary>The target domain's batches.</summary>
    public DataLoader? Target { get; }

    /// <summary>Batches of a pass.</summary>
    public int Count => all.Any(loader => loader.Count == 0) ? 0 : all.Max(loader => loader.Count);

    int[] IPassed.Passes
    {
        get => [.. all.Select(loader => loader.Epoch)];
        set
        {
            for (int i = 0; i < all.Length; i++)
                all[i].Epoch = value[i];
        }
    }

    /// <summary>Begins the next pass.</summary>
    public IEnumerator<DomainBatch> GetEnumerator()
    {
        IEnumerator<Batch>[] passes = [.. all.Select(loader => loader.GetEnumerator())];
        try
        {
            for (int number = 0; number < Count; number++)
            {
                var batches = new List<Batch>();
                try
                {
                    for (int i = 0; i < all.Length; i++)
                        batches.Add(Next(all[i], ref passes[i]));
                }
                catch
                {
                    foreach (var batch in batches)
                        batch.Dispose();
                    throw;
                }
                if (Target is null)
                {
                    yield return new(batches, null);
                    continue;
                }
                var unlabelled = batches[^1];
                unlabelled.Target.Dispose();
                yield return new(batches[..^1], unlabelled.Input) { TargetViews = unlabelled.Views, TargetRows = unlabelled.Rows };
            }
        }
        finally
        {
            foreach (var pass in passes)
                pass.Dispose();
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static Batch Next(DataLoader loader, ref IEnumerator<Batch> batches)
    {
        if (!batches.MoveNext())
        {
            batches.Dispose();
            batches = loader.GetEnumerator();
            batches.MoveNext();
        }
        return batches.Current;
    }
}
