using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Transfer;

/// <summary>
/// DELTA: keeps feature maps, rather than weights, near those of the source network, the channels weighed by what they are worth to the
/// target: α Σ_layers Σ_j a_j ‖F_j - F⁰_j‖² + β ‖w_new‖², the mean over the rows, j the channels of a layer's output.
/// </summary>
/// <remarks>
/// Li et al.: DELTA, deep learning transfer using feature map with attention for convolutional networks; ICLR 2019. The attention a,
/// from <see cref="ChannelAttention"/>, sums to 1 over the channels of a layer; the distance is not divided by the map's size;
/// the authors' code scales it by C / (2 H W) and sums over the rows.
/// </remarks>
public sealed class Delta : IRegularizer, IDisposable
{
    private readonly FeatureExtractor source;
    private readonly IReadOnlyList<Tensor>? attention;
    private readonly Module? fresh;
    private readonly Tap tap;
    private readonly double alpha, beta;

    /// <param name="model">The model that is fine-tuned.</param>
    /// <param name="source">The source network, with weights of its own, at the modules whose outputs [N, C, ...] are compared; the model has modules of the same names.</param>
    /// <param name="attention">A weight for each channel, [C], a module; all 1 / C if null.</param>
    /// <param name="fresh">The new part, such as the head, whose weights are kept small; null for none.</param>
    /// <param name="alpha">What the distance weighs.</param>
    /// <param name="beta">What the new part's size weighs.</param>
    /// <exception cref="ArgumentException">A module is missing, or the attention is not of as many modules.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A weight is negative.</exception>
    public Delta(Module model, FeatureExtractor source, IReadOnlyList<Tensor>? attention = null, Module? fresh = null, double alpha = 0.01, double beta = 0.01)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegative(alpha);
        ArgumentOutOfRangeException.ThrowIfNegative(beta);
        if (attention is not null && attention.Count != source.Names.Count)
            throw new ArgumentException($"Delta: attention for {attention.Count} modules, but {source.Names.Count} are compared: {string.Join(", ", source.Names)}.", nameof(attention));
        if (ReferenceEquals(model, source.Model))
            throw new ArgumentException("Delta: the source is the model itself, whose features change with it. Make a second network and load the source weights into it.", nameof(source));
        (this.source, this.attention, this.fresh, this.alpha, this.beta) = (source, attention, fresh, alpha, beta);
        foreach (var weights in attention ?? [])
            weights.KeepAlive();
        tap = new Tap(nameof(Delta), [.. source.Names.Select(model.GetModule)], inputs: false);
    }

    /// <inheritdoc/>
    public string Name => "delta";

    /// <inheritdoc/>
    public IReadOnlyList<Module> Modules => [];

    /// <inheritdoc/>
    public Tensor Loss(RegularizedStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var ours = tap.Take();
        var theirs = SourceFeatures(step.Input);
        Tensor sum = Tensor.Zeros([], step.Output.Device, step.Output.ElementType);
        for (int i = 0; i < ours.Length; i++)
        {
            Check.That(ours[i].Shape == theirs[i].Shape && ours[i].Rank >= 2, $"Delta: '{source.Names[i]}' puts out {ours[i].Shape} in the model and {theirs[i].Shape} in the source; wanted [N, C, ...] from both.");
            int rows = ours[i].Shape[0], channels = ours[i].Shape[1];
            var squares = (ours[i] - theirs[i]).Square();
            if (attention is null)
            {
                sum += squares.Sum() * (alpha / Math.Max(1, rows * channels));
                continue;
            }
            Check.That(attention[i].Shape == [channels], $"Delta: the attention {attention[i].Shape} of '{source.Names[i]}' is not of its {channels} channels, wanted [{channels}].");
            sum += (squares.Reshape(rows, channels, -1).Sum([0, 2]) * attention[i]).Sum() * (alpha / Math.Max(1, rows));
        }
        foreach (var parameter in fresh?.Parameters() ?? [])
        {
            if (parameter.RequiresGrad)
                sum += parameter.Square().Sum() * beta;
        }
        return sum;
    }

    /// <summary>
    /// What each channel of some modules is worth: softmax over a module's channels of how much the loss grows when the channel is taken away
    /// (its output is 0). Costs as many passes over the data as there are channels, so give it few batches.
    /// </summary>
    /// <param name="source">The source network with a head that was trained for the target's classes on its frozen features, at the modules to look at.</param>
    /// <param name="loss">Output and target to a scalar that is a mean over the rows.</param>
    /// <param name="batches">Rows of the target's training data, enumerated once a channel; not disposed.</param>
    /// <param name="progress">Hears of each channel done, through all modules.</param>
    /// <param name="cancellation">Looked at before each channel.</param>
    /// <returns>[C] a module, in the extractor's order.</returns>
    public static Tensor[] ChannelAttention(FeatureExtractor source, Func<Tensor, Tensor, Tensor> loss, IReadOnlyList<Batch> batches, IProgress<int>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(loss);
        ArgumentNullException.ThrowIfNull(batches);
        if (batches.Count == 0)
            throw new ArgumentException("Delta.ChannelAttention: there is no batch. Give one or more.", nameof(batches));
        var putBack = source.Model.Evaluate();
        int done = 0;
        try
        {
            using var noGrad = new NoGrad();
            double whole = MeanLoss();
            return [.. source.Modules.Select(module =>
            {
                var first = batches[0].Input;
                int channels = 0;
                using (module.RegisterForwardHook((_, _, output) =>
                {
                    channels = output.Rank >= 2 ? output.Shape[1] : 0;
                    return null;
                }))
                using (new TensorScope())
                    source.Model.Forward(first);
                Check.That(channels > 0, "Delta.ChannelAttention: a module puts out nothing of shape [N, C, ...].");
                var growth = new double[channels];
                for (int channel = 0; channel < channels; channel++)
                {
                    cancellation.ThrowIfCancellationRequested();
                    using (module.RegisterForwardHook((_, _, output) => Without(output, channel)))
                        growth[channel] = MeanLoss() - whole;
                    progress?.Report(++done);
                }
                double largest = growth.Max(), total = growth.Sum(value => Math.Exp(value - largest));
                return Tensor.FromDoubles(Array.ConvertAll(growth, value => Math.Exp(value - largest) / total), [channels], first.Device, first.ElementType);
            })];
        }
        finally
        {
            putBack();
        }

        double MeanLoss()
        {
            double sum = 0, rows = 0;
            foreach (var batch in batches)
            {
                using var scope = new TensorScope();
                sum += loss(source.Model.Forward(batch.Input), batch.Target).Item() * batch.Input.Shape[0];
                rows += batch.Input.Shape[0];
            }
            return sum / rows;
        }
    }

    /// <summary>Stops looking at the model.</summary>
    public void Dispose() => tap.Dispose();

    private Tensor[] SourceFeatures(Tensor input)
    {
        var putBack = source.Model.Evaluate();
        try
        {
            using var noGrad = new NoGrad();
            return source.ExtractAll(input);
        }
        finally
        {
            putBack();
        }
    }

    private static Tensor Without(Tensor output, int channel)
    {
        var mask = new double[output.Shape[1]];
        Array.Fill(mask, 1);
        mask[channel] = 0;
        return output * Tensor.FromDoubles(mask, [1, mask.Length, .. Enumerable.Repeat(1, output.Rank - 2)], output.Device, output.ElementType);
    }
}
