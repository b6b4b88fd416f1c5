namespace TransferEngine.Modules;

/// <summary>A table of vectors that are looked up by number, Int32 [...] to [..., width].</summary>
public sealed class Embedding : Module
{
    /// <summary>Initialised as PyTorch does: normal with mean 0 and standard deviation 1.</summary>
    /// <param name="rows">How many vectors.</param>
    /// <param name="width">Their length.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Embedding(int rows, int width, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        Weight = AddParameter("weight", Tensor.Normal([rows, width], 0, 1, generator, device, type));
    }

    /// <summary>[rows, width].</summary>
    public Tensor Weight { get; }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <summary>Int32 [...], each from 0 to rows - 1, to [..., width].</summary>
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => Weight.Embedding(input);
}
