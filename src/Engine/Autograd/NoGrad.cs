namespace TransferEngine;

/// <summary>Stops recording on its thread until it is disposed: what is computed inside needs no gradient and saves nothing.</summary>
/// <example><code>
/// using (new NoGrad())
///     accuracy = Metrics.Accuracy(model.Forward(x), y);
/// </code></example>
public sealed class NoGrad : IDisposable
{
    private readonly bool outer = Graph.IsRecording;

    /// <summary>Stops recording.</summary>
    public NoGrad() => Graph.IsRecording = false;

    /// <summary>Records again if it was so before.</summary>
    public void Dispose() => Graph.IsRecording = outer;
}

/// <summary>Records again inside a <see cref="NoGrad"/>, until it is disposed.</summary>
public sealed class EnableGrad : IDisposable
{
    private readonly bool outer = Graph.IsRecording;

    /// <summary>Starts recording.</summary>
    public EnableGrad() => Graph.IsRecording = true;

    /// <summary>Stops recording if it was so before.</summary>
    public void Dispose() => Graph.IsRecording = outer;
}
