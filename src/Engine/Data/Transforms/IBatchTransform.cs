namespace TransferEngine.Data.Transforms;

/// <summary>
/// Changes a whole batch after it was loaded, on its device. A <see cref="DataLoader"/> gives each batch random numbers that depend on its seed, the number of
/// the pass and the number of the batch in it.
/// </summary>
public interface IBatchTransform
{
    /// <summary>Changes a batch. May be called from a background thread.</summary>
    /// <param name="batch">The batch, which stays as it is and the caller's.</param>
    /// <param name="random">The batch's random numbers.</param>
    /// <returns>A batch of its own tensors.</returns>
    Batch Apply(Batch batch, Generator random);
}

/// <summary>One of several transforms for each batch, drawn uniformly: <see cref="MixUp"/> or <see cref="CutMix"/>, as is usual.</summary>
public sealed class RandomChoice : IBatchTransform
{
    private readonly IBatchTransform[] transforms;

    /// <param name="transforms">One at least.</param>
    /// <exception cref="ArgumentException">There is none.</exception>
    public RandomChoice(params IBatchTransform[] transforms)
    {
        ArgumentNullException.ThrowIfNull(transforms);
        this.transforms = transforms is { Length: > 0 } ? [.. transforms] : throw new ArgumentException("RandomChoice: there is no transform to draw. Give one at least.", nameof(transforms));
    }

    /// <inheritdoc/>
    public Batch Apply(Batch batch, Generator random)
    {
        ArgumentNullException.ThrowIfNull(random);
        return transforms[random.NextInteger(0, transforms.Length)].Apply(batch, random);
    }
}
