namespace TransferEngine.Modules;

/// <summary>In training sets each element to 0 with a probability and scales the others up, so that the mean stays; otherwise passes through.</summary>
public sealed class Dropout : Module
{
    private readonly double probability;
    private readonly Generator? generator;

    /// <param name="probability">From 0 to 1.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    public Dropout(double probability = 0.5, Generator? generator = null)
    {
        if (!(probability is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(probability), probability, "Dropout: a probability is from 0 to 1.");
        (this.probability, this.generator) = (probability, generator);
    }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Dropout(probability, IsTraining, generator);
}
