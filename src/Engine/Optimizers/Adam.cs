using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Adam (Kingma and Ba: Adam, a method for stochastic optimization; ICLR 2015), as PyTorch's: g += decay p; m = b1 m + (1 - b1) g;
/// v = b2 v + (1 - b2) g^2; p -= rate / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon).
/// </summary>
public class Adam : Optimizer
{
    private readonly double beta2, epsilon;
    private readonly bool amsGrad, decoupled;

    /// <summary>Optimises parameters that share all settings.</summary>
    /// <param name="parameters">The parameters.</param>
    /// <param name="learningRate">The step size.</param>
    /// <param name="beta1">The part of the mean gradient that stays; a group's momentum.</param>
    /// <param name="beta2">The part of the mean squared gradient that stays.</param>
    /// <param name="epsilon">What is added to the denominator.</param>
    /// <param name="weightDecay">The L2 penalty.</param>
    /// <param name="amsGrad">Divides by the largest mean squared gradient so far (Reddi et al., ICLR 2018).</param>
    public Adam(
        IEnumerable<Tensor> parameters, double learningRate = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, double weightDecay = 0, bool amsGrad = false)
        : this([new ParameterGroup(parameters)], learningRate, beta1, beta2, epsilon, weightDecay, amsGrad)
    {
    }

    /// <summary>Optimises groups of parameters with settings of their own.</summary>
    /// <inheritdoc cref="Adam(IEnumerable{Tensor}, double, double, double, double, double, bool)"/>
    public Adam(
        IEnumerable<ParameterGroup> groups, double learningRate = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, double weightDecay = 0, bool amsGrad = false)
        : this(groups, learningRate, beta1, beta2, epsilon, weightDecay, amsGrad, decoupled: false)
    {
    }

    private protected Adam(IEnumerable<ParameterGroup> groups, double learningRate, double beta1, double beta2, double epsilon, double weightDecay, bool amsGrad, bool decoupled)
        : base(groups, learningRate, weightDecay, beta1)
    {
        if (!(beta1 is >= 0 and < 1 && beta2 is >= 0 and < 1 && epsilon >= 0))
            throw new ArgumentException($"{GetType().Name}: betas {beta1} and {beta2} must be from 0 to below 1, epsilon {epsilon} 0 or more.", nameof(beta1));
        (this.beta2, this.epsilon, this.amsGrad, this.decoupled) = (beta2, epsilon, amsGrad, decoupled);
    }

    internal override IReadOnlyList<string> BuffersOf(ParameterGroup group) => amsGrad ? ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] : ["exp_avg", "exp_avg_sq"];

    internal override void Update(ParameterGroup group, State state, Tensor parameter, Slice gradient) => Updates.Adam(
        parameter.Device.Compute,
        new(group.LearningRate, group.Momentum, beta2, epsilon, group.WeightDecay, state.Step, decoupled ? 1 : 0, amsGrad ? 1 : 0),
        parameter.Slice, gradient, state.Buffer(0, parameter), state.Buffer(1, parameter), state.Buffer(2, parameter));
}

/// <summary>
/// Adam whose weight decay does not pass through the moments (Loshchilov and Hutter: Decoupled weight decay regularization; ICLR 2019), as
/// PyTorch's: first p *= 1 - rate decay, then <see cref="Adam"/>'s update without a penalty.
/// </summary>
public sealed class AdamW : Adam
{
    /// <inheritdoc cref="Adam(IEnumerable{Tensor}, double, double, double, double, double, bool)"/>
    public AdamW(
        IEnumerable<Tensor> parameters, double learningRate = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, double weightDecay = 1e-2, bool amsGrad = false)
        : this([new ParameterGroup(parameters)], learningRate, beta1, beta2, epsilon, weightDecay, amsGrad)
    {
    }

    /// <inheritdoc cref="Adam(IEnumerable{ParameterGroup}, double, double, double, double, double, bool)"/>
    public AdamW(
        IEnumerable<ParameterGroup> groups, double learningRate = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, double weightDecay = 1e-2, bool amsGrad = false)
        : base(groups, learningRate, beta1, beta2, epsilon, weightDecay, amsGrad, decoupled: true)
    {
    }
}
