using TransferEngine.Kernels;

namespace TransferEngine;

/// <summary>
/// Keeps gradients inside Float16's range (Micikevicius et al.: Mixed precision training; ICLR 2018), as PyTorch's torch.amp.GradScaler: the loss is multiplied by a scale before
/// the backward pass and the gradients divided by it before the step. A step whose gradients are not all finite is left out and the scale falls; after enough good steps in a
/// row it rises.
/// </summary>
/// <example><code>
/// using (new Autocast(ElementType.Float16))
///     loss = model.Forward(x).CrossEntropy(y);
/// scaler.Scale(loss).Backward();
/// scaler.Step(optimizer);
/// scaler.Update();
/// optimizer.ZeroGrad();
/// </code></example>
public sealed class GradScaler
{
    private readonly Dictionary<(Device Device, ElementType Type), Tensor> scales = [];
    private readonly Dictionary<Optimizer, (bool IsFinite, bool HasStepped)> seen = new(ReferenceEqualityComparer.Instance);
    private readonly double growthFactor, backoffFactor;
    private readonly int growthInterval;
    private int good;

    /// <param name="initialScale">The scale at first.</param>
    /// <param name="growthFactor">What it is multiplied by after enough good steps; above 1.</param>
    /// <param name="backoffFactor">What it is multiplied by after a step that was left out; between 0 and 1.</param>
    /// <param name="growthInterval">How many good steps in a row are enough.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is outside of its range.</exception>
    public GradScaler(double initialScale = 65536, double growthFactor = 2, double backoffFactor = 0.5, int growthInterval = 2000)
    {
        CheckScale(initialScale, nameof(initialScale));
        if (!(growthFactor > 1 && double.IsFinite(growthFactor)))
            throw new ArgumentOutOfRangeException(nameof(growthFactor), growthFactor, "GradScaler: the scale grows by a factor above 1.");
        if (!(backoffFactor is > 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(backoffFactor), backoffFactor, "GradScaler: the scale falls by a factor between 0 and 1.");
        ArgumentOutOfRangeException.ThrowIfLessThan(growthInterval, 1);
        (CurrentScale, this.growthFactor, this.backoffFactor, this.growthInterval) = (initialScale, growthFactor, backoffFactor, growthInterval);
    }

    /// <summary>What losses are multiplied by at present.</summary>
    public double CurrentScale { get; private set; }

    /// <summary>The steps that were left out so far.</summary>
    public long SkippedSteps { get; private set; }

    /// <summary>Multiplies a loss by the scale; a <see cref="Training.CapturedStep"/> that does so follows the scale as it changes.</summary>
    /// <param name="loss">What is differentiated, of any shape.</param>
    /// <returns>The product, whose backward pass gives scaled gradients.</returns>
    public Tensor Scale(Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Check.Floating("GradScaler.Scale", loss);
        var place = (loss.Device, loss.ElementType);
        if (!scales.TryGetValue(place, out var scale))
            scales[place] = scale = Tensor.Full([], CurrentScale, loss.Device, loss.ElementType).KeepAlive();
        return loss * scale;
    }

    /// <summary>
    /// Divides the gradients of an optimiser's parameters by the scale, in place, and looks whether all are finite: one pass over each gradient, then one number read from the
    /// device. <see cref="Step"/> does it by itself; call it before where gradients are clipped in between.
    /// </summary>
    /// <param name="optimizer">The optimiser.</param>
    /// <returns>Whether all were finite.</returns>
    /// <exception cref="InvalidOperationException">It was done already since the last <see cref="Update"/>.</exception>
    public bool Unscale(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        if (seen.ContainsKey(optimizer))
            throw new InvalidOperationException("GradScaler.Unscale: the gradients of this optimiser were divided by the scale already. Call Update() after each step.");
        using var recording = new NoGrad();
        using var scope = new TensorScope();
        var found = new Dictionary<Device, Tensor>();
        foreach (var parameter in optimizer.Groups.SelectMany(group => group.Parameters))
        {
            if (parameter.Grad is not { } gradient)
                continue;
            if (!found.TryGetValue(gradient.Device, out var flag))
                found[gradient.Device] = flag = Tensor.Zeros([1], gradient.Device, ElementType.Int32);
            GradientClipping.Apply([gradient], (device, slice) => Updates.Unscale(device, 1 / CurrentScale, slice, flag.Slice));
        }
        bool isFinite = found.Values.All(flag => flag.Item() == 0);
        seen[optimizer] = (isFinite, false);
        return isFinite;
    }

    /// <summary>Lets an optimiser take its step, with gradients divided by the scale; leaves it out where one is infinite or NaN.</summary>
    /// <param name="optimizer">The optimiser.</param>
    /// <returns>Whether the step was taken.</returns>
    /// <exception cref="InvalidOperationException">It was asked for already since the last <see cref="Update"/>.</exception>
    public bool Step(Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        if (!seen.TryGetValue(optimizer, out var state))
            state = (Unscale(optimizer), false);
        else if (state.HasStepped)
            throw new InvalidOperationException("GradScaler.Step: this optimiser was asked for a step already. Call Update() after each step.");
        seen[optimizer] = state with { HasStepped = true };
        if (state.IsFinite)
            optimizer.Step();
        else
            SkippedSteps++;
        return state.IsFinite;
    }

    /// <summary>Changes the scale by what was found since the last call: once an iteration, after the steps of all optimisers.</summary>
    /// <exception cref="InvalidOperationException">No gradients were looked at since the last call.</exception>
    public void Update()
    {
        if (seen.Count == 0)
            throw new InvalidOperationException("GradScaler.Update: no gradients were looked at since the last update. Call Step(optimizer) first.");
        bool isGood = seen.Values.All(state => state.IsFinite);
        seen.Clear();
        good = isGood ? good + 1 : 0;
        if (!isGood)
        {
            SetScale(Math.Max(CurrentScale * backoffFactor, float.Epsilon));
        }
        else if (good == growthInterval)
        {
            good = 0;
            if (CurrentScale * growthFactor <= float.MaxValue)
                SetScale(CurrentScale * growthFactor);
        }
    }

    /// <summary>What a checkpoint keeps.</summary>
    public IReadOnlyDictionary<string, double> StateDict() => new Dictionary<string, double> { ["scale"] = CurrentScale, ["growth_tracker"] = good, ["skipped"] = SkippedSteps };

    /// <summary>Takes over what <see cref="StateDict"/> gave.</summary>
    /// <param name="state">The named numbers.</param>
    /// <exception cref="ArgumentException">A number is missing, or none of a scaler.</exception>
    public void LoadStateDict(IReadOnlyDictionary<string, double> state)
    {
        ArgumentNullException.ThrowIfNull(state);
        double scale = Wanted("scale"), tracker = Wanted("growth_tracker"), skipped = Wanted("skipped");
        CheckScale(scale, nameof(state));
        if (!(tracker >= 0 && tracker < int.MaxValue && skipped is >= 0 and < 1L << 53))
            throw new ArgumentException($"GradScaler.LoadStateDict: {tracker} good steps and {skipped} left out; wanted numbers of 0 or more.", nameof(state));
        (good, SkippedSteps) = ((int)tracker, (long)skipped);
        SetScale(scale);
        seen.Clear();

        double Wanted(string name) => state.TryGetValue(name, out double value) ? value
            : throw new ArgumentException($"GradScaler.LoadStateDict: {name} is missing. Was the state saved from a GradScaler?", nameof(state));
    }

    private static void CheckScale(double scale, string name)
    {
        if (!(scale > 0 && scale <= float.MaxValue))
            throw new ArgumentOutOfRangeException(name, scale, "GradScaler: a scale is above 0 and a number of float32.");
    }

    private void SetScale(double scale)
    {
        CurrentScale = scale;
        foreach (var tensor in scales.Values)
            tensor.FillInPlace(scale);
    }
}
