using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Several optimisers as one: networks that are trained together by different rules. Each parameter is updated as the optimiser that it was given to
/// would; a group that is added later as the first would. The optimisers are made for this one: their own steps are not called, nor seen.
/// </summary>
public sealed class JointOptimizer : Optimizer
{
    private readonly Optimizer[] optimizers;

    /// <param name="optimizers">One or more, over different parameters.</param>
    /// <exception cref="ArgumentException">There is none, or a parameter is given to two.</exception>
    public JointOptimizer(params Optimizer[] optimizers)
        : base((optimizers ?? throw new ArgumentNullException(nameof(optimizers))).SelectMany(optimizer => optimizer.Groups), 0, 0, 0)
    {
        if (optimizers.Length == 0)
            throw new ArgumentException("JointOptimizer: there is no optimiser. Give one or more.", nameof(optimizers));
        this.optimizers = [.. optimizers];
    }

    internal override IReadOnlyList<string> BuffersOf(ParameterGroup group) => Owner(group).BuffersOf(group);

    internal override void Update(ParameterGroup group, State state, Tensor parameter, Slice gradient) => Owner(group).Update(group, state, parameter, gradient);

    private Optimizer Owner(ParameterGroup group) => Array.Find(optimizers, optimizer => optimizer.Groups.Contains(group)) ?? optimizers[0];
}
