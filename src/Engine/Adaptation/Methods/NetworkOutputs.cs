namespace TransferEngine.Adaptation;

/// <summary>Which outputs of the networks a loss is measured on: one of them, or several joined by <c>|</c>, which gives the sum of their losses.</summary>
[Flags]
public enum NetworkOutputs
{
    /// <summary>None of them; methods refuse it.</summary>
    None = 0,

    /// <summary>What the feature network gives, [N, d].</summary>
    Features = 1,

    /// <summary>What the head gives, [N, C].</summary>
    Logits = 2,

    /// <summary>The softmax of the logits, [N, C].</summary>
    Probabilities = 4,
}

internal static class Outputs
{
    /// <summary>The outputs themselves, or an exception where there are none.</summary>
    public static NetworkOutputs Checked(this NetworkOutputs outputs, string name) => outputs is > NetworkOutputs.None and <= (NetworkOutputs.Features | NetworkOutputs.Logits | NetworkOutputs.Probabilities)
        ? outputs
        : throw new ArgumentOutOfRangeException(nameof(outputs), outputs, $"{name}: what is measured is Features, Logits, Probabilities, or several of them joined by |.");

    /// <summary>The sum over the outputs of a measure of the source's and the target's. What is not measured is not computed.</summary>
    public static Tensor Sum(this NetworkOutputs outputs, AdaptationStep step, Func<Tensor, Tensor, Tensor> measure)
    {
        Tensor? sum = null;
        if (outputs.HasFlag(NetworkOutputs.Features))
            sum = measure(step.SourceFeatures, step.TargetFeatures);
        if (outputs.HasFlag(NetworkOutputs.Logits))
            Add(measure(step.SourceLogits, step.TargetLogits));
        if (outputs.HasFlag(NetworkOutputs.Probabilities))
            Add(measure(step.SourceLogits.Softmax(), step.TargetLogits.Softmax()));
        return sum!;

        void Add(Tensor value) => sum = sum is null ? value : sum + value;
    }
}
