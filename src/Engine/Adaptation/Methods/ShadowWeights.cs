using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// A second set of weights for networks: those of a teacher that follows them, or of an earlier state that is compared with. The networks run with it
/// while it is swapped in, which moves no data.
/// </summary>
/// <example><code>
/// using (shadow.SwapIn())
/// using (new NoGrad())
///     taught = head.Forward(features.Forward(x)).Softmax();
/// </code></example>
public sealed class ShadowWeights : IDisposable
{
    private readonly WeightCopy copy;
    private readonly HashSet<Tensor> parameters;

    /// <summary>Copies the present parameters and buffers.</summary>
    /// <param name="modules">The networks.</param>
    public ShadowWeights(params Module[] modules)
    {
        ArgumentNullException.ThrowIfNull(modules);
        var all = new Sequential(modules);
        copy = new WeightCopy(all.NamedParameters().Concat(all.NamedBuffers()));
        parameters = new(all.Parameters(), ReferenceEqualityComparer.Instance);
    }

    /// <summary>
    /// Lets the networks run with the shadow until the result is disposed; what happens to their weights or statistics meanwhile happens to the shadow. Use
    /// it without recording: a gradient would go to the networks' own weights.
    /// </summary>
    public IDisposable SwapIn()
    {
        Exchange();
        return new SwappedIn(this);
    }

    /// <summary>Moves the shadow's parameters towards the networks' own: decay · shadow + (1 - decay) · own.</summary>
    /// <param name="decay">What stays, from 0 to 1.</param>
    /// <param name="takesBuffers">Whether buffers, such as running statistics, are taken over; otherwise they are what the shadow's own passes make of them.</param>
    /// <exception cref="ArgumentOutOfRangeException">The decay is out of range.</exception>
    public void Follow(double decay, bool takesBuffers = true)
    {
        if (!(decay is >= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(decay), decay, "ShadowWeights.Follow: what stays of the shadow is from 0 to 1.");
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        foreach (var (_, own, shadow) in copy.Tensors)
        {
            if (parameters.Contains(own))
                shadow.Assign(shadow * decay + own * (1 - decay));
            else if (takesBuffers)
                shadow.Assign(own);
        }
    }

    /// <summary>Gives the networks the shadow's values.</summary>
    public void Restore() => copy.Restore();

    /// <summary>Gives the shadow's memory back.</summary>
    public void Dispose() => copy.Dispose();

    private void Exchange()
    {
        foreach (var (_, own, shadow) in copy.Tensors)
            own.Exchange(shadow);
    }

    private sealed class SwappedIn(ShadowWeights shadow) : IDisposable
    {
        private bool ended;

        public void Dispose()
        {
            if (!ended)
                shadow.Exchange();
            ended = true;
        }
    }
}
