using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// StochNorm: in training each channel of a batch normalisation is normalised by the batch's statistics with a probability, and by the running ones, as in
/// evaluation, otherwise: γ ((1 - s) x̂_running + s x̂_batch) + β, s ~ Bernoulli(p) drawn anew for each channel and step. The modules stay what and where
/// they are, with their parameters' names; this changes what they do until it is disposed. Evaluation and frozen modules are not touched.
/// </summary>
/// <remarks>
/// Kou et al.: Stochastic normalization; NeurIPS 2020. As in the authors' code the running statistics are those before the batch enters them; no
/// gradient flows through them.
/// </remarks>
public sealed class StochNorm : IDisposable
{
    private StochNorm(IReadOnlyList<BatchNorm> modules, double probability, Generator? generator)
    {
        Modules = modules;
        foreach (var module in modules)
            module.Mix = (byRunning, byBatch) => Choose(byRunning, byBatch, probability, generator);
    }

    /// <summary>The batch normalisations that are changed.</summary>
    public IReadOnlyList<BatchNorm> Modules { get; }

    /// <summary>Changes all batch normalisation of a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="probability">How often a channel goes by the batch's statistics, from 0 to 1.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <returns>What undoes it.</returns>
    /// <exception cref="ArgumentException">The model has no batch normalisation.</exception>
    public static StochNorm Apply(Module model, double probability = 0.5, Generator? generator = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (!(probability is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(probability), probability, "StochNorm: a probability is from 0 to 1.");
        BatchNorm[] modules = [.. model.NamedModules().Select(item => item.Module).OfType<BatchNorm>()];
        return modules.Length > 0
            ? new StochNorm(modules, probability, generator)
            : throw new ArgumentException($"StochNorm: {model.GetType().Name} has no batch normalisation to change.", nameof(model));
    }

    /// <summary>The modules normalise by the batch again.</summary>
    public void Dispose()
    {
        foreach (var module in Modules)
            module.Mix = null;
    }

    private static Tensor Choose(Tensor byRunning, Tensor byBatch, double probability, Generator? generator)
    {
        var chosen = Tensor.Bernoulli([1, byBatch.Shape[1], .. Enumerable.Repeat(1, byBatch.Rank - 2)], probability, generator, byBatch.Device, byBatch.ElementType);
        return byRunning + chosen * (byBatch - byRunning);
    }
}
