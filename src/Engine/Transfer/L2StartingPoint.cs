using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// L2-SP: pulls the weights towards those that fine-tuning started from, and new ones, which have no start, towards zero:
/// α/2 Σ ‖w - w⁰‖² + β/2 Σ ‖w_new‖². The start is what the parameters hold when this is made. It takes the place of weight decay, which pulls
/// towards zero: set that to 0.
/// </summary>
/// <remarks>Li, Grandvalet and Davoine: Explicit inductive bias for transfer learning with convolutional networks; ICML 2018.</remarks>
public sealed class L2StartingPoint : IRegularizer, IDisposable
{
    private readonly (Tensor Parameter, Tensor? Start)[] parameters;
    private readonly double alpha, beta;

    /// <param name="model">The model with its source weights.</param>
    /// <param name="fresh">The new part, such as the head; null for none.</param>
    /// <param name="alpha">What the distance to the start weighs.</param>
    /// <param name="beta">What the new part's own size weighs.</param>
    /// <exception cref="ArgumentOutOfRangeException">A weight is negative.</exception>
    public L2StartingPoint(Module model, Module? fresh = null, double alpha = 0.1, double beta = 0.01)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfNegative(alpha);
        ArgumentOutOfRangeException.ThrowIfNegative(beta);
        (this.alpha, this.beta) = (alpha, beta);
        var isNew = new HashSet<Tensor>(fresh?.Parameters() ?? [], ReferenceEqualityComparer.Instance);
        using var noGrad = new NoGrad();
        parameters = [.. model.Parameters().Select(parameter => (parameter, isNew.Contains(parameter) ? null : parameter.Clone().KeepAlive()))];
    }

    /// <inheritdoc/>
    public string Name => "l2-sp";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <summary>The term; frozen parameters are where they started and cost nothing.</summary>
    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        Tensor? sum = null;
        foreach (var (parameter, start) in parameters)
        {
            if (!parameter.RequiresGrad)
                continue;
            var term = start is null ? parameter.Square().Sum() * (beta / 2) : (parameter - start).Square().Sum() * (alpha / 2);
            sum = sum is null ? term : sum + term;
        }
        return sum ?? Tensor.Zeros([], step.Output.Device, step.Output.ElementType);
    }

    /// <summary>Gives the memory of the start back.</summary>
    public void Dispose()
    {
        foreach (var (_, start) in parameters)
            start?.Dispose();
    }
}
