using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>How certain the target's predictions are: their mean entropy, negated. A model that gives one class to all is certain too.</summary>
/// <remarks>Morerio, Cavazza and Murino, Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain Adaptation, ICLR 2018, who choose by it.</remarks>
public sealed class EntropyValidator : Validator
{
    /// <inheritdoc/>
    public override string Name => "entropy";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return -EntropyMinimization.Forward(data.Target.Logits).Item();
    }
}

/// <summary>
/// Information maximisation: the mutual information, in nats, of the target's rows and their predictions, H(mean of p) - mean of H(p): great where predictions are
/// certain and the classes are balanced. From 0 to log C.
/// </summary>
/// <remarks>Bridle, Heading and MacKay, Unsupervised classifiers, mutual information and phantom targets, NIPS 1991; as a validator in Musgrave et al., Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain Adaptation, 2022.</remarks>
public sealed class InformationMaximizationValidator : Validator
{
    /// <inheritdoc/>
    public override string Name => "im";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        double[] shares = LinearProbe.Doubles(data.Target.Logits.Softmax().Mean([0]));
        return -shares.Sum(share => share > 0 ? share * Math.Log(share) : 0) - EntropyMinimization.Forward(data.Target.Logits).Item();
    }
}

/// <summary>BNM: the nuclear norm of the matrix [m, C] of the target's predictions over m, great where they are certain and diverse.</summary>
/// <remarks>Cui et al., CVPR 2020, as <see cref="BatchNuclearNorm"/>; as a validator in pytorch-adapt.</remarks>
public sealed class NuclearNormValidator : Validator
{
    /// <inheritdoc/>
    public override string Name => "bnm";

    /// <inheritdoc/>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        return -new BatchNuclearNorm().Forward(data.Target.Logits).Item();
    }
}

/// <summary>
/// SND: how dense the neighbourhoods of the target's predictions are. Each row's cosine similarities to all other rows, over a temperature, go through
/// a softmax; the score is the mean entropy of these, great where a row has many neighbours alike.
/// </summary>
/// <remarks>
/// Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density, ICCV 2021, equations 1 to 4: on the softmax of the
/// logits, a row itself left out. From 0 to log(m - 1); computed by blocks of rows. The authors' code adds 10^-5 within the entropy's logarithm, and has a row be unlike itself (a similarity
/// of -1) instead of leaving it out.
/// </remarks>
public sealed class SoftNeighborhoodDensityValidator : Validator
{
    private const int Block = 512;
    private readonly double temperature;

    /// <param name="temperature">What similarities are divided by.</param>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public SoftNeighborhoodDensityValidator(double temperature = 0.05)
    {
        if (!(temperature > 0))
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "SoftNeighborhoodDensityValidator: the temperature is positive.");
        this.temperature = temperature;
    }

    /// <inheritdoc/>
    public override string Name => "snd";

    /// <inheritdoc/>
    /// <exception cref="ShapeException">The target has one row only.</exception>
    protected override double Measure(ValidationData data, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(data);
        const double Never = 1e5; // so far below any similarity that the exponential is 0
        var logits = data.Target.Logits;
        int rows = logits.Shape[0];
        Check.That(rows > 1, $"SoftNeighborhoodDensityValidator: the target has {rows} row and so no neighbour. Give more.");
        var shares = logits.Softmax();
        var unit = shares / shares.Square().Sum([1], keepDim: true).Sqrt();
        double sum = 0;
        for (int start = 0; start < rows; start += Block)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            int count = Math.Min(Block, rows - start);
            var own = Tensor.From([.. Enumerable.Range(start, count)], [count], logits.Device).OneHot(rows, logits.ElementType);
            var similarity = (unit.Narrow(0, start, count).MatMul(unit.Transpose()) - own * Never) / temperature;
            sum += EntropyMinimization.Forward(similarity).Item() * count;
        }
        return sum / rows;
    }
}
