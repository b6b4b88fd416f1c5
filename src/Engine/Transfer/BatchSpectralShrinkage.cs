using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// Batch spectral shrinkage: makes the directions small in which a batch's features vary least, as those transfer badly:
/// η Σ σ² over the k smallest of the min(N, d) singular values of the feature matrix F [N, d].
/// </summary>
/// <remarks>
/// Chen et al.: Catastrophic forgetting meets negative transfer, batch spectral shrinkage for safe transfer learning; NeurIPS 2019.
/// With the k last singular vectors U (of FFᵀ, or V of FᵀF where that is smaller) held constant the term is ‖UᵀF‖², whose gradient 2 U Uᵀ F is
/// that of Σ σ²: the vectors' own change adds nothing to first order. Gradients of gradients do not see it. The decomposition is done in float64 on the host and
/// waits for the device.
/// </remarks>
public sealed class BatchSpectralShrinkage : IRegularizer, IDisposable
{
    private readonly Tap tap;
    private readonly int count;
    private readonly double weight;

    /// <param name="head">The part of the model whose input is the features, [N, ...], flattened to rows.</param>
    /// <param name="count">How many of the smallest singular values, k.</param>
    /// <param name="weight">What the term weighs, η.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is below 1 or the weight negative.</exception>
    public BatchSpectralShrinkage(Module head, int count = 1, double weight = 1e-3)
    {
        ArgumentNullException.ThrowIfNull(head);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        (this.count, this.weight) = (count, weight);
        tap = new Tap(nameof(BatchSpectralShrinkage), [head], inputs: true);
    }

    /// <inheritdoc/>
    public string Name => "bss";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step) => SmallestSquares(tap.Take()[0].Flatten(1), count) * weight;

    /// <summary>The sum of the squares of the smallest singular values of a matrix; differentiable.</summary>
    /// <param name="features">[N, d], floating.</param>
    /// <param name="count">How many; all where there are fewer.</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">It is no matrix.</exception>
    public static Tensor SmallestSquares(Tensor features, int count = 1)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        Check.Floating("BatchSpectralShrinkage", features);
        Check.Rank("BatchSpectralShrinkage", "the features", features, 2, "[N, d]");
        return Spectrum.Squares(features, count, largest: false);
    }

    /// <summary>Stops looking at the model.</summary>
    public void Dispose() => tap.Dispose();
}
