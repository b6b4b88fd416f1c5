using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// MixStyle: in training, gives each image's features the style of a mixture of its own and another image's: with μ and σ the mean and deviation of each channel over the places of one image,
/// γ (x - μ) / σ + β, γ = λ σ + (1 - λ) σ', β = λ μ + (1 - λ) μ', λ from Beta(α, α) for each image and ' another image of the batch. In evaluation, and on batches that chance leaves out, it passes features on.
/// </summary>
/// <remarks>
/// Zhou et al., Domain Generalization with MixStyle, ICLR 2021, equations 3 to 5: after the first and second residual block, with probability 0.5 and α = 0.1. No gradient flows through the statistics; σ = √(variance + 1e-6). With
/// <paramref name="acrossHalves"/> the partner comes from the other half of the batch, which is then to hold two domains (the paper's form with domain labels); otherwise it is any image. [N, C] rows, without places, are refused.
/// </remarks>
/// <param name="probability">How often a batch is mixed, from 0 to 1.</param>
/// <param name="alpha">α, positive: the smaller, the purer the styles.</param>
/// <param name="acrossHalves">Whether each half of the batch takes its partners from the other.</param>
/// <param name="generator">Where chance comes from; <see cref="Generator.Default"/> if null.</param>
public sealed class MixStyle(double probability = 0.5, double alpha = 0.1, bool acrossHalves = false, Generator? generator = null) : Module
{
    private const double Epsilon = 1e-6;

    private readonly double probability = probability is >= 0 and <= 1
        ? probability : throw new ArgumentOutOfRangeException(nameof(probability), probability, "MixStyle: a probability is from 0 to 1.");

    private readonly double alpha = alpha > 0 ? alpha : throw new ArgumentOutOfRangeException(nameof(alpha), alpha, "MixStyle: alpha is positive.");

    /// <summary>Mixes the styles of a batch by given partners and shares.</summary>
    /// <param name="input">[N, C, places...].</param>
    /// <param name="partners">Which row each takes style from, [N].</param>
    /// <param name="shares">λ: what each keeps of its own, [N].</param>
    /// <returns>The input's shape.</returns>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static Tensor Mix(Tensor input, IReadOnlyList<int> partners, IReadOnlyList<double> shares)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(partners);
        ArgumentNullException.ThrowIfNull(shares);
        Check.That(input.Rank >= 3, $"MixStyle: {input.Shape} has no places to take a style over; wanted [N, C, places...]. Put it after a convolution.");
        int n = input.Shape[0];
        Check.That(partners.Count == n && shares.Count == n, $"MixStyle: {partners.Count} partners and {shares.Count} shares for {n} rows. Give one of each for each row.");
        Tensor mean, deviation, mixedMean, mixedDeviation;
        using (new NoGrad())
        {
            int[] places = [.. Enumerable.Range(2, input.Rank - 2)];
            var x = input.Detach();
            mean = x.Mean(places, keepDim: true);
            deviation = (x.Var(places, keepDim: true) + Epsilon).Sqrt();
            var index = Tensor.From([.. partners], input.Device);
            var kept = Tensor.FromDoubles([.. shares], new Shape([n, .. Enumerable.Repeat(1, input.Rank - 1)]), input.Device, input.ElementType);
            mixedMean = mean * kept + mean.IndexSelect(0, index) * (1 - kept);
            mixedDeviation = deviation * kept + deviation.IndexSelect(0, index) * (1 - kept);
        }
        return (input - mean) / deviation * mixedDeviation + mixedMean;
    }

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var random = generator ?? Generator.Default;
        if (!IsTraining || random.NextDouble() >= probability)
            return input;
        int n = input.Shape[0];
        int[] partners = random.Permutation(n);
        if (acrossHalves)
        {
            int half = n / 2;
            // Of an odd batch the last row stays by itself.
            int[] first = random.Permutation(half), second = random.Permutation(half);
            partners = [.. second.Select(i => half + i), .. first, .. Enumerable.Range(2 * half, n - 2 * half)];
        }
        return Mix(input, partners, [.. Enumerable.Range(0, n).Select(_ => random.NextBeta(alpha, alpha))]);
    }
}
