using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Stochastic gradient descent, as PyTorch's: g += decay p; v = momentum v + (1 - dampening) g, at the first step v = g; then
/// p -= rate v, or p -= rate (g + momentum v) with Nesterov's.
/// </summary>
public sealed class Sgd : Optimizer
{
    private readonly double dampening;
    private readonly bool nesterov;
    private readonly bool keepsVelocity;

    /// <summary>Optimises parameters that share all settings.</summary>
    /// <param name="parameters">The parameters.</param>
    /// <param name="learningRate">The step size.</param>
    /// <param name="momentum">The part of the velocity that stays.</param>
    /// <param name="dampening">The part of the gradient that does not enter the velocity.</param>
    /// <param name="weightDecay">The L2 penalty.</param>
    /// <param name="nesterov">Looks ahead by the velocity; needs momentum and no dampening.</param>
    public Sgd(IEnumerable<Tensor> parameters, double learningRate = 1e-3, double momentum = 0, double dampening = 0, double weightDecay = 0, bool nesterov = false)
        : this([new ParameterGroup(parameters)], learningRate, momentum, dampening, weightDecay, nesterov)
    {
    }

    /// <summary>Optimises groups of parameters with settings of their own.</summary>
    /// <inheritdoc cref="Sgd(IEnumerable{Tensor}, double, double, double, double, bool)"/>
    public Sgd(IEnumerable<ParameterGroup> groups, double learningRate = 1e-3, double momentum = 0, double dampening = 0, double weightDecay = 0, bool nesterov = false)
        : base(groups, learningRate, weightDecay, momentum)
    {
        if (nesterov && (Groups.Any(group => group.Momentum <= 0) || dampening != 0))
            throw new ArgumentException($"Sgd: Nesterov's look-ahead needs momentum, which is {momentum}, and no dampening, which is {dampening}.", nameof(nesterov));
        (this.dampening, this.nesterov, keepsVelocity) = (dampening, nesterov, momentum != 0 || Groups.Any(group => group.Momentum != 0));
    }

    internal override IReadOnlyList<string> BuffersOf(ParameterGroup group) => keepsVelocity ? ["momentum_buffer"] : [];

    internal override void Update(ParameterGroup group, State state, Tensor parameter, Slice gradient) => Updates.Sgd(
        parameter.Device.Compute,
        new(group.LearningRate, keepsVelocity ? group.Momentum : 0, dampening, group.WeightDecay, nesterov ? 1 : 0, state.Step == 1 ? 1 : 0),
        parameter.Slice, gradient, state.Buffer(0, parameter));
}
