using TransferEngine.Modules;

namespace TransferEngine.Adaptation;

/// <summary>
/// AdaBN: takes the statistics of batch normalisation from the target domain. Each batch enters the mean and the (biased) variance of all rows seen so far,
/// pooled exactly, μ = Σ n_b μ_b / n and σ² = Σ n_b (σ_b² + (μ_b - μ)²) / n; with N rows' worth of the shipped statistics the running ones become
/// (N μ_s + n μ) / (N + n), and the variance likewise. A batch is predicted with the statistics that it has entered; everything else runs as in evaluation.
/// </summary>
/// <remarks>
/// Li et al., Revisiting batch normalization for practical domain adaptation, ICLR workshop 2017 (N = 0); Schneider et al., Improving robustness against
/// common corruptions by covariate shift adaptation, NeurIPS 2020, equation 3 (N &gt; 0, there over one batch). Rows are weighed alike whatever their sizes.
/// Layers further up see what those below make of the statistics so far, so that early batches enter them less exactly than late ones.
/// </remarks>
public sealed class AdaBn : IStreamAdapter
{
    private readonly Layer[] layers;

    /// <param name="model">Takes batches to logits; its running statistics are changed in place.</param>
    /// <param name="shippedRows">How many rows N the shipped statistics count for; 0 forgets them at the first batch.</param>
    /// <exception cref="ArgumentException">The model has no batch normalisation.</exception>
    public AdaBn(Module model, double shippedRows = 0)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (!(shippedRows >= 0 && double.IsFinite(shippedRows)))
            throw new ArgumentOutOfRangeException(nameof(shippedRows), shippedRows, "AdaBn: the shipped statistics count for 0 rows or more.");
        BatchNorm[] modules = [.. model.NamedModules().Select(item => item.Module).OfType<BatchNorm>()];
        if (modules.Length == 0)
            throw new ArgumentException($"AdaBn: {model.GetType().Name} has no batch normalisation, whose statistics could be adapted. T3a takes any features.", nameof(model));
        Model = model;
        layers = Array.ConvertAll(modules, module => new Layer(module, shippedRows));
    }

    /// <summary>What is adapted.</summary>
    public Module Model { get; }

    /// <summary>The rows that have entered.</summary>
    public long Rows { get; private set; }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Statistics are no numbers; nothing is changed then.</exception>
    public Tensor Adapt(Tensor batch)
    {
        StreamBatch.Check(nameof(AdaBn), batch);
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var putBack = Model.Evaluate();
        try
        {
            foreach (var layer in layers)
                layer.Watch();
            var logits = StreamBatch.Logits(nameof(AdaBn), batch, Model.Forward(batch));
            if (!StreamBatch.IsFinite(Tensor.Concat([.. layers.SelectMany(layer => layer.Running)])))
                throw new InvalidOperationException("AdaBn: statistics of this batch are no numbers. Are inputs scaled as the model wants them?");
            foreach (var layer in layers)
                layer.Accept();
            Rows += batch.Shape[0];
            return scope.Keep(logits);
        }
        catch
        {
            foreach (var layer in layers)
                layer.Refuse();
            throw;
        }
        finally
        {
            foreach (var layer in layers)
                layer.Rest();
            putBack();
        }
    }

    /// <summary>Adapts to batches one after the other, and keeps no prediction.</summary>
    /// <param name="batches">Each [N, ...].</param>
    /// <param name="cancellation">Looked at before each; what was entered stays.</param>
    public void AdaptAll(IEnumerable<Tensor> batches, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batches);
        foreach (var batch in batches)
        {
            cancellation.ThrowIfCancellationRequested();
            Adapt(batch).Dispose();
        }
    }

    /// <inheritdoc/>
    public void RollBack()
    {
        Rows = 0;
        foreach (var layer in layers)
            layer.RollBack();
    }

    /// <summary>Gives back what it remembers; the model stays as it is adapted.</summary>
    public void Dispose()
    {
        foreach (var layer in layers)
            layer.Dispose();
    }

    /// <summary>The statistics of one normalisation.</summary>
    private sealed class Layer(BatchNorm module, double shippedRows) : IDisposable
    {
        private readonly WeightCopy shipped = new([("mean", module.RunningMean), ("variance", module.RunningVar)]);
        private Pool? pool, before;

        public Tensor[] Running => [module.RunningMean, module.RunningVar];

        public void Watch()
        {
            before = pool;
            module.Estimator = Enter;
        }

        public void Rest() => module.Estimator = null;

        public void Accept() => Release(before, pool);

        public void Refuse()
        {
            Release(pool, before);
            pool = before;
            Write();
        }

        public void RollBack()
        {
            Release(pool, null);
            pool = null;
            shipped.Restore();
        }

        public void Dispose()
        {
            Release(pool, null);
            shipped.Dispose();
        }

        private void Enter(Tensor input)
        {
            int[] axes = [.. Enumerable.Range(0, input.Rank).Where(axis => axis != 1)];
            Tensor mean = input.Mean(axes), variance = input.Var(axes, correction: 0);
            double rows = input.Shape[0];
            if (pool is { } so)
            {
                double share = rows / (so.Rows + rows);
                var step = mean - so.Mean;
                variance = so.Variance * (1 - share) + variance * share + step.Square() * (share * (1 - share));
                (mean, rows) = (so.Mean + step * share, so.Rows + rows);
            }
            if (!ReferenceEquals(pool, before))
                Release(pool, null);
            pool = new(mean.KeepAlive(), variance.KeepAlive(), rows);
            Write();
        }

        private void Write()
        {
            if (pool is not { } target)
            {
                shipped.Restore();
                return;
            }
            double share = target.Rows / (target.Rows + shippedRows);
            module.RunningMean.Assign(Blend(shipped.Tensors[0].Copy, target.Mean));
            module.RunningVar.Assign(Blend(shipped.Tensors[1].Copy, target.Variance));

            Tensor Blend(Tensor old, Tensor fresh) => share == 1 ? fresh : old * (1 - share) + fresh * share;
        }

        private static void Release(Pool? unwanted, Pool? wanted)
        {
            if (unwanted is null || ReferenceEquals(unwanted, wanted))
                return;
            unwanted.Mean.Dispose();
            unwanted.Variance.Dispose();
        }
    }

    /// <summary>Mean and variance of rows.</summary>
    private sealed record Pool(Tensor Mean, Tensor Variance, double Rows);
}
