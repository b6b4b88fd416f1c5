namespace TransferEngine;

/// <summary>
/// Gives back, when it ends, every tensor made on its thread since it began, but those kept: one around a training step or an inference
/// makes their memory come back at once and in order. Never needed for correctness, only for a flat and early return of memory.
/// Values that a recorded graph saved stay valid.
/// </summary>
/// <example><code>
/// using var scope = new TensorScope();
/// var loss = model.Forward(x).CrossEntropy(y);
/// loss.Backward();
/// </code></example>
public sealed class TensorScope : IDisposable
{
    [ThreadStatic]
    private static TensorScope? current;

    private readonly TensorScope? outer = current;
    private List<Tensor>? tensors;
    private bool disposed;

    /// <summary>Begins a scope inside the thread's present one.</summary>
    public TensorScope() => current = this;

    /// <summary>Takes a tensor out of this scope: it lives on in the outer scope, if there is one.</summary>
    /// <param name="tensor">What to keep.</param>
    /// <returns>The same tensor.</returns>
    public Tensor Keep(Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (tensor.Scope == this)
        {
            tensor.Scope = outer;
            outer?.Add(tensor);
        }
        return tensor;
    }

    /// <summary>Gives back what was made in the scope and not kept.</summary>
    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        current = outer;
        if (tensors is null)
            return;
        foreach (var tensor in tensors)
        {
            if (tensor.Scope == this)
                tensor.Dispose();
        }
        tensors = null;
    }

    internal static void Register(Tensor tensor)
    {
        if (current is not { } scope)
            return;
        tensor.Scope = scope;
        scope.Add(tensor);
    }

    private void Add(Tensor tensor) => (tensors ??= []).Add(tensor);
}
