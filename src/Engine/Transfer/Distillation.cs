using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// Knowledge distillation: the model learns a teacher's softened answers beside the labels,
/// weight T² KL(softmax(teacher / T) ‖ softmax(output / T)), the mean over the rows. T² keeps the gradient's size the same at every T.
/// </summary>
/// <remarks>Hinton, Vinyals and Dean: Distilling the knowledge in a neural network; 2015, section 2.</remarks>
public sealed class Distillation : IRegularizer
{
    private readonly Module teacher;
    private readonly double temperature, weight;

    /// <param name="teacher">Takes the model's inputs to logits [N, C] of the same classes. Run in evaluation mode, never trained.</param>
    /// <param name="temperature">How much both answers are softened, T.</param>
    /// <param name="weight">What the term weighs against the loss of the labels.</param>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not above 0 or the weight negative.</exception>
    public Distillation(Module teacher, double temperature = 4, double weight = 1)
    {
        ArgumentNullException.ThrowIfNull(teacher);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        (this.teacher, this.temperature, this.weight) = (teacher, temperature, weight);
    }

    /// <inheritdoc/>
    public string Name => "distillation";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var softened = Softened("Distillation", teacher, step.Input, step.Output, temperature);
        return (step.Output / temperature).LogSoftmax().KlDiv(softened, LossReduction.BatchMean) * (weight * temperature * temperature);
    }

    /// <summary>A fixed network's answers at a temperature, [N, C].</summary>
    internal static Tensor Softened(string name, Module teacher, Tensor input, Tensor output, double temperature)
    {
        var putBack = teacher.Evaluate();
        try
        {
            using var noGrad = new NoGrad();
            var logits = teacher.Forward(input);
            Check.That(logits.Shape == output.Shape && logits.Rank == 2, $"{name}: the source network answers {logits.Shape}, the model {output.Shape}; wanted logits [N, C] of the same classes from both.");
            return (logits / temperature).Softmax();
        }
        finally
        {
            putBack();
        }
    }
}

/// <summary>
/// Learning without forgetting: while the model learns new classes, its old head on the changing features goes on answering as the old
/// network does: -weight Σ_c y'_c log ŷ'_c, the mean over the rows, with y' and ŷ' the old network's and the present softmax at temperature T.
/// </summary>
/// <remarks>Li and Hoiem: Learning without forgetting; ECCV 2016. The old network answers for the new inputs as they come, so augmented ones too.</remarks>
public sealed class LearningWithoutForgetting : IRegularizer, IDisposable
{
    private readonly Module oldHead, source;
    private readonly Tap tap;
    private readonly double temperature, weight;

    /// <param name="head">The model's new head: its input is the features.</param>
    /// <param name="oldHead">Takes the features to the old classes' logits; trained along, from the source's weights on.</param>
    /// <param name="source">The old network as a whole, with weights of its own: inputs to the old classes' logits. Run in evaluation mode, never trained.</param>
    /// <param name="temperature">How much both answers are softened, T.</param>
    /// <param name="weight">What the term weighs, λ_o.</param>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not above 0 or the weight negative.</exception>
    public LearningWithoutForgetting(Module head, Module oldHead, Module source, double temperature = 2, double weight = 1)
    {
        ArgumentNullException.ThrowIfNull(head);
        ArgumentNullException.ThrowIfNull(oldHead);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        (this.oldHead, this.source, this.temperature, this.weight) = (oldHead, source, temperature, weight);
        tap = new Tap(nameof(LearningWithoutForgetting), [head], inputs: true);
    }

    /// <inheritdoc/>
    public string Name => "lwf";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [oldHead];

    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var logits = oldHead.Forward(tap.Take()[0]);
        var softened = Distillation.Softened("LearningWithoutForgetting", source, step.Input, logits, temperature);
        return (softened * (logits / temperature).LogSoftmax()).Sum() * (-weight / Math.Max(1, logits.Shape[0]));
    }

    /// <summary>Stops looking at the model.</summary>
    public void Dispose() => tap.Dispose();
}
