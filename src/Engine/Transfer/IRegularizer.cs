using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>What a regulariser sees of one training step, after the model's forward pass.</summary>
/// <param name="Input">What the model was given, [N, ...].</param>
/// <param name="Output">What it answered, for classes logits [N, C].</param>
/// <param name="Target">What was wanted, for classes Int32 [N].</param>
public sealed record RegularizedStep(Tensor Input, Tensor Output, Tensor Target);

/// <summary>
/// A term that is added to the loss of a training step: what keeps a fine-tuned model near the one it came from, or teaches it more than the
/// labels do. Those that look inside the model do so by hooks, from their construction until they are disposed.
/// </summary>
public interface IRegularizer
{
    /// <summary>What it is called in reports.</summary>
    string Name { get; }

    /// <summary>Networks of its own that are trained along: give their parameters to the optimiser too.</summary>
    IReadOnlyList<Module> Modules { get; }

    /// <summary>The term to add, weighed already.</summary>
    /// <param name="step">The step; the model's forward pass was its last.</param>
    /// <returns>A scalar.</returns>
    Tensor Loss(RegularizedStep step);
}

/// <summary>Keeps what some modules took in or put out at their last forward pass, until it is taken.</summary>
internal sealed class Tap : IDisposable
{
    private readonly string owner;
    private readonly IDisposable[] hooks;
    private readonly Tensor?[] last;

    public Tap(string owner, IReadOnlyList<Module> modules, bool inputs)
    {
        (this.owner, last) = (owner, new Tensor?[modules.Count]);
        hooks = [.. modules.Select((module, i) => module.RegisterForwardHook((_, input, output) =>
        {
            last[i] = inputs ? input : output;
            return null;
        }))];
    }

    /// <summary>What was kept, which is forgotten here.</summary>
    public Tensor[] Take()
    {
        if (Array.IndexOf(last, null) >= 0)
            throw new InvalidOperationException($"{owner}: the model's forward pass did not come by every module that it looks at. Call Loss after each forward pass, and not once it is disposed.");
        Tensor[] taken = [.. last.OfType<Tensor>()];
        Array.Clear(last);
        return taken;
    }

    public void Dispose()
    {
        foreach (var hook in hooks)
            hook.Dispose();
        Array.Clear(last);
    }
}
