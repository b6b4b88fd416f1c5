using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// RMSprop (Tieleman and Hinton, 2012), as PyTorch's: g += decay p; s = alpha s + (1 - alpha) g^2; d = g / (sqrt(s) + epsilon), where a
/// centred one subtracts the square of the mean gradient from s first; v = momentum v + d; p -= rate v, or rate d without momentum.
/// </summary>
public sealed class RmsProp : Optimizer
{
    private readonly double alpha, epsilon;
    private readonly bool centered, keepsVelocity;

    /// <summary>Optimises parameters that share all settings.</summary>
    /// <param name="parameters">The parameters.</param>
    /// <param name="learningRate">The step size.</param>
    /// <param name="alpha">The part of the mean squared gradient that stays.</param>
    /// <param name="epsilon">What is added to the denominator.</param>
    /// <param name="weightDecay">The L2 penalty.</param>
    /// <param name="momentum">The part of the velocity that stays.</param>
    /// <param name="centered">Divides by the deviation of the gradients, not by their size.</param>
    public RmsProp(
        IEnumerable<Tensor> parameters, double learningRate = 1e-2, double alpha = 0.99, double epsilon = 1e-8, double weightDecay = 0, double momentum = 0, bool centered = false)
        : this([new ParameterGroup(parameters)], learningRate, alpha, epsilon, weightDecay, momentum, centered)
    {
    }

    /// <summary>Optimises groups of parameters with settings of their own.</summary>
    /// <inheritdoc cref="RmsProp(IEnumerable{Tensor}, double, double, double, double, double, bool)"/>
    public RmsProp(
        IEnumerable<ParameterGroup> groups, double learningRate = 1e-2, double alpha = 0.99, double epsilon = 1e-8, double weightDecay = 0, double momentum = 0, bool centered = false)
        : base(groups, learningRate, weightDecay, momentum)
    {
        (this.alpha, this.epsilon, this.centered, keepsVelocity) = (alpha, epsilon, centered, momentum != 0 || Groups.Any(group => group.Momentum != 0));
    }

    internal override IReadOnlyList<string> BuffersOf(ParameterGroup group) => (centered, keepsVelocity) switch
    {
        (false, false) => ["square_avg"],
        (true, false) => ["square_avg", "grad_avg"],
        (false, true) => ["square_avg", "momentum_buffer"],
        _ => ["square_avg", "grad_avg", "momentum_buffer"],
    };

    internal override void Update(ParameterGroup group, State state, Tensor parameter, Slice gradient) => Updates.RmsProp(
        parameter.Device.Compute,
        new(group.LearningRate, alpha, epsilon, group.WeightDecay, keepsVelocity ? group.Momentum : 0, centered ? 1 : 0),
        parameter.Slice, gradient, state.Buffer(0, parameter), state.Buffer(centered ? 1 : -1, parameter), state.Buffer(!keepsVelocity ? -1 : centered ? 2 : 1, parameter));
}
