using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Training;

/// <summary>How a <see cref="LearningRateFinder"/> searches.</summary>
public sealed record LearningRateFinderSettings
{
    /// <summary>The first rate.</summary>
    public double Lowest { get; init; } = 1e-7;

    /// <summary>The last rate.</summary>
    public double Highest { get; init; } = 10;

    /// <summary>Training steps from the first to the last rate.</summary>
    public int Steps { get; init; } = 100;

    /// <summary>What part of the smoothed loss stays at each step.</summary>
    public double Smoothing { get; init; } = 0.98;

    /// <summary>The search ends where the smoothed loss is so many times its lowest.</summary>
    public double Divergence { get; init; } = 4;
}

/// <summary>How a learning rate is read off a curve; the rules are fastai's.</summary>
public enum LearningRateRule
{
    /// <summary>Half way down the middle of the longest valley: the longest run of falling losses, others left out between them.</summary>
    Valley,

    /// <summary>Where the loss falls fastest over the rate's logarithm.</summary>
    Steepest,

    /// <summary>A tenth of the rate of the lowest loss.</summary>
    Minimum,
}

/// <summary>Losses against learning rates.</summary>
/// <param name="Rates">The rate of each step, ascending.</param>
/// <param name="Losses">The smoothed loss before that step.</param>
public sealed record LearningRateCurve(IReadOnlyList<double> Rates, IReadOnlyList<double> Losses)
{
    /// <summary>Reads a learning rate off the curve.</summary>
    /// <param name="rule">How.</param>
    /// <exception cref="InvalidOperationException">There are fewer than two points.</exception>
    public double Suggest(LearningRateRule rule = LearningRateRule.Valley)
    {
        if (Rates.Count < 2)
            throw new InvalidOperationException($"LearningRateCurve: {Rates.Count} points give no rate. Search in more steps, or from a lower rate on.");
        return rule switch
        {
            LearningRateRule.Valley => Rates[Valley()],
            LearningRateRule.Steepest => Rates[Steepest()],
            LearningRateRule.Minimum => Rates[Lowest()] / 10,
            _ => throw new ArgumentOutOfRangeException(nameof(rule), rule, "LearningRateCurve: no such rule."),
        };
    }

    private int Lowest() => Enumerable.Range(0, Losses.Count).MinBy(i => Losses[i]);

    private int Steepest() => Enumerable.Range(0, Losses.Count - 1).MinBy(i => (Losses[i + 1] - Losses[i]) / Math.Log(Rates[i + 1] / Rates[i]));

    /// <summary>The longest decreasing subsequence ends at some point; it is taken to have begun as many points before, and half its way is suggested.</summary>
    private int Valley()
    {
        var length = new int[Losses.Count];
        int end = 0;
        for (int i = 0; i < length.Length; i++)
        {
            length[i] = 1;
            for (int j = 0; j < i; j++)
            {
                if (Losses[i] < Losses[j])
                    length[i] = Math.Max(length[i], length[j] + 1);
            }
            if (length[i] > length[end])
                end = i;
        }
        double third = length[end] / 3.0;
        return Math.Max(0, end - length[end] + (int)third + (int)(third / 2));
    }
}

/// <summary>
/// The learning-rate range test: trains for some steps while the rate of all groups grows from step to step by a constant factor, and puts everything back.
/// </summary>
/// <remarks>
/// Smith: Cyclical learning rates for training neural networks; WACV 2017, section 3.3; exponential steps, smoothing, and which points count (not the first tenth of the steps and
/// the last five) as in fastai.
/// </remarks>
public static class LearningRateFinder
{
    private const int Tail = 5;

    /// <summary>Searches. Weights, statistics, the optimiser's state, the default random stream and the loader's pass are as before when this returns or throws.</summary>
    /// <param name="model">What is trained.</param>
    /// <param name="optimizer">What updates its weights.</param>
    /// <param name="loss">Output and target to a scalar that is a mean over the rows.</param>
    /// <param name="batches">What is trained on, again from its beginning where it ends before the steps do.</param>
    /// <param name="settings">How; the defaults if null.</param>
    /// <param name="cancellation">Looked at before each step.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static LearningRateCurve Run(
        Module model, Optimizer optimizer, Func<Tensor, Tensor, Tensor> loss, IEnumerable<Batch> batches, LearningRateFinderSettings? settings = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(loss);
        ArgumentNullException.ThrowIfNull(batches);
        settings ??= new();
        ArgumentOutOfRangeException.ThrowIfLessThan(settings.Steps, 2);
        if (!(settings.Lowest > 0 && settings.Highest > settings.Lowest))
            throw new ArgumentException($"LearningRateFinder: rates go from above 0 up, not from {settings.Lowest} to {settings.Highest}.", nameof(settings));
        if (!(settings.Smoothing is >= 0 and < 1))
            throw new ArgumentException($"LearningRateFinder: the smoothing {settings.Smoothing} is from 0 to below 1.", nameof(settings));
        using var scope = new TensorScope();
        var putBack = Remember(model, optimizer, batches as IPassed);
        var search = new Search(settings);
        try
        {
            var trainer = new Trainer(model, optimizer, loss)
            {
                Settings = new() { Epochs = int.MaxValue, MaxSteps = settings.Steps, SchedulePeriod = SchedulePeriod.Step, ReportEvery = 1 },
                Schedule = new Ramp(optimizer, settings),
            };
            search.Stop = trainer.Stop;
            trainer.Fit(batches, search, cancellation);
        }
        finally
        {
            putBack();
        }
        var points = search.Points.Skip(settings.Steps / 10).SkipLast(Tail).Where(point => double.IsFinite(point.Loss)).ToArray();
        return new([.. points.Select(point => point.Rate)], [.. points.Select(point => point.Loss)]);
    }

    private static Action Remember(Module model, Optimizer optimizer, IPassed? loader)
    {
        using var noGrad = new NoGrad();
        var weights = Copy(model.StateDict());
        var state = Copy(optimizer.StateDict());
        var modes = model.Evaluate();
        var random = Generator.Default.State;
        int[]? passes = loader?.Passes;
        return () =>
        {
            model.LoadStateDict(weights);
            optimizer.LoadStateDict(state);
            Generator.Default.State = random;
            if (loader is not null)
                loader.Passes = passes!;
            modes();
        };
    }

    private static Dictionary<string, Tensor> Copy(IReadOnlyDictionary<string, Tensor> state) => state.ToDictionary(item => item.Key, item => item.Value.Clone());

    /// <summary>From the lowest to the highest rate, for every group alike.</summary>
    private sealed class Ramp : LearningRateSchedule
    {
        private readonly LearningRateFinderSettings settings;

        public Ramp(Optimizer optimizer, LearningRateFinderSettings settings) : base(optimizer)
        {
            this.settings = settings;
            Begin();
        }

        public override double Rate(double initial, int step) => settings.Lowest * Math.Pow(settings.Highest / settings.Lowest, (double)step / (settings.Steps - 1));
    }

    /// <summary>Hears of each step and ends the search where the loss explodes.</summary>
    private sealed class Search(LearningRateFinderSettings settings) : IProgress<TrainingProgress>
    {
        private double sum, best = double.PositiveInfinity, kept = 1;

        public List<(double Rate, double Loss)> Points { get; } = [];

        public Action? Stop { get; set; }

        public void Report(TrainingProgress value)
        {
            if (value.IsEpochEnd)
                return;
            sum = settings.Smoothing * sum + (1 - settings.Smoothing) * value.Loss;
            kept *= settings.Smoothing;
            double smoothed = sum / (1 - kept);
            Points.Add((value.LearningRate, smoothed));
            best = Math.Min(best, smoothed);
            if (!double.IsFinite(smoothed) || smoothed > settings.Divergence * best)
                Stop?.Invoke();
        }
    }
}
