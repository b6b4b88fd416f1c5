namespace TransferEngine;

/// <summary>
/// An operator of the user's own: a forward and a backward pass written with tensors. Derive, then call <see cref="Apply"/>; an instance may
/// be used for one call at a time. Where the backward pass uses tensor operators only, gradients of gradients work.
/// </summary>
public abstract class CustomFunction
{
    private Tensor[] saved = [];

    /// <summary>Computes the output. Nothing in it is recorded.</summary>
    /// <param name="inputs">What <see cref="Apply"/> got.</param>
    protected abstract Tensor Forward(IReadOnlyList<Tensor> inputs);

    /// <summary>Computes the gradients of the inputs, null for those that need none.</summary>
    /// <param name="gradient">The gradient of the output, of its shape.</param>
    /// <param name="saved">What <see cref="Save"/> kept, in its order.</param>
    protected abstract Tensor?[] Backward(Tensor gradient, IReadOnlyList<Tensor> saved);

    /// <summary>Keeps tensors for <see cref="Backward"/>; inputs and the output may be among them. Call it in <see cref="Forward"/>.</summary>
    /// <param name="tensors">What to keep.</param>
    protected void Save(params Tensor[] tensors) => saved = tensors;

    /// <summary>Computes the output and records the function where an input needs a gradient.</summary>
    /// <param name="inputs">One or more.</param>
    public Tensor Apply(params Tensor[] inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        Tensor output;
        using (new NoGrad())
            output = Forward(inputs);
        if (Array.Exists(inputs, input => ReferenceEquals(input, output)))
            output = output.Alias();
        int count = saved.Length;
        var result = Graph.Record(GetType().Name, output, inputs, saved,
            (gradient, context) => Backward(gradient, [.. Enumerable.Range(0, count).Select(i => context[i])]));
        saved = [];
        return result;
    }
}
