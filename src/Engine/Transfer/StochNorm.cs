using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// StochNorm: in training each channel of a batch normalisation is normalised by the running statistics, as in evaluation, with a probability, and by
/// the batch's otherwise: γ (s x̂_running + (1 - s) x̂_batch) + β, s ~ Bernoulli(p) drawn anew for each channel and step. The modules stay what and where
/// they are, with their parameters' names; this changes what they do until it is disposed. Evaluation and frozen modules are not touched.
/// </summary>
/// <remarks>
/// Kou et al.: Stochastic normalization; NeurIPS 2020, equations 4 to 6. As in the authors' code the running statistics take the batch in first, and no
/// gradient flows through them.
/// </remarks>
public sealed class StochNorm : IDisposable
{
    private readonly double probability;
    private readonly Generator? generator;
    private readonly IDisposable[] hooks;

    private StochNorm(IReadOnlyList<BatchNorm> modules, double probability, Generator? generator)
    {
        (Modules, this.probability, this.generator) = (modules, probability, generator);
        hooks = [.. modules.Select(module => module.RegisterForwardHook(Mix))];
    }

    /// <summary>The batch normalisations that are changed.</summary>
    public IReadOnlyList<BatchNorm> Modules { get; }

    /// <summary>Changes all batch normalisation of a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="probability">How often a channel goes by the running statistics, from 0 to 1.</param>
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

    /// <summary>The modules normalise as before.</summary>
    public void Dispose()
    {
        foreach (var hook in hooks)
            hook.Dispose();
    }

    private Tensor? Mix(Module module, Tensor input, Tensor byBatch)
    {
        var norm = (BatchNorm)module;
        if (!norm.IsTraining)
            return null;
        var byRunning = input.BatchNorm(norm.RunningMean, norm.RunningVar, norm.Weight, norm.Bias, training: false, eps: norm.Eps);
        var chosen = Tensor.Bernoulli([1, input.Shape[1], .. Enumerable.Repeat(1, input.Rank - 2)], probability, generator, input.Device, input.ElementType);
        return byBatch + chosen * (byRunning - byBatch);
    }
}
