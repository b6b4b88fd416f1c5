namespace TransferEngine.Modules;

/// <summary>A module that normalises: what freezing treats apart from other modules.</summary>
public interface INormalization;

/// <summary>
/// Batch normalisation: each channel by the batch's mean and variance in training, by running ones otherwise.
/// </summary>
public abstract class BatchNorm : Module, INormalization
{
    private readonly double momentum, eps;
    private readonly Tensor batches;

    private protected BatchNorm(int channels, double eps, double momentum, bool affine, Device? device, ElementType type)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(channels, 1);
        (this.eps, this.momentum) = (eps, momentum);
        if (affine)
        {
            Weight = AddParameter("weight", Tensor.Ones([channels], device, type));
            Bias = AddParameter("bias", Tensor.Zeros([channels], device, type));
        }
        RunningMean = AddBuffer("running_mean", Tensor.Zeros([channels], device, type));
        RunningVar = AddBuffer("running_var", Tensor.Ones([channels], device, type));
        batches = AddBuffer("num_batches_tracked", Tensor.Zeros([], device, ElementType.Int32));
    }

    /// <summary>The factor of each channel, [C], or null.</summary>
    public Tensor? Weight { get; }

    /// <summary>The summand of each channel, [C], or null.</summary>
    public Tensor? Bias { get; }

    /// <summary>The running mean of each channel, [C].</summary>
    public Tensor RunningMean { get; }

    /// <summary>The running variance of each channel, [C].</summary>
    public Tensor RunningVar { get; }

    /// <summary>What makes one training output of those by the running statistics, before they take the batch in, and by the batch's; null for the latter.</summary>
    internal Func<Tensor, Tensor, Tensor>? Mix { get; set; }

    /// <summary>What sees each input before it is normalised, and may set the running statistics by it; null for nobody.</summary>
    internal Action<Tensor>? Estimator { get; set; }

    /// <summary>How many <see cref="StatisticsHold"/>s keep batches out of the running statistics.</summary>
    internal int StatisticsHolds { get; set; }

    /// <summary>What is added to the variance.</summary>
    internal double Epsilon => eps;

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks && Estimator is null;

    /// <summary>1 / √(running variance + eps) of each channel.</summary>
    internal Tensor InverseDeviation() => (RunningVar + eps).Rsqrt();

    /// <summary>Whether an input has the axes that the module is for.</summary>
    private protected abstract bool Takes(int rank);

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input)
    {
        if (!Takes(input.Rank))
            throw new ShapeException($"{GetType().Name}: the input {input.Shape} has {input.Rank} axes, wanted {(this is BatchNorm2d ? "[N, C, H, W]" : "[N, C] or [N, C, L]")}.");
        Estimator?.Invoke(input);
        // Copies: backward wants the running statistics as they were, and the batch is about to change them.
        var byRunning = IsTraining && Mix is not null ? input.BatchNorm(RunningMean.Clone(), RunningVar.Clone(), Weight, Bias, training: false, momentum, eps) : null;
        bool isHeld = IsTraining && StatisticsHolds > 0;
        var output = input.BatchNorm(isHeld ? null : RunningMean, isHeld ? null : RunningVar, Weight, Bias, IsTraining, momentum, eps);
        if (IsTraining && !isHeld)
            batches.Increment();
        return byRunning is null ? output : Mix!(byRunning, output);
    }
}

/// <summary>Keeps batches out of the running statistics of all batch normalisation in networks until it is disposed; in training it goes by the batch's own as ever.</summary>
internal sealed class StatisticsHold : IDisposable
{
    private BatchNorm[] held;

    public StatisticsHold(params Module[] networks)
    {
        held = [.. new Sequential(networks).NamedModules().Select(item => item.Module).OfType<BatchNorm>()];
        foreach (var module in held)
            module.StatisticsHolds++;
    }

    public void Dispose()
    {
        foreach (var module in held)
            module.StatisticsHolds--;
        held = [];
    }
}

/// <summary>Batch normalisation of [N, C] or [N, C, L].</summary>
/// <param name="channels">C.</param>
/// <param name="eps">What is added to the variance.</param>
/// <param name="momentum">The share of a batch in the running statistics.</param>
/// <param name="affine">Whether each channel is scaled and shifted.</param>
/// <param name="device">Where; the CPU if null.</param>
/// <param name="type">The element type.</param>
public sealed class BatchNorm1d(int channels, double eps = 1e-5, double momentum = 0.1, bool affine = true, Device? device = null, ElementType type = ElementType.Float32)
    : BatchNorm(channels, eps, momentum, affine, device, type)
{
    private protected override bool Takes(int rank) => rank is 2 or 3;
}

/// <summary>Batch normalisation of [N, C, H, W].</summary>
/// <inheritdoc cref="BatchNorm1d"/>
public sealed class BatchNorm2d(int channels, double eps = 1e-5, double momentum = 0.1, bool affine = true, Device? device = null, ElementType type = ElementType.Float32)
    : BatchNorm(channels, eps, momentum, affine, device, type)
{
    private protected override bool Takes(int rank) => rank == 4;
}

/// <summary>Normalises over the last axes by their own mean and variance.</summary>
public sealed class LayerNorm : Module, INormalization
{
    private readonly Shape shape;
    private readonly double eps;
    private readonly Tensor? weight, bias;

    /// <param name="shape">The last axes.</param>
    /// <param name="eps">What is added to the variance.</param>
    /// <param name="affine">Whether each element of them is scaled and shifted.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public LayerNorm(Shape shape, double eps = 1e-5, bool affine = true, Device? device = null, ElementType type = ElementType.Float32)
    {
        (this.shape, this.eps) = (shape, eps);
        if (affine)
            (weight, bias) = (AddParameter("weight", Tensor.Ones(shape, device, type)), AddParameter("bias", Tensor.Zeros(shape, device, type)));
    }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.LayerNorm(shape, weight, bias, eps);
}

/// <summary>Normalises groups of channels of each image by their own mean and variance.</summary>
public sealed class GroupNorm : Module, INormalization
{
    private readonly int groups;
    private readonly double eps;
    private readonly Tensor? weight, bias;

    /// <param name="groups">The groups, which divide the channels.</param>
    /// <param name="channels">The channels.</param>
    /// <param name="eps">What is added to the variance.</param>
    /// <param name="affine">Whether each channel is scaled and shifted.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public GroupNorm(int groups, int channels, double eps = 1e-5, bool affine = true, Device? device = null, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(groups, 1);
        if (channels < 1 || channels % groups != 0)
            throw new ArgumentException($"GroupNorm: {channels} channels do not divide into {groups} groups.", nameof(groups));
        (this.groups, this.eps) = (groups, eps);
        if (affine)
            (weight, bias) = (AddParameter("weight", Tensor.Ones([channels], device, type)), AddParameter("bias", Tensor.Zeros([channels], device, type)));
    }

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.GroupNorm(groups, weight, bias, eps);
}
