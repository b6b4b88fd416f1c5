namespace TransferEngine.Modules;

/// <summary>In training sets each element to 0 with a probability and scales the others up, so that the mean stays; otherwise passes through.</summary>
public sealed class Dropout : Module
{
    private readonly double probability;
    private readonly Generator? generator;

    /// <param name="probability">From 0 to 1.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    public Dropout(double probability = 0.5, Generator? generator = null) => (this.probability, this.generator) = (Checked("Dropout", probability), generator);

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Dropout(probability, IsTraining, generator);

    internal static double Checked(string operation, double probability) => probability is >= 0 and <= 1
        ? probability
        : throw new ArgumentOutOfRangeException(nameof(probability), probability, $"{operation}: a probability is from 0 to 1.");
}

/// <summary>In training sets whole channels of [N, C, H, W] to 0 with a probability and scales the others up, so that the mean stays; otherwise passes through.</summary>
public sealed class Dropout2d : Module
{
    private readonly double probability;
    private readonly Generator? generator;

    /// <param name="probability">From 0 to 1.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    public Dropout2d(double probability = 0.5, Generator? generator = null) => (this.probability, this.generator) = (Dropout.Checked("Dropout2d", probability), generator);

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input)
    {
        Check.Rank("Dropout2d", "the input", input, 4, "[N, C, H, W]");
        return !IsTraining || probability == 0
            ? input
            : input * Tensor.Ones([input.Shape[0], input.Shape[1], 1, 1], input.Device, input.ElementType).Dropout(probability, true, generator);
    }
}
