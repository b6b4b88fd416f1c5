using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Validators against their formulas in plain doubles, and what must not change a score.</summary>
public sealed class ValidatorTests
{
    private const int Train = 15, Held = 9, Target = 13, Width = 3, Classes = 3;
    private const double Decay = 0.1;
    private static readonly DensityRatio Fixed = new() { WeightDecays = [Decay] };

    private readonly double[][] trainFeatures = Samples.Rows(Train, Width, 1, 0), heldFeatures = Samples.Rows(Held, Width, 2, 0), targetFeatures = Samples.Rows(Target, Width, 3, 0.5);
    private readonly double[][] trainLogits = Logits(Train, 4), heldLogits = Logits(Held, 5), targetLogits = Logits(Target, 6);

    public static TheoryData<string> Names => [.. All().Select(validator => validator.Name)];

    [Theory, InlineData(RiskLoss.CrossEntropy), InlineData(RiskLoss.ZeroOne)]
    public void Source_risk_is_the_mean_loss(RiskLoss loss) => Samples.AssertClose(-Losses(loss).Average(), new SourceRiskValidator(loss).Score(Data()));

    [Theory, InlineData(RiskLoss.CrossEntropy), InlineData(RiskLoss.ZeroOne)]
    public void Importance_weighted_risks_follow_their_formulas(RiskLoss loss)
    {
        double[] losses = Losses(loss), weights = Weights(Decay);
        double[] weighted = [.. losses.Zip(weights, (l, w) => l * w)];
        Samples.AssertClose(-weighted.Average(), new ImportanceWeightedValidator(loss, Fixed).Score(Data()), 1e-6);
        double eta = -Covariance(weighted, weights) / Covariance(weights, weights);
        Samples.AssertClose(-(weighted.Average() + eta * weights.Average() - eta), new DeepEmbeddedValidator(loss, Fixed).Score(Data()), 1e-6);
    }

    [Fact]
    public void The_density_ratio_takes_the_decay_that_holds_on_rows_held_out()
    {
        double[] decays = [3, 1e-4];
        double Held(double decay)
        {
            static bool IsHeld(double[] _, int row) => row % 5 == 4;
            var margin = Margin([.. trainFeatures.Where((r, i) => !IsHeld(r, i))], [.. targetFeatures.Where((r, i) => !IsHeld(r, i))], decay);
            return trainFeatures.Where(IsHeld).Sum(x => Math.Log(1 + Math.Exp(margin(x)))) + targetFeatures.Where(IsHeld).Sum(x => Math.Log(1 + Math.Exp(-margin(x))));
        }
        Assert.NotEqual(Held(decays[0]), Held(decays[1]), 1e-2);
        double[] want = Weights(decays.MinBy(Held));
        double[] got = new DensityRatio { WeightDecays = decays }.Weights(Samples.From(trainFeatures), Samples.From(targetFeatures), Samples.From(heldFeatures));
        Assert.All(want.Zip(got), pair => Samples.AssertClose(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void The_control_variate_leaves_a_constant_loss_alone()
    {
        // With the same loss l everywhere the risk is l, whatever the weights; without the control variate it is l times their mean.
        var constant = Enumerable.Repeat(new double[] { 1, 0, 0 }, Held).ToArray();
        using var data = Make(held: new ModelOutput(Samples.From(heldFeatures), Samples.From(constant), Tensor.From(new int[Held])));
        double loss = Math.Log(1 + 2 / Math.E);
        Samples.AssertClose(-loss, new DeepEmbeddedValidator(RiskLoss.CrossEntropy, Fixed).Score(data));
        Assert.NotEqual(-loss, new ImportanceWeightedValidator(RiskLoss.CrossEntropy, Fixed).Score(data), 1e-3);
    }

    [Fact]
    public void Entropies_follow_their_formulas()
    {
        double[][] shares = [.. targetLogits.Select(row => Samples.Softmax(row))];
        double mean = shares.Average(Entropy);
        Samples.AssertClose(-mean, new EntropyValidator().Score(Data()));
        Samples.AssertClose(Entropy([.. Enumerable.Range(0, Classes).Select(c => shares.Average(row => row[c]))]) - mean, new InformationMaximizationValidator().Score(Data()));
    }

    [Fact]
    public void The_nuclear_norm_of_two_classes_is_known_in_closed_form()
    {
        double[][] logits = [.. targetLogits.Select(row => row[..2])];
        double a = 0, b = 0, c = 0;
        foreach (double[] row in logits)
        {
            double[] p = Samples.Softmax(row);
            (a, b, c) = (a + p[0] * p[0], b + p[0] * p[1], c + p[1] * p[1]);
        }
        static ModelOutput Two(double[][] features, double[][] logits, bool labelled) =>
            new(Samples.From(features), Samples.From([.. logits.Select(row => row[..2])]), labelled ? Tensor.From(new int[features.Length]) : null);
        using var data = new ValidationData(Two(trainFeatures, trainLogits, true), Two(heldFeatures, heldLogits, true), Two(targetFeatures, logits, false));
        Samples.AssertClose(Math.Sqrt(a + c + 2 * Math.Sqrt(a * c - b * b)) / Target, new NuclearNormValidator().Score(data));
    }

    [Theory, InlineData(13, 0.05), InlineData(13, 1.0), InlineData(700, 0.05)]
    public void Neighbourhood_density_is_the_entropy_of_similarities_to_others(int rows, double temperature)
    {
        var logits = Logits(rows, 7);
        double[][] unit = [.. logits.Select(row => Samples.Softmax(row)).Select(p => p.Select(x => x / Math.Sqrt(p.Sum(y => y * y))).ToArray())];
        double want = Enumerable.Range(0, rows).Average(i => Entropy(Samples.Softmax(
            [.. Enumerable.Range(0, rows).Where(j => j != i).Select(j => unit[i].Zip(unit[j], (x, y) => x * y).Sum())], temperature)));
        using var data = Make(target: new ModelOutput(Samples.From(Samples.Rows(rows, Width, 8, 0)), Samples.From(logits)));
        Samples.AssertClose(want, new SoftNeighborhoodDensityValidator(temperature).Score(data), 1e-9);
    }

    [Fact]
    public void Distances_of_domains_follow_their_formulas()
    {
        static bool IsHeld(double[] _, int row) => row % 2 == 1;
        var margin = Margin([.. trainFeatures.Where((r, i) => !IsHeld(r, i))], [.. targetFeatures.Where((r, i) => !IsHeld(r, i))], 0.01);
        double error = (trainFeatures.Where(IsHeld).Average(x => margin(x) > 0 ? 1.0 : 0) + targetFeatures.Where(IsHeld).Average(x => margin(x) > 0 ? 0 : 1.0)) / 2;
        Samples.AssertClose(-2 * (1 - 2 * error), new ProxyADistanceValidator(0.01).Score(Data()));
        double[][] all = [.. trainFeatures, .. targetFeatures];
        var mmd = new MaximumMeanDiscrepancy([1], bandwidth: 0.7);
        Samples.AssertClose(-Samples.Mmd(Train, Target, (i, j) => Math.Exp(-Samples.Distance(all[i], all[j]) / 0.7), unbiased: false), new MmdValidator(mmd).Score(Data()));
        double[][] few = [trainFeatures[0], trainFeatures[5], trainFeatures[10], targetFeatures[0], targetFeatures[4], targetFeatures[8]]; // 0, n / 3 and 2 n / 3
        Samples.AssertClose(-Samples.Mmd(3, 3, (i, j) => Math.Exp(-Samples.Distance(few[i], few[j]) / 0.7), unbiased: false), new MmdValidator(mmd, maxRows: 3).Score(Data()));
    }

    [Fact]
    public void The_silhouette_compares_distances_to_the_own_and_the_nearest_class()
    {
        int[] classes = [.. targetLogits.Select(Best)];
        double want = Enumerable.Range(0, Target).Average(i =>
        {
            double Mean(int c) => Enumerable.Range(0, Target).Where(j => j != i && classes[j] == c).Select(j => Math.Sqrt(Samples.Distance(targetFeatures[i], targetFeatures[j]))).DefaultIfEmpty(double.NaN).Average();
            double a = Mean(classes[i]), b = Enumerable.Range(0, Classes).Where(c => c != classes[i]).Select(Mean).Where(double.IsFinite).Min();
            return double.IsNaN(a) ? 0 : (b - a) / Math.Max(a, b);
        });
        Samples.AssertClose(want, new SilhouetteValidator().Score(Data()), 1e-7); // distances are computed through squared norms
    }

    [Fact]
    public void Mutual_information_is_adjusted_by_its_mean_over_all_permutations()
    {
        int[] a = [0, 0, 1, 1, 2, 2, 2], b = [0, 0, 1, 2, 2, 2, 1];
        double expected = Permutations(b.Length).Average(order => Information(a, [.. order.Select(i => b[i])]));
        double want = (Information(a, b) - expected) / ((Information(a, a) + Information(b, b)) / 2 - expected);
        Samples.AssertClose(want, MutualInformation.Adjusted(a, b));
        Samples.AssertClose(want, MutualInformation.Adjusted(b, [.. a.Select(x => 9 - x)]));
        Samples.AssertClose(1, MutualInformation.Adjusted(a, [.. a.Select(x => 2 - x)]));
        Assert.Equal(0, MutualInformation.Adjusted([0, 0, 0], [1, 1, 1]));
    }

    [Fact]
    public void Classes_that_are_clusters_score_1_and_forgotten_classes_less()
    {
        var full = Clouds(c => c);
        var confused = Clouds(c => c == 2 ? 1 : c);
        var collapsed = Clouds(_ => 0);
        Samples.AssertClose(1, new ClassClusterValidator().Score(full));
        Samples.AssertClose(1, new ClassClusterValidator(withSource: true).Score(full));
        Assert.InRange(new ClassClusterValidator().Score(confused), 0.3, 0.8);
        Assert.Equal(0, new ClassClusterValidator().Score(collapsed));
        Assert.InRange(new SilhouetteValidator().Score(full), 0.8, 1);
        Assert.True(new SilhouetteValidator().Score(confused) < new SilhouetteValidator().Score(full));
        Assert.Equal(-1, new SilhouetteValidator().Score(collapsed));
        Assert.Equal(1, new ReverseValidator().Score(full));
        Samples.AssertClose(2 / 3.0, new ReverseValidator().Score(confused));
        Samples.AssertClose(1 / 3.0, new ReverseValidator().Score(collapsed));
        Samples.AssertClose(-2, new ProxyADistanceValidator().Score(full));
    }

    [Theory, MemberData(nameof(Names))]
    public void Scores_do_not_depend_on_the_order_of_rows_or_an_offset_of_logits(string name)
    {
        var validator = All().Single(item => item.Name == name);
        double want = validator.Score(Clouds(c => c));
        Samples.AssertClose(want, validator.Score(Clouds(c => c, reverse: name is not ("a-distance" or "dev" or "iwcv"))), 1e-9); // whose held rows go by position
        Samples.AssertClose(want, validator.Score(Clouds(c => c, offset: 5)), 1e-9);
    }

    [Theory, MemberData(nameof(Names))]
    public void Repeats_its_bits_works_in_float32_and_gives_NaN_for_a_model_that_diverged(string name)
    {
        var validator = All().Single(item => item.Name == name);
        double score = validator.Score(Data());
        Assert.Equal(score, validator.Score(Data()));
        static Tensor Narrow(double[][] rows) => Samples.From(rows).To(ElementType.Float32);
        using var single = new ValidationData(
            new(Narrow(trainFeatures), Narrow(trainLogits), Labels(Train)), new(Narrow(heldFeatures), Narrow(heldLogits), Labels(Held)), new(Narrow(targetFeatures), Narrow(targetLogits)));
        Samples.AssertClose(score, validator.Score(single), 1e-3);
        double[][] diverged = [.. targetFeatures[1..], [1, double.NaN, 0]];
        Assert.Equal(double.NaN, validator.Score(Make(target: new ModelOutput(Samples.From(diverged), Samples.From(targetLogits)))));
        diverged[^1] = [1, double.PositiveInfinity, 0];
        Assert.Equal(double.NaN, validator.Score(Make(target: new ModelOutput(Samples.From(diverged), Samples.From(targetLogits)))));
        Assert.ThrowsAny<OperationCanceledException>(() => validator.Score(Data(), new(true)));
    }

    [Fact]
    public void Mistakes_are_named()
    {
        Tensor features = Samples.From(targetFeatures), logits = Samples.From(targetLogits);
        Assert.Contains("must not see", Assert.Throws<ArgumentException>(() => Make(target: new(features, logits, Labels(Target)))).Message);
        Assert.Contains("no labels", Assert.Throws<ArgumentException>(() => Make(held: new(Samples.From(heldFeatures), Samples.From(heldLogits)))).Message);
        Assert.Contains("[13, 3]", Assert.Throws<ShapeException>(() => Make(target: new(features, Samples.From(heldLogits)))).Message);
        Assert.Throws<ShapeException>(() => Make(target: new(Samples.From(Samples.Rows(Target, 4, 1, 0)), logits)));
        Assert.Contains("label 3", Assert.Throws<ShapeException>(() => Make(held: new(Samples.From(heldFeatures), Samples.From(heldLogits), Tensor.Full([Held], 3, type: ElementType.Int32)))).Message);
        Assert.Throws<ElementTypeException>(() => Make(target: new(features.To(ElementType.Float32), logits)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SoftNeighborhoodDensityValidator(0));
        var lone = Make(target: new(Samples.From(targetFeatures[..1]), Samples.From(targetLogits[..1])));
        Assert.Throws<ShapeException>(() => new SoftNeighborhoodDensityValidator().Score(lone));
        Assert.Throws<ShapeException>(() => new ProxyADistanceValidator().Score(lone));
        Assert.Throws<ShapeException>(() => new DeepEmbeddedValidator().Score(lone));
        Assert.Throws<ArgumentException>(() => new DensityRatio { WeightDecays = [] }.Weights(features, features, features));
    }

    [Fact]
    public void A_validation_set_runs_a_model_in_batches_and_never_reads_target_labels()
    {
        var generator = new Generator(1);
        var features = new Sequential(new Linear(Width, 5, generator: generator), new Dropout(0.5, generator));
        var head = new Linear(5, Classes, generator: generator);
        static TensorDataset Rows(double[][] rows, Tensor labels) => new(Samples.From(rows).To(ElementType.Float32), labels);
        var target = Rows(targetFeatures, Tensor.Full([Target], 77, type: ElementType.Int32));
        var set = new ValidationSet(Rows(trainFeatures, Labels(Train)), Rows(heldFeatures, Labels(Held)), target, batchSize: 4);
        features.Train();
        using var data = set.Evaluate(features, head);
        Assert.True(features.IsTraining);
        features.Eval();
        var whole = features.Forward(target.Inputs);
        Assert.Equal(whole.ToArray<float>(), data.Target.Features.ToArray<float>());
        Assert.Equal(head.Forward(whole).ToArray<float>(), data.Target.Logits.ToArray<float>());
        Assert.Null(data.Target.Labels);
        Assert.Equal(Labels(Held).ToArray<int>(), data.SourceValidation.Labels!.ToArray<int>());
        Assert.Throws<ArgumentException>(() => new ValidationSet(target, target, new Subset(target, [])));
        Assert.ThrowsAny<OperationCanceledException>(() => set.Evaluate(features, head, new(true)));
    }

    private static IEnumerable<Validator> All() =>
    [
        new SourceRiskValidator(), new ImportanceWeightedValidator(ratio: Fixed), new DeepEmbeddedValidator(ratio: Fixed), new EntropyValidator(), new InformationMaximizationValidator(),
        new NuclearNormValidator(), new SoftNeighborhoodDensityValidator(), new ClassClusterValidator(), new ClassClusterValidator(withSource: true), new SilhouetteValidator(), new ReverseValidator(),
        new ProxyADistanceValidator(), new MmdValidator(),
    ];

    private static Tensor Labels(int rows) => Tensor.From([.. Enumerable.Range(0, rows).Select(i => i % Classes)], [rows]);

    private static double[][] Logits(int rows, int seed) => [.. Samples.Rows(rows, Classes, seed, 0).Select(row => row.Select(x => 3 * x).ToArray())];

    private static double Entropy(double[] shares) => -shares.Sum(p => p > 0 ? p * Math.Log(p) : 0);

    private static double Covariance(double[] x, double[] y) => x.Zip(y, (a, b) => (a - x.Average()) * (b - y.Average())).Sum() / (x.Length - 1);

    private static int Best(double[] row) => Array.IndexOf(row, row.Max());

    private static double Information(int[] a, int[] b)
    {
        double n = a.Length;
        return a.Zip(b).CountBy(pair => pair).Sum(pair => pair.Value / n * Math.Log(n * pair.Value / (a.Count(x => x == pair.Key.First) * b.Count(x => x == pair.Key.Second))));
    }

    private static IEnumerable<int[]> Permutations(int n) => n == 0 ? [[]] : Permutations(n - 1).SelectMany(rest => Enumerable.Range(0, n).Select(at => (int[])[.. rest[..at], n - 1, .. rest[at..]]));

    /// <summary>Three tight clouds, one a class, in both domains, the target's elsewhere; <paramref name="predict"/> says what the model makes of a class of the target.</summary>
    private static ValidationData Clouds(Func<int, int> predict, bool reverse = false, double offset = 0)
    {
        const int Rows = 30;
        ModelOutput Make(int seed, double shift, Func<int, int> classify, bool labelled)
        {
            double[][] noise = Samples.Rows(Rows, Width, seed, 0);
            int[] classes = [.. Enumerable.Range(0, Rows).Select(i => i % Classes)];
            double[][] features = [.. noise.Select((row, i) => row.Select((x, j) => 0.3 * x + (j == classes[i] ? 6 : 0) + (j == 0 ? shift : 0)).ToArray())];
            double[][] logits = [.. noise.Select((row, i) => row.Select((x, j) => x + offset + (j == classify(classes[i]) ? 4 : 0)).ToArray())];
            if (reverse)
            {
                Array.Reverse(features);
                Array.Reverse(logits);
                Array.Reverse(classes);
            }
            return new(Samples.From(features), Samples.From(logits), labelled ? Tensor.From(classes) : null);
        }
        return new(Make(1, 0, c => c, true), Make(2, 0, c => c, true), Make(3, -1.5, predict, false));
    }

    /// <summary>Two-class logistic regression by gradient descent on standardised features; the penalty is that of a softmax of two opposite weights.</summary>
    private static Func<double[], double> Margin(double[][] source, double[][] target, double decay)
    {
        double[][] all = [.. source, .. target];
        double[] mean = [.. Enumerable.Range(0, Width).Select(j => all.Average(row => row[j]))];
        double[] deviation = [.. Enumerable.Range(0, Width).Select(j => Math.Sqrt(all.Average(row => (row[j] - mean[j]) * (row[j] - mean[j]))))];
        double[] Standard(double[] row) => [.. row.Select((x, j) => (x - mean[j]) / deviation[j]), 1];
        double[][] rows = [.. all.Select(Standard)];
        var weights = new double[Width + 1];
        for (int step = 0; step < 20000; step++)
        {
            double[] gradient = [.. weights.Select((w, j) => j < Width ? decay * w / 2 : 0)];
            for (int i = 0; i < rows.Length; i++)
            {
                double slope = 1 / (1 + Math.Exp(-rows[i].Zip(weights, (x, w) => x * w).Sum())) - (i < source.Length ? 0 : 1);
                for (int j = 0; j <= Width; j++)
                    gradient[j] += slope * rows[i][j] / rows.Length;
            }
            for (int j = 0; j <= Width; j++)
                weights[j] -= gradient[j];
        }
        return row => Standard(row).Zip(weights, (x, w) => x * w).Sum();
    }

    private double[] Weights(double decay)
    {
        var margin = Margin(trainFeatures, targetFeatures, decay);
        return [.. heldFeatures.Select(row => (double)Train / Target * Math.Exp(margin(row)))];
    }

    private double[] Losses(RiskLoss loss) => [.. heldLogits.Select((row, i) => loss == RiskLoss.ZeroOne ? Best(row) == i % Classes ? 0.0 : 1 : -Math.Log(Samples.Softmax(row)[i % Classes]))];

    private ValidationData Data() => Make();

    private ValidationData Make(ModelOutput? held = null, ModelOutput? target = null) => new(
        new(Samples.From(trainFeatures), Samples.From(trainLogits), Labels(Train)),
        held ?? new(Samples.From(heldFeatures), Samples.From(heldLogits), Labels(Held)),
        target ?? new(Samples.From(targetFeatures), Samples.From(targetLogits)));
}
