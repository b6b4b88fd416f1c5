using TransferEngine.Transfer;

namespace TransferEngine.Training;

/// <summary>A part of a fine-tuning: what is frozen, how fast each stage learns, for how long.</summary>
/// <param name="Name">What it is called in reports.</param>
/// <param name="Epochs">Its epochs.</param>
/// <param name="Rates">A learning rate a stage, from the input on: the rates that the schedule is relative to.</param>
public sealed record FineTunePhase(string Name, int Epochs, IReadOnlyList<double> Rates)
{
    /// <summary>What is frozen while it lasts; nothing if null.</summary>
    public FreezePolicy? Frozen { get; init; }

    /// <summary>Makes the schedule, moved on each step, of the optimiser and the phase's steps; rates stay if null.</summary>
    public Func<Optimizer, int, LearningRateSchedule>? Schedule { get; init; }
}

/// <summary>Fine-tunings that papers and libraries give, as phases for a <see cref="FineTuner"/>.</summary>
public static class FineTuneRecipe
{
    /// <summary>
    /// fastai's fine_tune: the head alone for some epochs at the rate, all but the head frozen; then everything at half the rate, the first
    /// stage slower by the spread and those between at equal ratios. One cycle each, which peaks at 0.99 and at 0.3 of the steps.
    /// </summary>
    /// <param name="groups">The model's stages.</param>
    /// <param name="epochs">Epochs of the whole model.</param>
    /// <param name="rate">The head's highest rate.</param>
    /// <param name="freezeEpochs">Epochs of the head alone; 0 leaves them out.</param>
    /// <param name="spread">How much slower the first stage learns than the head.</param>
    /// <param name="trainNormalization">
    /// Whether normalisation goes on training in frozen stages, at a tenth of the rate, as fastai's does. Without it the frozen part is a fixed function and costs less.
    /// </param>
    /// <remarks>Howard and Gugger: fastai, a layered API for deep learning; Information 11 (2020). The cycle is PyTorch's, whose peak is a step earlier than fastai's.</remarks>
    public static IReadOnlyList<FineTunePhase> OneCycle(LayerGroups groups, int epochs, double rate = 2e-3, int freezeEpochs = 1, double spread = 100, bool trainNormalization = true)
    {
        Check(groups, rate);
        ArgumentOutOfRangeException.ThrowIfNegative(epochs);
        ArgumentOutOfRangeException.ThrowIfNegative(freezeEpochs);
        double[] first = new double[groups.Count];
        Array.Fill(first, rate / 10);
        first[^1] = rate;
        var frozen = FreezeAllBut(groups, 1);
        if (trainNormalization)
            frozen = frozen is null ? null : frozen with { Weights = FrozenWeights.AllButNormalization, Normalization = FrozenNormalization.UpdateStatistics };
        return Some(
            new("head", freezeEpochs, first) { Frozen = frozen, Schedule = (optimizer, steps) => Cycle(optimizer, steps, 0.99, 25) },
            new("all", epochs, groups.Between(rate / 2 / spread, rate / 2)) { Schedule = (optimizer, steps) => Cycle(optimizer, steps, 0.3, 5) });

        // Down to 1e-5 of the highest rate; momentum where there is one.
        static OneCycleSchedule Cycle(Optimizer optimizer, int steps, double rising, double divisor) =>
            new(optimizer, null, steps, rising, divisor, 1e5 / divisor, cyclesMomentum: optimizer.Groups.All(group => group.Momentum > 0));
    }

    /// <summary>
    /// ULMFiT: one epoch of the last stage alone, one of the last two, and so on, until all are unfrozen for the rest; rates fall by the factor from stage
    /// to stage, and each phase has a slanted triangle of its own, as in the authors' code.
    /// </summary>
    /// <param name="groups">The model's stages.</param>
    /// <param name="epochs">Epochs of the whole model, the last phase.</param>
    /// <param name="rate">The head's highest rate.</param>
    /// <param name="factor">By how much a stage is slower than the one above it.</param>
    /// <remarks>Howard and Ruder: Universal language model fine-tuning for text classification; ACL 2018, sections 3.2 and 3.3.</remarks>
    public static IReadOnlyList<FineTunePhase> GradualUnfreezing(LayerGroups groups, int epochs, double rate = 1e-2, double factor = 2.6)
    {
        Check(groups, rate);
        ArgumentOutOfRangeException.ThrowIfNegative(epochs);
        double[] rates = groups.Discriminative(rate, factor);
        return Some([.. Enumerable.Range(1, groups.Count).Select(open => new FineTunePhase($"last {open}", open == groups.Count ? epochs : 1, rates)
        {
            Frozen = FreezeAllBut(groups, open),
            Schedule = (optimizer, steps) => new SlantedTriangularSchedule(optimizer, steps),
        })]);
    }

    /// <summary>
    /// LP-FT: first the head alone on features that are held fixed, so that the features are not distorted by a random head; then everything at a lower rate from
    /// there. Half a cosine each.
    /// </summary>
    /// <param name="groups">The model's stages; the last is the head.</param>
    /// <param name="probeEpochs">Epochs of the head alone; 0 where the head comes from <see cref="LinearProbe"/>, which solves for it exactly.</param>
    /// <param name="epochs">Epochs of the whole model.</param>
    /// <param name="probeRate">The first rate of the head.</param>
    /// <param name="rate">The first rate of the whole model.</param>
    /// <remarks>Kumar et al.: Fine-tuning can distort pretrained features and underperform out-of-distribution; ICLR 2022.</remarks>
    public static IReadOnlyList<FineTunePhase> ProbeThenFineTune(LayerGroups groups, int probeEpochs, int epochs, double probeRate = 1e-2, double rate = 1e-3)
    {
        Check(groups, rate);
        ArgumentOutOfRangeException.ThrowIfNegative(probeEpochs);
        ArgumentOutOfRangeException.ThrowIfNegative(epochs);
        return Some(Phase("probe", probeEpochs, probeRate) with { Frozen = FreezeAllBut(groups, 1) }, Phase("all", epochs, rate));

        FineTunePhase Phase(string name, int count, double its) => new(name, count, [.. Enumerable.Repeat(its, groups.Count)]) { Schedule = (optimizer, steps) => new CosineSchedule(optimizer, steps) };
    }

    private static FreezePolicy? FreezeAllBut(LayerGroups groups, int open) => open >= groups.Count ? null : groups.FreezeFirst(-open);

    private static FineTunePhase[] Some(params FineTunePhase[] phases) => [.. phases.Where(phase => phase.Epochs > 0)];

    private static void Check(LayerGroups groups, double rate)
    {
        ArgumentNullException.ThrowIfNull(groups);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rate);
    }
}
