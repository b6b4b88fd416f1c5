namespace TransferEngine.Data.Transforms;

/// <summary>
/// Blends each input of a batch with that of another row, and their targets alike: λ x + (1 - λ) x', λ from Beta(alpha, alpha) once a batch, the other rows a
/// random order of the same (Zhang et al., ICLR 2018). Targets become probabilities [N, classes], which <see cref="Tensor.CrossEntropy"/> takes: that is
/// λ times the loss of the one class plus 1 - λ times that of the other.
/// </summary>
public sealed class MixUp : IBatchTransform
{
    private readonly int classes;
    private readonly double alpha;

    /// <param name="classes">How many classes there are.</param>
    /// <param name="alpha">Both parameters of the Beta distribution: small ones leave most inputs nearly as they are, 1 is uniform.</param>
    /// <exception cref="ArgumentOutOfRangeException">The classes or alpha are not positive.</exception>
    public MixUp(int classes, double alpha = 1) => (this.classes, this.alpha) = Mixing.Checked("MixUp", classes, alpha);

    /// <summary>Blends the rows.</summary>
    /// <param name="batch">Floating inputs [N, ...] with classes, Int32 [N], or probabilities [N, classes].</param>
    /// <param name="random">The batch's random numbers.</param>
    /// <exception cref="ShapeException">The inputs and targets don't fit each other or the number of classes.</exception>
    public Batch Apply(Batch batch, Generator random)
    {
        double kept = Mixing.Share("MixUp", batch, alpha, random);
        return Mixing.Apply("MixUp", batch, classes, random, (own, other) => (own * kept + other * (1 - kept), kept));
    }
}

/// <summary>
/// Puts a rectangle of another row's image into each image of a batch, and mixes their targets by area (Yun et al., ICCV 2019). The rectangle is the same for
/// the whole batch: its sides are √(1 - λ) of the image's, λ from Beta(alpha, alpha), its middle is drawn uniformly, and what lies outside is cut off. Targets
/// become probabilities, as <see cref="MixUp"/>'s.
/// </summary>
public sealed class CutMix : IBatchTransform
{
    private readonly int classes;
    private readonly double alpha;

    /// <param name="classes">How many classes there are.</param>
    /// <param name="alpha">Both parameters of the Beta distribution; 1, the paper's, draws the area uniformly.</param>
    /// <exception cref="ArgumentOutOfRangeException">The classes or alpha are not positive.</exception>
    public CutMix(int classes, double alpha = 1) => (this.classes, this.alpha) = Mixing.Checked("CutMix", classes, alpha);

    /// <summary>Mixes the rows.</summary>
    /// <param name="batch">Images [N, C, H, W] with classes, Int32 [N], or probabilities [N, classes].</param>
    /// <param name="random">The batch's random numbers.</param>
    /// <exception cref="ShapeException">The inputs are no images, or they and the targets don't fit each other or the number of classes.</exception>
    public Batch Apply(Batch batch, Generator random)
    {
        double kept = Mixing.Share("CutMix", batch, alpha, random);
        Check.Rank("CutMix", "the input", batch.Input, 4, "[N, channels, height, width]");
        int height = batch.Input.Shape[2], width = batch.Input.Shape[3];
        var (top, bottom, left, right) = Box(kept, height, width, random);
        int area = (bottom - top) * (right - left);
        return Mixing.Apply("CutMix", batch, classes, random, (own, other) =>
        {
            var inside = new float[height * width];
            for (int y = top; y < bottom; y++)
                inside.AsSpan(y * width + left, right - left).Fill(1);
            var mask = Tensor.From(inside, [1, 1, height, width], own.Device).To(own.ElementType);
            return (Tensor.Where(mask, other, own), 1 - area / Math.Max(1.0, height * width));
        });
    }

    /// <summary>The rectangle, from its top and left to before its bottom and right.</summary>
    internal static (int Top, int Bottom, int Left, int Right) Box(double kept, int height, int width, Generator random)
    {
        double half = 0.5 * Math.Sqrt(1 - kept);
        int y = (int)(random.NextDouble() * height), x = (int)(random.NextDouble() * width), tall = (int)(half * height), wide = (int)(half * width);
        return (Math.Max(0, y - tall), Math.Min(height, y + tall), Math.Max(0, x - wide), Math.Min(width, x + wide));
    }
}

/// <summary>What mixing rows of a batch has in common.</summary>
internal static class Mixing
{
    public static (int Classes, double Alpha) Checked(string name, int classes, double alpha)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classes);
        if (!(alpha > 0 && double.IsFinite(alpha)))
            throw new ArgumentOutOfRangeException(nameof(alpha), alpha, $"{name}: alpha is above 0.");
        return (classes, alpha);
    }

    public static double Share(string name, Batch batch, double alpha, Generator random)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(random);
        Check.Floating(name, batch.Input);
        return random.NextBeta(alpha, alpha);
    }

    /// <summary>Mixes rows with a random order of themselves; <paramref name="mix"/> gives the inputs and the own row's share of the target.</summary>
    public static Batch Apply(string name, Batch batch, int classes, Generator random, Func<Tensor, Tensor, (Tensor Input, double Kept)> mix)
    {
        var (input, target) = batch;
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        Check.That(target.ElementType == ElementType.Int32 ? target.Rank == 1 : target.Rank == 2 && target.Shape[1] == classes,
            $"{name}: targets {target.Shape} of {target.ElementType} are neither classes, Int32 [N], nor probabilities [N, {classes}].");
        Check.That(input.Rank > 0 && input.Shape[0] == target.Shape[0], $"{name}: inputs {input.Shape} and targets {target.Shape} differ in rows; a target is wanted for each input.");
        if (target.ElementType == ElementType.Int32 && Array.Find(target.ToArray<int>(), label => (uint)label >= (uint)classes) is not 0 and var wrong)
            throw new ArgumentOutOfRangeException(nameof(batch), wrong, $"{name}: target {wrong} is none of {classes} classes, which are numbered from 0.");
        var shares = target.ElementType == ElementType.Int32 ? target.OneHot(classes, input.ElementType) : target;
        var order = Tensor.From(random.Permutation(input.Shape[0]), device: input.Device);
        var (mixed, kept) = mix(input, input.IndexSelect(0, order));
        return new(scope.Keep(mixed), scope.Keep(shares * kept + shares.IndexSelect(0, order) * (1 - kept)));
    }
}
