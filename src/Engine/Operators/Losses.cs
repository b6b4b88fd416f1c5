using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>How the losses of single elements become one.</summary>
public enum LossReduction
{
    /// <summary>Their mean, weighted where elements have weights.</summary>
    Mean,

    /// <summary>Their sum.</summary>
    Sum,

    /// <summary>Not at all: one loss an element.</summary>
    None,

    /// <summary>Their sum over the number of rows, which is what a divergence of distributions means.</summary>
    BatchMean,
}

/// <summary>Losses, with PyTorch's definitions and defaults. Each is called on the prediction.</summary>
public sealed partial class Tensor
{
    /// <summary>
    /// Takes the cross-entropy of logits with target classes: -log softmax(x)[target], in one pass without forming the softmax. Or with probabilities t of
    /// the classes, as <see cref="Data.Transforms.MixUp"/> makes them: -Σ t log softmax(x) over the classes.
    /// </summary>
    /// <param name="target">Classes, Int32 [N] (or [N, d...]), or probabilities of the logits' type and shape.</param>
    /// <param name="weight">
    /// A weight for each class, [C]; 1 if null. Under <see cref="LossReduction.Mean"/> the sum is divided by the weights of target classes; with
    /// probabilities by the number of rows.
    /// </param>
    /// <param name="ignoreIndex">A target that counts for nothing; below 0 with probabilities, which have none.</param>
    /// <param name="labelSmoothing">The share of the target that is spread evenly over all classes, from 0 to 1.</param>
    /// <param name="reduction">How the losses become one.</param>
    /// <returns>A scalar, or a loss for each row, [N] (or [N, d...]).</returns>
    /// <exception cref="ShapeException">This is not [N, C] or [N, C, d...], or the target or weights are not of the matching shape.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is no class (checked on the CPU; elsewhere its loss is NaN), or the smoothing is out of range.</exception>
    /// <remarks>Gradient: softmax(x) minus the (smoothed) target, weighted; probabilities get one as well. Szegedy et al. 2016, section 7, for smoothing.</remarks>
    public Tensor CrossEntropy(Tensor target, Tensor? weight = null, int ignoreIndex = -100, double labelSmoothing = 0, LossReduction reduction = LossReduction.Mean)
    {
        ArgumentNullException.ThrowIfNull(target);
        if (labelSmoothing is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(labelSmoothing), labelSmoothing, "CrossEntropy: label smoothing is between 0 and 1.");
        if (target.ElementType != ElementType.Int32)
            return CrossEntropyWithProbabilities(target, weight, ignoreIndex, labelSmoothing, reduction);
        CheckClasses("CrossEntropy", target, weight, ignoreIndex);
        var logits = ClassesLast();
        int classes = Shape[1], rows = target.Elements;
        bool needs = Graph.Needs(this);
        Tensor loss, rowWeights, derivative;
        using (new NoGrad())
        {
            (loss, rowWeights) = (AllocateLike([rows]), AllocateLike([rows]));
            derivative = needs ? AllocateLike([rows, classes]) : loss;
            using var x = new Dense(logits);
            using var y = new Dense(target);
            using var w = new Dense(weight ?? this);
            Kernels.Softmax.CrossEntropy(Device.Compute, labelSmoothing, ignoreIndex, x.Slice, y.Slice, weight is null ? null : w.Slice, rows, classes, loss.Slice, rowWeights.Slice, needs ? derivative.Slice : null);
        }
        var losses = !needs ? loss : Graph.Record("CrossEntropy", loss, [logits], [logits, target, derivative], (g, c) =>
            [c.CreatesGraph
                ? Gradients(c[0].ComposedCrossEntropy(c[1].Reshape(-1), weight, ignoreIndex, labelSmoothing), [c[0]], g, createGraph: true)[0]
                : g.Reshape(-1, 1) * c[2]]);
        return reduction switch
        {
            LossReduction.None => losses.Reshape(target.Shape.Span),
            LossReduction.Sum => losses.Sum(),
            _ => losses.Sum() / rowWeights.Sum(),
        };
    }

    private Tensor CrossEntropyWithProbabilities(Tensor target, Tensor? weight, int ignoreIndex, double smoothing, LossReduction reduction)
    {
        Check.Alike("CrossEntropy", this, target);
        Check.That(Rank >= 2 && target.Shape == Shape, $"CrossEntropy: logits {Shape} and probabilities {target.Shape} do not match: wanted [N, C] or [N, C, d...] for both.");
        CheckWeights("CrossEntropy", weight);
        if (ignoreIndex >= 0)
            throw new ArgumentOutOfRangeException(nameof(ignoreIndex), ignoreIndex, "CrossEntropy: probabilities name no class that could be ignored. Give rows of zeros for what counts for nothing.");
        var losses = LogSoftmax(1) * (smoothing == 0 ? target : target * (1 - smoothing) + smoothing / Shape[1]);
        if (weight is not null)
            losses *= weight.Reshape([Shape[1], .. Enumerable.Repeat(1, Rank - 2)]);
        return (-losses.Sum([1])).Reduced(reduction);
    }

    /// <summary>Takes minus the log-probability of target classes.</summary>
    /// <param name="target">Classes, Int32 [N] (or [N, d...]).</param>
    /// <param name="weight">A weight for each class, [C]; 1 if null.</param>
    /// <param name="ignoreIndex">A target that counts for nothing.</param>
    /// <param name="reduction">How the losses become one.</param>
    /// <inheritdoc cref="CrossEntropy"/>
    public Tensor NllLoss(Tensor target, Tensor? weight = null, int ignoreIndex = -100, LossReduction reduction = LossReduction.Mean)
    {
        ArgumentNullException.ThrowIfNull(target);
        CheckClasses("NllLoss", target, weight, ignoreIndex);
        var (picked, weights) = ClassesLast().PickedBy(target.Reshape(-1), weight, ignoreIndex);
        var losses = -(picked * weights);
        return reduction switch
        {
            LossReduction.None => losses.Reshape(target.Shape.Span),
            LossReduction.Sum => losses.Sum(),
            _ => losses.Sum() / weights.Sum(),
        };
    }

    /// <summary>Takes the squared difference from a target.</summary>
    /// <param name="target">The same shape, or one that broadcasts.</param>
    /// <param name="reduction">How the losses become one.</param>
    public Tensor MseLoss(Tensor target, LossReduction reduction = LossReduction.Mean) => (this - target).Square().Reduced(reduction);

    /// <summary>Takes the magnitude of the difference from a target.</summary>
    /// <inheritdoc cref="MseLoss"/>
    public Tensor L1Loss(Tensor target, LossReduction reduction = LossReduction.Mean) => (this - target).Abs().Reduced(reduction);

    /// <summary>Takes d² / (2 beta) for differences d below beta and |d| - beta / 2 beyond: Girshick, ICCV 2015.</summary>
    /// <param name="target">The same shape, or one that broadcasts.</param>
    /// <param name="beta">Where the square ends; 0 gives <see cref="L1Loss"/>.</param>
    /// <param name="reduction">How the losses become one.</param>
    public Tensor SmoothL1Loss(Tensor target, double beta = 1, LossReduction reduction = LossReduction.Mean)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(beta);
        if (beta == 0)
            return L1Loss(target, reduction);
        var difference = this - target;
        var magnitude = difference.Abs();
        return Where(magnitude.Less(beta), difference.Square() * (0.5 / beta), magnitude - 0.5 * beta).Reduced(reduction);
    }

    /// <summary>
    /// Takes the binary cross-entropy of logits with targets t between 0 and 1: (1 - t) x + (1 + (w - 1) t) (log(1 + e^-|x|) + max(-x, 0)), w the
    /// weight of the positive class.
    /// </summary>
    /// <param name="target">The same shape; from 0 to 1.</param>
    /// <param name="positiveWeight">What positive targets weigh, broadcast over the shape; 1 if null.</param>
    /// <param name="reduction">How the losses become one.</param>
    public Tensor BinaryCrossEntropyWithLogits(Tensor target, Tensor? positiveWeight = null, LossReduction reduction = LossReduction.Mean)
    {
        ArgumentNullException.ThrowIfNull(target);
        Check.That(target.Shape == Shape, $"BinaryCrossEntropyWithLogits: logits {Shape} and target {target.Shape} differ; a target is wanted for each logit.");
        var softplus = -LogSigmoid();
        return ((1 - target) * this + (positiveWeight is null ? softplus : ((positiveWeight - 1) * target + 1) * softplus)).Reduced(reduction);
    }

    /// <summary>Takes the Kullback-Leibler divergence of target distributions from predicted ones: t (log t - x), x the predicted log-probabilities; 0 where t is 0.</summary>
    /// <param name="target">Probabilities, of the same shape.</param>
    /// <param name="reduction">How the losses become one; <see cref="LossReduction.BatchMean"/> is the divergence averaged over rows.</param>
    public Tensor KlDiv(Tensor target, LossReduction reduction = LossReduction.Mean)
    {
        ArgumentNullException.ThrowIfNull(target);
        Check.That(target.Shape == Shape, $"KlDiv: log-probabilities {Shape} and target {target.Shape} differ; a probability is wanted for each.");
        var isZero = target.Equal(0);
        return (target * (Where(isZero, isZero, target).Log() - this)).Reduced(reduction);
    }

    private Tensor Reduced(LossReduction reduction) => reduction switch
    {
        LossReduction.None => this,
        LossReduction.Sum => Sum(),
        LossReduction.BatchMean => Sum() / (Rank == 0 ? 1 : Shape[0]),
        _ => Mean(),
    };

    /// <summary>The rows of classes, [N d..., C].</summary>
    private Tensor ClassesLast()
    {
        if (Rank == 2)
            return this;
        int[] order = [0, .. Enumerable.Range(2, Rank - 2), 1];
        return Permute(order).Reshape(-1, Shape[1]);
    }

    private void CheckClasses(string operation, Tensor target, Tensor? weight, int ignoreIndex)
    {
        Check.Floating(operation, this);
        Check.Integer(operation, "the target", target);
        Check.SameDevice(operation, this, target);
        Check.That(Rank >= 2 && Shape.Owning([Shape[0], .. Shape.ToArray()[2..]]) == target.Shape,
            $"{operation}: logits {Shape} and target {target.Shape} do not match: wanted [N, C] with [N], or [N, C, d...] with [N, d...].");
        CheckWeights(operation, weight);
        if (!Device.Compute.IsDirect)
            return;
        using var dense = new Dense(target);
        RangeCheck.Run(Device.Compute, dense.Slice, Shape[1], ignoreIndex, new NoClass(operation, Shape));
    }

    private readonly record struct NoClass(string Operation, Shape Shape) : IRangeFault
    {
        public Exception Of(int number) =>
            new ArgumentOutOfRangeException("target", number, $"{Operation}: target {number} is none of the {Shape[1]} classes of {Shape}, which are numbered from 0.");
    }

    private void CheckWeights(string operation, Tensor? weight)
    {
        if (weight is null)
            return;
        Check.Alike(operation, this, weight);
        Check.That(weight.Shape == [Shape[1]], $"{operation}: class weights {weight.Shape} for {Shape[1]} classes; wanted [{Shape[1]}].");
    }

    /// <summary>The value of each row at its target, and the weight of the row; both 0 where the target is ignored.</summary>
    private (Tensor Picked, Tensor Weights) PickedBy(Tensor target, Tensor? weight, int ignoreIndex)
    {
        Tensor hot, weights;
        using (new NoGrad())
        {
            hot = target.OneHotBut(ignoreIndex, Shape[1], ElementType);
            weights = weight is null ? hot.Sum([1]) : (hot * weight).Sum([1]);
        }
        return ((this * hot).Sum([1]), weights);
    }

    /// <summary>One row a target with 1 in its class, of zeros where the target is ignored: what is no class has none.</summary>
    private Tensor OneHotBut(int ignoreIndex, int classes, ElementType type)
    {
        var hot = OneHot(classes, type);
        if ((uint)ignoreIndex >= (uint)classes)
            return hot;
        var counts = new double[classes];
        Array.Fill(counts, 1);
        counts[ignoreIndex] = 0;
        return hot * FromDoubles(counts, [classes], Device, type);
    }

    /// <summary>The losses of <see cref="CrossEntropy"/> in recorded operators.</summary>
    private Tensor ComposedCrossEntropy(Tensor target, Tensor? weight, int ignoreIndex, double smoothing)
    {
        var log = LogSoftmax(1);
        var (picked, weights) = log.PickedBy(target, weight, ignoreIndex);
        var sharp = -(picked * weights);
        if (smoothing == 0)
            return sharp;
        Tensor counted;
        using (new NoGrad())
            counted = target.OneHotBut(ignoreIndex, Shape[1], ElementType).Sum([1]);
        var even = -(weight is null ? log : log * weight).Sum([1]) * counted;
        return sharp * (1 - smoothing) + even * (smoothing / Shape[1]);
    }
}
