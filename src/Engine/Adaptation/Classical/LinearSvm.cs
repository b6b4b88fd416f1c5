using TransferEngine.Modules;
using TransferEngine.Training;
using TransferEngine.Transfer;

namespace TransferEngine.Adaptation;

/// <summary>The loss of a margin y f(x) in a <see cref="LinearSvm"/>.</summary>
public enum SvmLoss
{
    /// <summary>max(0, 1 - y f)², smooth: LIBLINEAR's default.</summary>
    SquaredHinge,

    /// <summary>max(0, 1 - y f): LIBSVM's.</summary>
    Hinge,
}

/// <summary>How a <see cref="LinearSvm"/> tells more than two classes apart.</summary>
public enum MulticlassScheme
{
    /// <summary>A machine a class against all others; the greatest f wins: LIBLINEAR's.</summary>
    OneVersusRest,

    /// <summary>A machine for each two classes; the class with most votes wins, the first of equal ones: LIBSVM's.</summary>
    OneVersusOne,
}

/// <summary>How a <see cref="LinearSvm"/> is fitted.</summary>
public sealed record LinearSvmSettings
{
    /// <summary>C, what a row's loss weighs against the length of w.</summary>
    public double C { get; init; } = 1;

    /// <summary>
    /// Values to choose <see cref="C"/> from by cross-validation on the rows of the fit, weighed as they are there: the one under which most rows that were left out are right, the least of equal ones. Null
    /// takes C as it is.
    /// </summary>
    public IReadOnlyList<double>? Candidates { get; init; }

    /// <summary>The parts of a cross-validation, 2 or more: the i-th row of a class is in part i modulo this.</summary>
    public int Folds { get; init; } = 5;

    /// <summary>The loss.</summary>
    public SvmLoss Loss { get; init; } = SvmLoss.SquaredHinge;

    /// <summary>The scheme.</summary>
    public MulticlassScheme Scheme { get; init; } = MulticlassScheme.OneVersusRest;

    /// <summary>The spread of the projected gradients at which the fit is done; LIBSVM's is 0.001, too.</summary>
    public double Tolerance { get; init; } = 1e-3;

    /// <summary>The most passes over the rows.</summary>
    public int MaxEpochs { get; init; } = 1000;

    /// <summary>What the order of the rows in each pass is drawn from.</summary>
    public ulong Seed { get; init; } = 1;
}

/// <summary>
/// A linear support vector machine: min ½ ‖(w, b)‖² + C Σ_i ω_i loss(y_i (w·x_i + b)), with weights ω of the rows, by coordinate descent on the dual, on the host in float64.
/// </summary>
/// <remarks>
/// Hsieh, Chang, Lin, Keerthi and Sundararajan, A Dual Coordinate Descent Method for Large-scale Linear SVM, ICML 2008, algorithm 1. The bias is a constant feature of 1, so it is kept small, too, as in
/// LIBLINEAR with -B 1. The same features give the same machine, bit for bit.
/// </remarks>
public sealed class LinearSvm : IFeatureClassifier
{
    private readonly LinearSvmSettings settings;

    /// <param name="settings">How; the defaults if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public LinearSvm(LinearSvmSettings? settings = null)
    {
        this.settings = settings ?? new();
        double[] values = [.. this.settings.Candidates ?? [this.settings.C]];
        if (values.Length == 0 || !values.All(value => value > 0 && double.IsFinite(value)))
            throw new ArgumentOutOfRangeException(nameof(settings), string.Join(", ", values), "LinearSvm: C, and each candidate for it, is positive, and there is one at least.");
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.Folds, 2);
        if (!(this.settings.Tolerance > 0))
            throw new ArgumentOutOfRangeException(nameof(settings), this.settings.Tolerance, "LinearSvm: the tolerance is positive.");
        ArgumentOutOfRangeException.ThrowIfLessThan(this.settings.MaxEpochs, 1);
    }

    /// <inheritdoc/>
    public string Name => "SVM";

    /// <inheritdoc/>
    public IPredictor Fit(Tensor features, Tensor labels, int classes, IReadOnlyList<double>? weights = null, CancellationToken cancellation = default)
    {
        DomainFeatures.CheckLabels(nameof(LinearSvm), features, labels, classes);
        int n = features.Shape[0], d = features.Shape[1];
        if (weights is not null && (weights.Count != n || weights.Any(weight => !(weight >= 0 && double.IsFinite(weight)))))
            throw new ArgumentException($"LinearSvm: {weights.Count} weights for {n} rows; wanted one for each, 0 or more.", nameof(weights));
        double[] rows = LinearProbe.Doubles(features.Detach());
        int[] own = labels.ToArray<int>();
        double c = settings.Candidates is { Count: > 1 } candidates ? Chosen(candidates, features, own, classes, weights, cancellation) : settings.Candidates?[0] ?? settings.C;
        (int Positive, int Negative)[] machines = settings.Scheme == MulticlassScheme.OneVersusRest
            ? [.. Enumerable.Range(0, classes).Select(a => (a, -1))]
            : [.. Enumerable.Range(0, classes).SelectMany(a => Enumerable.Range(a + 1, classes - a - 1).Select(b => (a, b)))];
        double[] weight = new double[machines.Length * d], bias = new double[machines.Length];
        for (int k = 0; k < machines.Length; k++)
        {
            var (positive, negative) = machines[k];
            int[] taken = [.. Enumerable.Range(0, n).Where(i => (negative < 0 || own[i] == positive || own[i] == negative) && weights?[i] is not 0)];
            bias[k] = Descend(rows, d, taken, [.. taken.Select(i => own[i] == positive ? 1.0 : -1)], [.. taken.Select(i => c * (weights?[i] ?? 1))], weight.AsSpan(k * d, d), cancellation);
        }
        Tensor Constant(double[] values, Shape shape) => Tensor.FromDoubles(values, shape, features.Device, features.ElementType).KeepAlive();
        return new Predictor(machines.Length == 0 ? null : new Linear(Constant(weight, [machines.Length, d]), Constant(bias, [machines.Length])), machines, classes, d);
    }

    /// <summary>The candidate of most weight of rows that are right when they are left out.</summary>
    private double Chosen(IReadOnlyList<double> candidates, Tensor features, int[] labels, int classes, IReadOnlyList<double>? weights, CancellationToken cancellation)
    {
        var seen = new int[classes];
        int[] part = [.. labels.Select(label => seen[label]++ % settings.Folds)];
        using var scope = new TensorScope();
        return candidates.Order().MaxBy(candidate => Enumerable.Range(0, settings.Folds).Sum(fold =>
        {
            var sides = Enumerable.Range(0, labels.Length).ToLookup(row => part[row] == fold);
            int[] kept = [.. sides[false]], held = [.. sides[true]];
            if (kept.Length == 0 || held.Length == 0)
                return 0;
            Tensor Take(int[] taken) => features.Detach().IndexSelect(0, Tensor.From(taken, features.Device));
            var machine = new LinearSvm(settings with { C = candidate, Candidates = null })
                .Fit(Take(kept), Tensor.From([.. kept.Select(row => labels[row])], features.Device), classes, weights is null ? null : [.. kept.Select(row => weights[row])], cancellation);
            return machine.Predict(Take(held)).ToArray<int>().Zip(held, (predicted, row) => predicted == labels[row] ? weights?[row] ?? 1 : 0).Sum();
        }));
    }

    /// <summary>One machine: writes w and returns b.</summary>
    private double Descend(double[] rows, int d, int[] taken, double[] signs, double[] costs, Span<double> w, CancellationToken cancellation)
    {
        bool squared = settings.Loss == SvmLoss.SquaredHinge;
        double[] alpha = new double[taken.Length], diagonal = new double[taken.Length];
        for (int i = 0; i < taken.Length; i++)
        {
            var x = rows.AsSpan(taken[i] * d, d);
            diagonal[i] = VectorMath.Dot(x, x) + 1 + (squared ? 0.5 / costs[i] : 0);
        }
        var generator = new Generator(settings.Seed);
        double b = 0;
        for (int epoch = 0; epoch < settings.MaxEpochs && taken.Length > 0; epoch++)
        {
            cancellation.ThrowIfCancellationRequested();
            double greatest = double.NegativeInfinity, least = double.PositiveInfinity;
            foreach (int i in generator.Permutation(taken.Length))
            {
                var x = rows.AsSpan(taken[i] * d, d);
                double top = squared ? double.PositiveInfinity : costs[i];
                double gradient = signs[i] * (VectorMath.Dot(w, x) + b) - 1 + (squared ? alpha[i] * 0.5 / costs[i] : 0);
                double projected = alpha[i] == 0 ? Math.Min(0, gradient) : alpha[i] == top ? Math.Max(0, gradient) : gradient;
                (greatest, least) = (Math.Max(greatest, projected), Math.Min(least, projected));
                if (projected == 0)
                    continue;
                double next = Math.Clamp(alpha[i] - gradient / diagonal[i], 0, top), step = (next - alpha[i]) * signs[i];
                alpha[i] = next;
                VectorMath.Add(w, x, step);
                b += step;
            }
            if (greatest - least < settings.Tolerance)
                break;
        }
        return b;
    }

    private sealed class Predictor(Linear? machine, (int Positive, int Negative)[] machines, int classes, int width) : IPredictor
    {
        public Tensor Predict(Tensor features)
        {
            ArgumentNullException.ThrowIfNull(features);
            Check.That(features.Rank == 2 && features.Shape[1] == width, $"LinearSvm: rows {features.Shape}; it was fitted on rows of {width} features, [k, {width}].");
            using var scope = new TensorScope();
            using var recording = new NoGrad();
            if (machine is null)
                return scope.Keep(Tensor.Zeros([features.Shape[0]], features.Device, ElementType.Int32)); // one class alone
            var values = machine.Forward(features.Detach());
            int[] predicted = machines[0].Negative < 0 ? Predictions.Classes(values) : Votes(LinearProbe.Doubles(values), features.Shape[0]);
            return scope.Keep(Tensor.From(predicted, features.Device));
        }

        private int[] Votes(double[] values, int rows)
        {
            var predicted = new int[rows];
            for (int i = 0; i < rows; i++)
            {
                var votes = new int[classes];
                for (int k = 0; k < machines.Length; k++)
                    votes[values[i * machines.Length + k] > 0 ? machines[k].Positive : machines[k].Negative]++;
                predicted[i] = Array.IndexOf(votes, votes.Max());
            }
            return predicted;
        }
    }
}
