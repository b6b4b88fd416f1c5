using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Losses of labels that a network gives itself, in plain doubles, and what the methods gain on a shifted domain.</summary>
public class SelfTrainingTests
{
    private static readonly double[][] Logits = [[3, 0, 0], [0.2, 0, 0.1], [0, 2.5, 0], [0, 4, 1], [-1, 0, 3]], Others = [[1, 0, 0.5], [2, 1, 0], [0.3, 0, 0], [1, 1, 0], [0, 0.2, 0.4]];

    [Theory, InlineData(0.0), InlineData(0.9), InlineData(0.95)]
    public void Pseudo_labels_count_from_their_threshold_on(double threshold)
    {
        double Loss(double[][] labelling, double[][] logits) => labelling.Zip(logits, (from, row) =>
        {
            double[] p = Softmax(from);
            return p.Max() >= threshold ? -Math.Log(Softmax(row)[Array.IndexOf(p, p.Max())]) : 0;
        }).Average();
        AssertClose(Loss(Logits, Logits), new PseudoLabeling(threshold: threshold).Forward(From(Logits)).Item());
        AssertClose(Loss(Logits, Others), new FixMatch(threshold: threshold).Forward(From(Logits), From(Others)).Item());
    }

    [Fact]
    public void Thresholds_per_class_follow_what_was_learned_of_the_class()
    {
        var method = new FixMatch(threshold: 0.9, perClass: true);
        double[] learned = new double[3];
        double[][][] batches = [Logits, Others, Logits, [[0, 0.1, 0], [5, 0, 0]], Others];
        foreach (double[][] batch in batches)
        {
            double unused = 1 - learned.Sum(), most = Math.Max(learned.Max(), unused), want = 0;
            double[] reached = new double[3];
            foreach (double[] row in batch)
            {
                double[] p = Softmax(row);
                int label = Array.IndexOf(p, p.Max());
                double beta = learned[label] / most;
                if (p.Max() >= 0.9 * beta / (2 - beta))
                    want -= Math.Log(Softmax([.. row.Reverse()])[label]) / batch.Length;
                if (p.Max() >= 0.9)
                    reached[label] += 1.0 / batch.Length;
            }
            learned = [.. learned.Zip(reached, (old, now) => 0.99 * old + 0.01 * now)];
            AssertClose(want, method.Forward(From(batch), From([.. batch.Select(row => row.Reverse().ToArray())])).Item());
        }
        // A new training begins anew.
        method.Begin(new AdaptationRun(new Identity(), new Identity()));
        AssertClose(new FixMatch(threshold: 0).Forward(From(Logits), From(Others)).Item(), method.Forward(From(Logits), From(Others)).Item());
    }

    [Fact]
    public void Labels_and_teachers_are_constant()
    {
        CheckGradient((s, _) => new PseudoLabeling(threshold: 0.4).Forward(s * 3));
        var taught = From(Rows(6, 3, 2, 0.4)) * 2;
        CheckGradient((s, t) => new FixMatch(threshold: 0.4).Forward(taught.To(s.ElementType), s) + new MeanTeacher(threshold: 0.4, classBalance: 0.1).Forward(t, taught.To(s.ElementType)));
        var teacher = From(Logits);
        teacher.RequiresGrad = true;
        Assert.False(new MeanTeacher().Forward(From(Others), teacher).RequiresGrad);
        Assert.False(new FixMatch().Forward(teacher, From(Others)).RequiresGrad);
    }

    [Theory, InlineData(0.0), InlineData(0.9)]
    public void Mean_teachers_consistency_equals_its_formula(double threshold)
    {
        double want = Others.Zip(Logits, (student, teacher) => Softmax(teacher).Max() >= threshold ? Distance(Softmax(student), Softmax(teacher)) : 0).Average() / 3;
        AssertClose(want, new MeanTeacher(threshold: threshold).Forward(From(Others), From(Logits)).Item());
        double counted = Logits.Average(teacher => Softmax(teacher).Max() >= threshold ? 1.0 : 0);
        double imbalance = Enumerable.Range(0, 3).Select(c => Others.Average(student => Softmax(student)[c])).Sum(b => -(Math.Log(b + 1e-6) + 2 * Math.Log(1 - b + 1e-6)) / 3);
        AssertClose(want + 0.005 * counted * imbalance, new MeanTeacher(threshold: threshold, classBalance: 0.005).Forward(From(Others), From(Logits)).Item());
        Assert.Equal(Math.Exp(-5 * 0.25), WeightSchedule.GaussianRampUp(0.4)(0.2), 12);
        Assert.Equal(1, WeightSchedule.GaussianRampUp(0.4)(0.6));
    }

    [Fact]
    public void A_teacher_is_the_running_average_and_answers()
    {
        var head = new Linear(2, 3, generator: new(1));
        using var method = new MeanTeacher(decay: 0.5);
        float[] average = head.Weight.ToArray<float>();
        var data = Domains(1, null);
        method.Begin(new AdaptationRun(new Identity(), head));
        var run = new AdaptationRun(new Identity(), head) { Steps = 4, Data = data };
        for (int step = 0; step < 4; step++)
        {
            using (new NoGrad())
                head.Weight.Assign(head.Weight + 0.5f);
            method.AfterStep(new AdaptationStep(run, data.First(), step));
            double kept = Math.Min(1 - 1.0 / (step + 2), 0.5);
            average = [.. average.Zip(head.Weight.ToArray<float>(), (a, w) => (float)(kept * a + (1 - kept) * w))];
        }
        float[] own = head.Weight.ToArray<float>();
        float[] answer = method.Predict(run, Tensor.Eye(2)).ToArray<float>(), bias = head.Bias!.ToArray<float>();
        for (int i = 0; i < 6; i++)
            Assert.Equal(average[i % 3 * 2 + i / 3] + bias[i % 3], answer[i], 5);
        Assert.Equal(own, head.Weight.ToArray<float>());
    }

    [Fact]
    public void The_adversarial_direction_is_that_of_the_most_curvature()
    {
        // Of a linear network the divergence is ½ rᵀ Wᵀ (diag p - p pᵀ) W r to second order: power iterations end at the greatest eigenvector, of either sign.
        double[][] w = Rows(3, 2, 5, 0), x = Rows(4, 2, 6, 0);
        var weight = From(w);
        Tensor Network(Tensor rows) => rows.MatMul(weight.Transpose()) * 2;
        double[] Scores(double[] row) => [.. w.Select(line => 2 * line.Zip(row, (a, b) => a * b).Sum())];
        double Divergence(double[] row, double[] moved) => Softmax(Scores(row)).Zip(Softmax(Scores(moved)), (p, q) => p * Math.Log(p / q)).Sum();
        double most = 0, least = 0;
        foreach (double[] row in x)
        {
            double[] p = Softmax(Scores(row));
            double H(int i, int j) => 4 * (Enumerable.Range(0, 3).Sum(c => p[c] * w[c][i] * w[c][j]) - Enumerable.Range(0, 3).Sum(c => p[c] * w[c][i]) * Enumerable.Range(0, 3).Sum(c => p[c] * w[c][j]));
            double angle = Math.Atan2(2 * H(0, 1), H(0, 0) - H(1, 1)) / 2;
            double[] signs = [.. new[] { 0.3, -0.3 }.Select(length => Divergence(row, [row[0] + length * Math.Cos(angle), row[1] + length * Math.Sin(angle)]))];
            most += signs.Max() / 4;
            least += signs.Min() / 4;
        }
        double got = new VirtualAdversarialLoss(0.3, 1e-4, iterations: 200, generator: new(2)).Forward(Network, From(x), Network(From(x))).Item();
        Assert.InRange(got, least - 1e-6, most + 1e-6);
        Assert.True(most - least < 0.2 * most); // so that the range tells something
        // One iteration finds more than chance does.
        Assert.True(got > new VirtualAdversarialLoss(1e-9, generator: new(2)).Forward(Network, From(x), Network(From(x))).Item());
    }

    [Fact]
    public void Smoothness_is_learned_through_the_moved_rows_alone()
    {
        var (weight, x) = (From(Rows(2, 3, 5, 0)), From(Rows(4, 2, 6, 0)));
        weight.RequiresGrad = true;
        Tensor? moved = null;
        Tensor Network(Tensor rows) => (moved = rows).MatMul(weight);
        var loss = new VirtualAdversarialLoss(0.5, generator: new(2)).Forward(Network, x, Network(x));
        double[] got = Tensor.Gradients(loss, [weight])[0].ToArray<double>();
        // With the change that it found, and the prediction of the unmoved rows, held constant.
        var (at, clean) = (moved!.Detach(), x.MatMul(weight).Detach());
        foreach (double length in (at - x).Norm(2, [1]).ToArray<double>())
            AssertClose(0.5, length, 1e-9);
        double[] want = Tensor.Gradients(VirtualAdversarialLoss.Divergence(clean, at.MatMul(weight)), [weight])[0].ToArray<double>();
        for (int i = 0; i < want.Length; i++)
            AssertClose(want[i], got[i]);
        Assert.Equal(loss.Item(), new VirtualAdversarialLoss(0.5, generator: new(2)).Forward(Network, x, Network(x)).Item());
    }

    public static TheoryData<string> Methods => ["pseudo-labels", "pseudo-labels per class", "fixmatch", "flexmatch", "mean-teacher", "vat", "vada", "dirt-t", "can", "can of the authors", "cdcl"];

    [Theory, MemberData(nameof(Methods))]
    public void Methods_gain_on_a_shifted_domain_without_its_labels(string name)
    {
        double source = Adapted(new SourceOnly()), adapted = Adapted(Make(name));
        Assert.True(adapted > source + 0.05, $"{name}: {adapted} adapted, {source} by the source alone");
        Assert.Equal(adapted, Adapted(Make(name)));
    }

    /// <summary>Tells which labels the rows of each step had, and what is wanted at the first.</summary>
    private sealed class LabelProbe(Func<int[]> want) : ClusteredMethod("probe", 1, null, distanceThreshold: 0.02, classThreshold: 3)
    {
        public int[] Wanted { get; private set; } = [];

        public List<(IReadOnlyList<int> Rows, int[] Labels)> Steps { get; } = [];

        protected override Tensor Measure(AdaptationStep step, Tensor targetLabels, int classes)
        {
            if (Steps.Count == 0)
                Wanted = want();
            Steps.Add((step.TargetRows.ToArray(), targetLabels.ToArray<int>()));
            return step.TargetFeatures.Sum() * 0;
        }
    }

    [Fact]
    public void A_rows_label_stands_for_a_pass_and_is_that_of_its_features_in_evaluation()
    {
        // With batch normalisation and dropout the features of a training step say something else, and a large learning rate moves them on.
        var (features, head) = Blobs.Trained();
        var data = Domains(Shift, null);
        var probe = new LabelProbe(() =>
        {
            using var recording = new NoGrad();
            var putBack = features.Evaluate();
            var (input, label) = Blobs.Draw(256, 5, false);
            Tensor source = features.Forward(input), target = features.Forward(Blobs.Draw(320, 7, true, shift: Shift).Input);
            var (classes, distances) = SphericalClusters.Nearest(target, SphericalClusters.Fit(target, SphericalClusters.Centres(source, label, Blobs.Classes)));
            putBack();
            return [.. classes.ToArray<int>().Zip(distances.ToArray<float>(), (c, distance) => distance < 0.02f ? c : -1)];
        });
        new Adapter(features, head, probe).Fit(data, new() { Steps = 10, Optimizer = parameters => new Adam(parameters, 0.05) });
        int[] want = probe.Wanted;
        Assert.Contains(-1, want);
        Assert.All(Enumerable.Range(0, Blobs.Classes), c => Assert.True(want.Count(label => label == c) >= 3));
        Assert.Equal(5, data.Target!.Count);
        Assert.Equal(Enumerable.Range(0, 320), probe.Steps[..5].SelectMany(step => step.Rows).Order());
        foreach (var (rows, labels) in probe.Steps[..5])
            Assert.Equal(rows.Select(row => want[row]), labels);
        // The second pass has labels of its own.
        Assert.Contains(probe.Steps[5..], step => !step.Rows.Select(row => want[row]).SequenceEqual(step.Labels));
        var unknown = new AdaptationStep(new AdaptationRun(features, head), new DomainBatch(data.First().Sources[0], Tensor.Zeros([4, 2])), 0);
        Assert.Contains("DomainBatch.TargetRows", Assert.Throws<InvalidOperationException>(() => probe.Loss(unknown)).Message);
    }

    [Fact]
    public void Views_that_are_missing_are_named() => Assert.Contains("DataLoaderSettings.Views", Assert.Throws<InvalidOperationException>(() =>
        new Adapter(new Identity(), new Linear(2, 3), new FixMatch()).Fit(Domains(1, null), new() { Steps = 1 })).Message);

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new PseudoLabeling(threshold: 1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MeanTeacher(decay: 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MeanTeacher(classBalance: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new FixMatch(averageDecay: 1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DirtT(averageDecay: double.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => new VirtualAdversarialTraining(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Vada(new SourceOnly(), targetWeight: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DirtT(interval: 0));
        Assert.Throws<ShapeException>(() => new FixMatch().Forward(Tensor.Zeros([2, 3]), Tensor.Zeros([3, 3])));
        Assert.Throws<InvalidOperationException>(() => new DirtT().Updates(new AdaptationStep(new AdaptationRun(new Identity(), new Identity()), Domains(1, null).First(), 0)).First());
    }

    private static AdaptationMethod Make(string name) => name switch
    {
        "pseudo-labels" => new PseudoLabeling(),
        "pseudo-labels per class" => new PseudoLabeling(perClass: true),
        "fixmatch" => new FixMatch(),
        "flexmatch" => new FixMatch(perClass: true),
        "mean-teacher" => new MeanTeacher(decay: 0.9, teacherPredicts: false),
        "vat" => new VirtualAdversarialTraining(0.5, generator: new(4)),
        "vada" => new Vada(new DomainAdversary(new Linear(8, 1, generator: new(9)), 1), radius: 0.5, adversaryWeight: 0.1, targetWeight: 0.3, generator: new(4)),
        "dirt-t" => new DirtT(0.5, targetWeight: 0.3, interval: 50, generator: new(4)),
        "can" => new ContrastiveAdaptation(distanceThreshold: 0.3),
        "can of the authors" => ContrastiveAdaptation.Authors(distanceThreshold: 0.3),
        _ => new ContrastiveLearning(),
    };

    /// <summary>The accuracy on fresh rows of the shifted domain of a network that knew the source and was trained on by a method.</summary>
    private static double Adapted(AdaptationMethod method)
    {
        var (features, head) = Blobs.Trained(isNormalised: false);
        var adapter = new Adapter(features, head, method);
        adapter.Fit(Domains(Shift, new Jitter()), new() { Steps = 300 });
        var (x, y) = Blobs.Draw(600, 9, true, shift: Shift);
        double accuracy = Blobs.Accuracy(adapter.Logits(x).Detach(), y);
        (method as IDisposable)?.Dispose();
        return accuracy;
    }

    private const double Shift = 1.6;

    private static DomainLoader Domains(double shift, ITransform? view)
    {
        var (sourceInput, sourceLabel) = Blobs.Draw(256, 5, false);
        // Were target labels read anywhere, class 77 would be an error.
        var target = new TensorDataset(Blobs.Draw(320, 7, true, shift: shift).Input, Tensor.Full([320], 77, type: ElementType.Int32));
        return new(new DataLoader(new TensorDataset(sourceInput, sourceLabel), new() { BatchSize = 64, Shuffle = true, DropLast = true }),
            new DataLoader(target, new() { BatchSize = 64, Shuffle = true, DropLast = true, Views = view is null ? [] : [view] }));
    }

    /// <summary>Moves a point a little.</summary>
    private sealed class Jitter : ITransform
    {
        public Shape Output(Shape row) => row;

        public void Apply(ReadOnlySpan<float> row, Shape shape, Span<float> result, Generator random)
        {
            for (int i = 0; i < row.Length; i++)
                result[i] = row[i] + 0.6f * (float)(random.NextDouble() + random.NextDouble() - 1);
        }
    }
}
