namespace TransferEngine.Transfer;

/// <summary>Freeze policies that train a small part of every layer, beside a new head.</summary>
public static class PartialTuning
{
    /// <summary>
    /// BitFit: only what is named <c>bias</c> trains (Ben Zaken, Goldberg and Ravfogel: BitFit, simple parameter-efficient fine-tuning for transformer-based masked
    /// language-models; ACL 2022). Dropout and the statistics of normalisation go on as in ordinary training.
    /// </summary>
    /// <param name="head">Patterns, as of <see cref="FreezePolicy.Named"/>, of modules that train as a whole.</param>
    public static FreezePolicy BitFit(params string[] head) => Policy(FrozenWeights.AllButBiases, head);

    /// <summary>
    /// Only the scale and shift of normalisation train, and their statistics follow the new data (Frankle, Schwab and Morcos: Training BatchNorm and only
    /// BatchNorm; ICLR 2021). Dropout goes on as in ordinary training.
    /// </summary>
    /// <param name="head">Patterns, as of <see cref="FreezePolicy.Named"/>, of modules that train as a whole.</param>
    public static FreezePolicy NormalizationOnly(params string[] head) => Policy(FrozenWeights.AllButNormalization, head);

    private static FreezePolicy Policy(FrozenWeights weights, string[] head)
    {
        ArgumentNullException.ThrowIfNull(head);
        return FreezePolicy.All() with { Weights = weights, Normalization = FrozenNormalization.UpdateStatistics, Dropout = FrozenDropout.On, Except = head };
    }
}
