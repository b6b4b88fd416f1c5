using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>Frozen modules, until <see cref="Undo"/>. Several may be applied to one model; undo the last one first.</summary>
public sealed class FreezeHandle : IDisposable
{
    private readonly List<Module> held = [];
    private readonly List<(Tensor Parameter, GradientNode Leaf)> parameters = [];
    private Action? putBack;

    internal FreezeHandle(FreezePolicy policy, IReadOnlyList<(string Name, Module Module)> modules, Optimizer? optimizer)
    {
        Modules = [.. modules.Select(item => item.Name)];
        foreach (var (_, module) in modules)
        {
            foreach (var (name, parameter) in module.OwnParameters)
            {
                if (parameter.Edge is { } leaf && Freezes(policy.Weights, module, name))
                    parameters.Add((parameter, leaf));
            }
            if (!GoesOn(policy, module))
            {
                module.EvaluationHolds++;
                held.Add(module);
            }
        }
        var frozen = new HashSet<Tensor>(parameters.Select(item => item.Parameter), ReferenceEqualityComparer.Instance);
        putBack = optimizer?.Withdraw(frozen);
        foreach (var parameter in frozen)
        {
            parameter.RequiresGrad = false;
            parameter.Grad?.Dispose();
            parameter.Grad = null;
        }
        Parameters = [.. frozen];
    }

    /// <summary>The names of the frozen modules, the root's empty.</summary>
    public IReadOnlyList<string> Modules { get; }

    /// <summary>The weights that this froze; those that needed no gradient before are not among them.</summary>
    public IReadOnlyList<Tensor> Parameters { get; }

    /// <summary>Whether it is in force.</summary>
    public bool IsActive { get; private set; } = true;

    /// <summary>
    /// Unfreezes: the weights need gradients again, with their hooks, and return to their places in the optimiser with their state; modules take
    /// the mode that their model was last put into. Gradients that the weights had before were dropped.
    /// </summary>
    public void Undo()
    {
        if (!IsActive)
            return;
        IsActive = false;
        foreach (var (parameter, leaf) in parameters)
            parameter.Edge = leaf; // the same leaf as before, so that its hooks stay
        putBack?.Invoke();
        putBack = null;
        foreach (var module in held)
            module.EvaluationHolds--;
    }

    /// <summary>Undoes it.</summary>
    public void Dispose() => Undo();

    private static bool Freezes(FrozenWeights weights, Module module, string name) => weights switch
    {
        FrozenWeights.All => true,
        FrozenWeights.AllButNormalization => !IsNormalization(module),
        FrozenWeights.AllButBiases => name != "bias",
        _ => false,
    };

    /// <summary>Whether a module keeps following the model's mode.</summary>
    private static bool GoesOn(FreezePolicy policy, Module module) => module switch
    {
        Dropout => policy.Dropout == FrozenDropout.On,
        _ when IsNormalization(module) => policy.Normalization == FrozenNormalization.UpdateStatistics,
        _ => false,
    };

    private static bool IsNormalization(Module module) => module is INormalization;
}
