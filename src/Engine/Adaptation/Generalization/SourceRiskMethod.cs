namespace TransferEngine.Adaptation;

/// <summary>
/// A method that learns from several source domains what holds in domains never seen: it makes one loss of the risks of the single domains, each the mean loss of its rows in the batch. It looks at no target domain.
/// </summary>
public abstract class SourceRiskMethod : AdaptationMethod
{
    /// <inheritdoc/>
    public sealed override bool UsesTarget => false;

    /// <inheritdoc/>
    public sealed override Tensor SourceLoss(AdaptationStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        if (step.Sources.Count == 0)
            throw new InvalidOperationException($"{Name}: the step has no source domains of its own. Make it of an AdaptationRun and a batch of domains.");
        return Combine(step);
    }

    /// <summary>The loss of a step's source domains.</summary>
    /// <param name="step">The step; its <see cref="AdaptationStep.Sources"/> are one or more.</param>
    /// <returns>A scalar.</returns>
    protected abstract Tensor Combine(AdaptationStep step);

    /// <summary>The risks of the domains, [E].</summary>
    /// <param name="step">The step.</param>
    private protected static Tensor Risks(AdaptationStep step) => Tensor.Stack([.. step.Sources.Select(source => step.Run.Criterion(source.Logits, source.Targets))]);
}
