namespace TransferEngine.Adaptation;

/// <summary>The cross-entropy of a discriminator, whose logits say source where they are above 0.</summary>
internal static class DomainEntropy
{
    /// <summary>-log D of rows that are taken for the source's.</summary>
    /// <param name="logits">[n, 1].</param>
    /// <returns>[n].</returns>
    public static Tensor OfSource(Tensor logits) => -Rows(logits).LogSigmoid();

    /// <summary>-log (1 - D) of rows that are taken for the target's.</summary>
    /// <param name="logits">[n, 1].</param>
    /// <returns>[n].</returns>
    public static Tensor OfTarget(Tensor logits) => -(-Rows(logits)).LogSigmoid();

    /// <summary>The mean of each domain, and their sum.</summary>
    public static Tensor Sum((Tensor Source, Tensor Target) logits) => OfSource(logits.Source).Mean() + OfTarget(logits.Target).Mean();

    /// <summary>The mean over the rows of both domains.</summary>
    public static Tensor Mean((Tensor Source, Tensor Target) logits) => Tensor.Concat([OfSource(logits.Source), OfTarget(logits.Target)]).Mean();

    private static Tensor Rows(Tensor logits)
    {
        Check.That(logits.Rank == 2 && logits.Shape[1] == 1, $"Discriminator: it answers {logits.Shape}, wanted [N, 1]. End it with a layer of one output.");
        return logits.Reshape(logits.Shape[0]);
    }
}
