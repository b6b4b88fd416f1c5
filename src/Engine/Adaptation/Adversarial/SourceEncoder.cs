namespace TransferEngine.Adaptation;

/// <summary>The features as the source alone has trained them, kept while they move on for the target.</summary>
internal sealed class SourceEncoder(double pretraining)
{
    private ShadowWeights? weights;

    /// <summary>Drops the weights of a training before.</summary>
    public void Begin()
    {
        weights?.Dispose();
        weights = null;
    }

    /// <summary>Whether the source alone is trained on still; when it is no more, the weights are kept.</summary>
    public bool IsTraining(AdaptationStep step)
    {
        if (step.Progress < pretraining)
            return true;
        weights ??= new ShadowWeights(step.Run.Features);
        return false;
    }

    /// <summary>The source's features by the kept weights, as in evaluation; no gradient flows into them.</summary>
    public Tensor Forward(AdaptationStep step)
    {
        using var recording = new NoGrad();
        using var swapped = weights!.SwapIn();
        var putBack = step.Run.Features.Evaluate();
        try
        {
            return step.Run.Features.Forward(step.SourceInput);
        }
        finally
        {
            putBack();
        }
    }
}
