using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>How a <see cref="LinearProbe"/> is fitted.</summary>
public sealed record LinearProbeSettings
{
    /// <summary>The weight decay: half of it times the squared weights, the bias left out, is added to the mean cross-entropy.</summary>
    public double WeightDecay { get; init; } = 1e-3;

    /// <summary>The most iterations over all rows.</summary>
    public int MaxIterations { get; init; } = 300;

    /// <summary>The greatest absolute gradient at which the fit is done.</summary>
    public double Tolerance { get; init; } = 1e-5;

    /// <summary>
    /// Fits on features of mean 0 and deviation 1, so that the decay weighs them alike whatever their scale; the head that is returned takes
    /// the features as they are.
    /// </summary>
    public bool Standardize { get; init; } = true;
}

/// <summary>Where the fit of a linear probe stands.</summary>
/// <param name="Iteration">The iterations done.</param>
/// <param name="Loss">The mean cross-entropy and the weight decay's part.</param>
public readonly record struct LinearProbeProgress(int Iteration, double Loss);

/// <summary>
/// Fits a linear classifier on features that do not change: multinomial logistic regression with weight decay, solved from zero by the
/// limited-memory BFGS method over all rows at once. The problem is convex, so there is no seed and no learning rate to choose, and the same
/// features give the same head, bit for bit.
/// </summary>
public static class LinearProbe
{
    /// <summary>Fits.</summary>
    /// <param name="features">[N, D], floating.</param>
    /// <param name="labels">[N], Int32, from 0 to <paramref name="classes"/> - 1; a class without a row is never predicted.</param>
    /// <param name="classes">The number of classes, 1 or more.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="progress">Hears of each iteration.</param>
    /// <param name="cancellation">Looked at before each iteration.</param>
    /// <returns>The head, from [N, D] to logits [N, classes], on the features' device.</returns>
    /// <exception cref="ShapeException">The shapes do not fit, there is no row, or a label is no class.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static Linear Fit(Tensor features, Tensor labels, int classes, LinearProbeSettings? settings = null,
        IProgress<LinearProbeProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(labels);
        Check.Floating("LinearProbe", features);
        Check.Rank("LinearProbe", "features", features, 2, "[N, D]");
        Check.Integer("LinearProbe", "labels", labels);
        Check.Rank("LinearProbe", "labels", labels, 1, "[N]");
        Check.That(features.Shape[0] == labels.Shape[0] && features.Shape[0] > 0, $"LinearProbe: features {features.Shape} and labels {labels.Shape} must have the same number of rows, 1 or more.");
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        foreach (int label in labels.ToArray<int>())
            Check.That(label >= 0 && label < classes, $"LinearProbe: label {label} is none of the {classes} classes, 0 to {classes - 1}.");
        settings ??= new();
        using var scope = new TensorScope();
        using var noGrad = new NoGrad();
        int width = features.Shape[1];
        var (shift, scale) = settings.Standardize ? Moments(features) : (new double[width], Ones(width));
        var type = features.ElementType;
        var rows = features.Detach();
        if (settings.Standardize)
            rows = (rows - Tensor.FromDoubles(shift, [width], features.Device, type)) * Tensor.FromDoubles(scale, [width], features.Device, type);
        var point = new double[classes * (width + 1)]; // the weights, then the bias
        new LimitedMemoryBfgs().Minimize(
            (at, gradient) => Objective(rows, labels, classes, settings.WeightDecay, at, gradient, cancellation),
            point, settings.MaxIterations, settings.Tolerance, (iteration, loss) => progress?.Report(new(iteration, loss)));
        return Head(point, shift, scale, classes, features);
    }

    private static double Objective(Tensor rows, Tensor labels, int classes, double decay, double[] at, double[] gradient, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        using var scope = new TensorScope();
        using var record = new EnableGrad();
        int width = rows.Shape[1], weights = classes * width;
        var weight = Tensor.FromDoubles(at[..weights], [classes, width], rows.Device, rows.ElementType);
        var bias = Tensor.FromDoubles(at[weights..], [classes], rows.Device, rows.ElementType);
        weight.RequiresGrad = bias.RequiresGrad = true;
        var loss = rows.Linear(weight, bias).CrossEntropy(labels);
        var parts = Tensor.Gradients(loss, [weight, bias]);
        Doubles(parts[0]).CopyTo(gradient, 0);
        Doubles(parts[1]).CopyTo(gradient, weights);
        double penalty = 0;
        for (int i = 0; i < weights; i++)
        {
            penalty += at[i] * at[i];
            gradient[i] += decay * at[i];
        }
        return loss.Item() + decay / 2 * penalty;
    }

    /// <summary>The head for features as they are: standardisation moves into its weights.</summary>
    private static Linear Head(double[] point, double[] shift, double[] scale, int classes, Tensor features)
    {
        int width = shift.Length, weights = classes * width;
        var bias = point[weights..];
        for (int c = 0; c < classes; c++)
        {
            for (int i = 0; i < width; i++)
            {
                point[c * width + i] *= scale[i];
                bias[c] -= point[c * width + i] * shift[i];
            }
        }
        return new Linear(
            Tensor.FromDoubles(point[..weights], [classes, width], features.Device, features.ElementType).KeepAlive(),
            Tensor.FromDoubles(bias, [classes], features.Device, features.ElementType).KeepAlive());
    }

    /// <summary>The mean of each column, and the inverse of its deviation, 1 for a constant one.</summary>
    private static (double[] Mean, double[] Scale) Moments(Tensor features)
    {
        int count = features.Shape[0];
        var mean = features.Sum([0]) / count;
        var centred = features - mean;
        double[] scale = Doubles((centred * centred).Sum([0]) / count), means = Doubles(mean);
        for (int i = 0; i < scale.Length; i++)
        {
            double deviation = Math.Sqrt(scale[i]);
            scale[i] = deviation > 1e-6 * Math.Max(1e-6, Math.Abs(means[i])) ? 1 / deviation : 1;
        }
        return (means, scale);
    }

    /// <summary>The elements as float64, on the host.</summary>
    internal static double[] Doubles(Tensor x) => x.ElementType == ElementType.Float64 ? x.ToArray<double>() : Array.ConvertAll(x.ToArray<float>(), value => (double)value);

    private static double[] Ones(int n)
    {
        var ones = new double[n];
        Array.Fill(ones, 1);
        return ones;
    }
}
