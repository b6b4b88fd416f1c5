using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// VAT's local smoothness: how far a prediction can be moved by a small change of the input, the mean over rows of KL(p(x) ‖ p(x + r)), where r, of length ε, is the change that moves it most, found by power iterations:
/// r = ε g / ‖g‖, g the gradient of that divergence at ξ times the direction before, the first of which is random. No gradient flows through p(x) and r.
/// </summary>
/// <remarks>
/// Miyato et al., Virtual Adversarial Training, IEEE TPAMI 41 (2019), equations 5 to 12; one iteration, and ξ = 1e-6 there, which float32's rounding drowns: 1e-3 here, on the scale of inputs of about 1. Each iteration costs a
/// pass forward and backward. A network in training mode with batch normalisation counts the moved rows in its running statistics; the methods of this library keep them out, as the authors' code does.
/// </remarks>
public sealed class VirtualAdversarialLoss
{
    private readonly double radius, probe;
    private readonly int iterations;
    private readonly Generator? generator;

    /// <param name="radius">ε, the length of the change, in units of the input; positive.</param>
    /// <param name="probe">ξ, the length at which gradients are taken; positive.</param>
    /// <param name="iterations">Power iterations, 1 or more.</param>
    /// <param name="generator">Where first directions are drawn from; <see cref="Generator.Default"/> if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of range.</exception>
    public VirtualAdversarialLoss(double radius, double probe = 1e-3, int iterations = 1, Generator? generator = null)
    {
        if (!(radius > 0) || !(probe > 0))
            throw new ArgumentOutOfRangeException(nameof(radius), $"VirtualAdversarialLoss: lengths of changes are positive, got {radius} and {probe}.");
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        (this.radius, this.probe, this.iterations, this.generator) = (radius, probe, iterations, generator);
    }

    /// <summary>Measures.</summary>
    /// <param name="network">Takes inputs to logits.</param>
    /// <param name="inputs">[N, ...].</param>
    /// <param name="logits">What the network makes of them, [N, C], in a batch by themselves: other rows beside them would move batch statistics, and with them the predictions.</param>
    /// <returns>A scalar.</returns>
    /// <exception cref="ShapeException">The logits are no matrix of as many rows, or there is none.</exception>
    public Tensor Forward(Func<Tensor, Tensor> network, Tensor inputs, Tensor logits)
    {
        ArgumentNullException.ThrowIfNull(network);
        ArgumentNullException.ThrowIfNull(inputs);
        Discrepancy.CheckLogits(nameof(VirtualAdversarialLoss), logits);
        Check.That(inputs.Rank > 0 && inputs.Shape[0] == logits.Shape[0], $"VirtualAdversarialLoss: inputs {inputs.Shape} and logits {logits.Shape} have different numbers of rows. Take the logits of these inputs.");
        var clean = logits.Detach();
        var direction = Unit(Tensor.Normal(inputs.Shape, generator: generator, device: inputs.Device, type: inputs.ElementType));
        for (int i = 0; i < iterations; i++)
        {
            var moved = (direction * probe).Detach();
            moved.RequiresGrad = true;
            using (new EnableGrad())
                direction = Unit(Tensor.Gradients(Divergence(clean, network(inputs.Detach() + moved)), [moved])[0].Detach());
        }
        return Divergence(clean, network(inputs.Detach() + direction * radius));
    }

    /// <summary>Of a domain's rows in a step. Where its logits are of a batch of both domains, the unmoved rows go through once more, alone as the moved ones do.</summary>
    internal Tensor Forward(AdaptationStep step, bool ofTarget) => ofTarget
        ? Forward(step.Run, step.Run.Forward, step.TargetInput, step.Run.IsJoint ? null : step.TargetLogits)
        : Forward(step.Run, step.SourceAlone, step.SourceInput, step.Run.IsJoint ? null : step.SourceLogits);

    /// <summary>Of trained networks, whose running statistics take in neither the moved rows nor, where their logits are wanted, the unmoved ones.</summary>
    internal Tensor Forward(AdaptationRun run, Func<Tensor, Tensor> network, Tensor inputs, Tensor? logits)
    {
        using var held = new StatisticsHold(run.Features, run.Head);
        if (logits is null)
        {
            using var recording = new NoGrad();
            logits = network(inputs);
        }
        return Forward(network, inputs, logits);
    }

    /// <summary>The mean over rows of KL(p ‖ q) of two matrices of logits, the first of which is constant.</summary>
    internal static Tensor Divergence(Tensor logits, Tensor other)
    {
        var p = logits.Detach();
        return (p.Softmax() * (p.LogSoftmax() - other.LogSoftmax())).Sum() / p.Shape[0];
    }

    /// <summary>Rows at length 1; a row of zeros stays.</summary>
    private static Tensor Unit(Tensor x)
    {
        using var recording = new NoGrad();
        var rows = x.Reshape(x.Shape[0], -1);
        // Scaled first, as squares of gradients would underflow.
        rows /= rows.Abs().Max([1], keepDim: true) + 1e-30;
        return (rows / (rows.Norm(2, [1], keepDim: true) + 1e-12)).Reshape(x.Shape.Span);
    }
}
