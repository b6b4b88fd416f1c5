using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using static TransferEngine.Engine.Tests.Adaptation.PlainNetworks;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>The updates of methods whose networks take turns: their losses in plain doubles, and which networks they change.</summary>
public class AlternatingMethodTests
{
    private static readonly int[] Classes = [0, 1, 2, 2, 0, 1];
    private readonly double[][] s = Rows(6, 3, 1, 0), t = Rows(4, 3, 2, 0.4);
    private readonly Linear features = Net(3, 4, 1), head = Net(4, 3, 2), second = Net(4, 3, 3);

    private AdaptationStep Step(long number = 0, int steps = 1) => Of(features, head, s, Classes, t, number, steps);

    private double[][] First(double[][] rows) => Apply(head, Apply(features, rows));

    private double[][] Second(double[][] rows) => Apply(second, Apply(features, rows));

    [Theory, InlineData(0), InlineData(0.01)]
    public void Mcd_equals_its_formula(double balance)
    {
        double[][] p = [.. First(t).Select(row => Softmax(row))], q = [.. Second(t).Select(row => Softmax(row))];
        double disagreement = p.Zip(q, (a, b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Average()).Average();
        double Balance(double[][] rows) => -Enumerable.Range(0, 3).Average(c => Math.Log(rows.Average(row => row[c]) + 1e-6));
        double classification = CrossEntropy(First(s), Classes) + CrossEntropy(Second(s), Classes) + balance * (Balance(p) + Balance(q));
        var mcd = balance == 0 ? new MaximumClassifierDiscrepancy(second, featureUpdates: 2, weight: 0.7) : MaximumClassifierDiscrepancy.Tllib(second, featureUpdates: 2, weight: 0.7);
        TrainingUpdate[] updates = [.. mcd.Updates(Step())];
        AssertUpdates(updates, (classification, null), (classification - 0.7 * disagreement, [head, second]), (0.7 * disagreement, [features]), (0.7 * disagreement, [features]));
        Assert.Equal([true, false, false, false], updates.Select(update => update.IsReported));
        double[] answer = mcd.Predict(Step().Run, From(t)).ToArray<double>();
        for (int i = 0; i < answer.Length; i++)
            AssertClose((First(t)[i / 3][i % 3] + Second(t)[i / 3][i % 3]) / 2, answer[i]);
    }

    [Fact]
    public void Mcd_is_differentiable_and_takes_another_discrepancy()
    {
        foreach (var parameter in new[] { features.Weight, head.Weight, second.Weight })
        {
            for (int kind = 0; kind < 3; kind++)
                CheckParameter(parameter, () => MaximumClassifierDiscrepancy.Tllib(second, featureUpdates: 1).Updates(Step()).ElementAt(kind).Loss);
        }
        var coral = new MaximumClassifierDiscrepancy(second, discrepancy: new DeepCoral());
        AssertClose(new DeepCoral().Forward(From([.. First(t).Select(row => Softmax(row))]), From([.. Second(t).Select(row => Softmax(row))])).Item(), coral.Disagreement(Step()).Item());
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Equal_heads_that_normalise_by_the_batch_agree(bool isJoint)
    {
        Sequential first = new(Net(4, 3, 2), new BatchNorm1d(3, type: ElementType.Float64)), other = new(Net(4, 3, 2), new BatchNorm1d(3, type: ElementType.Float64));
        var step = new AdaptationStep(new AdaptationRun(features, first) { IsJoint = isJoint },
            new DomainBatch([new(From(s), Tensor.From(Classes)), new(From(Rows(5, 3, 6, -0.2)), Tensor.From([1, 1, 0, 2, 2]))], From(t)), 0);
        var mcd = new MaximumClassifierDiscrepancy(other);
        double single = step.SourceLogits.CrossEntropy(step.SourceTargets).Item();
        AssertClose(2 * single, mcd.SourceLoss(step).Item());
        AssertClose(0, mcd.Disagreement(step).Item());
        AssertClose(2 * single, mcd.Updates(step).ElementAt(1).Loss.Item());
        // An open-set head, too, sees the target in the batch that its logits are from.
        AssertClose(new OpenSetBackpropagation().Boundary(step.TargetLogits).Item(), new OpenSetBackpropagation().Loss(step)!.Item());
    }

    [Fact]
    public void Swd_sorts_the_projections_of_both_heads_probabilities()
    {
        double[][] p = [.. First(t).Select(row => Softmax(row))], q = [.. Second(t).Select(row => Softmax(row))];
        double[] drawn = Tensor.Normal([5, 3], generator: new(9), type: ElementType.Float64).ToArray<double>();
        double want = Enumerable.Range(0, 5).Average(direction =>
        {
            double[] axis = drawn[(3 * direction)..(3 * direction + 3)];
            double length = Math.Sqrt(axis.Sum(x => x * x));
            double[] Sorted(double[][] rows) => [.. rows.Select(row => row.Zip(axis, (x, y) => x * y).Sum() / length).Order()];
            return Sorted(p).Zip(Sorted(q), (x, y) => (x - y) * (x - y)).Average();
        });
        MaximumClassifierDiscrepancy Make() => MaximumClassifierDiscrepancy.SlicedWasserstein(second, featureUpdates: 1, weight: 0.7, projections: 5, generator: new(9));
        AssertClose(want, Make().Disagreement(Step()).Item());
        foreach (var parameter in new[] { features.Weight, head.Weight, second.Weight })
            CheckParameter(parameter, () => Make().Disagreement(Step()));
        Assert.Equal("swd", Make().Name);
    }

    [Fact]
    public void Adda_learns_the_source_then_the_discriminator_then_the_target_with_inverted_labels()
    {
        var d = Net(4, 1, 5);
        var adda = new Adda(d, pretraining: 0.5);
        AssertUpdates([.. adda.Updates(Step(4, 10))], (CrossEntropy(First(s), Classes), null));
        double[][] kept = Apply(features, s);
        TrainingUpdate[] updates = [.. adda.Updates(Step(5, 10))];
        double Discriminated() => -kept.Average(row => LogSigmoid(Apply(d, row)[0])) - Apply(features, t).Average(row => LogSigmoid(-Apply(d, row)[0]));
        double Inverted() => -Apply(features, t).Average(row => LogSigmoid(Apply(d, row)[0]));
        AssertUpdates(updates, (Discriminated(), [d]), (Inverted(), [features]));
        // When the features move on, the source's stay what they were.
        features.Weight.Assign(features.Weight * 1.5);
        AssertUpdates([.. adda.Updates(Step(6, 10))], (Discriminated(), [d]), (Inverted(), [features]));
        CheckParameter(d.Weight, () => adda.Updates(Step(7, 10)).First().Loss);
        CheckParameter(features.Weight, () => adda.Updates(Step(7, 10)).Last().Loss);
        adda.Begin(Step().Run);
        AssertUpdates([.. adda.Updates(Step(0, 10))], (CrossEntropy(First(s), Classes), null));
    }

    [Fact]
    public void Addas_discriminator_sees_logits_where_the_features_are_the_whole_network()
    {
        var d = Net(3, 1, 5);
        Sequential whole = new(features, head);
        var adda = new Adda(d, pretraining: 0);
        AdaptationStep Step() => Of(whole, new Function(x => x), s, Classes, t);
        double discriminated = -First(s).Average(row => LogSigmoid(Apply(d, row)[0])) - First(t).Average(row => LogSigmoid(-Apply(d, row)[0]));
        AssertUpdates([.. adda.Updates(Step())], (discriminated, [d]), (-First(t).Average(row => LogSigmoid(Apply(d, row)[0])), [whole]));
        CheckParameter(head.Weight, () => adda.Updates(Step()).Last().Loss);
    }

    [Fact]
    public void Tllibs_adda_is_one_update_through_a_reversal_that_grows_to_two()
    {
        var d = Net(4, 1, 5);
        var adda = Adda.Tllib(d, pretraining: 0);
        double want = (-Apply(features, s).Average(row => LogSigmoid(Apply(d, row)[0])) - Apply(features, t).Average(row => LogSigmoid(-Apply(d, row)[0]))) / 2;
        double[] Gradient() => Tensor.Gradients(adda.Updates(Step(1, 10)).Single().Loss, [features.Weight])[0].ToArray<double>();
        AssertUpdates([.. adda.Updates(Step(1, 10))], (want, [d, features]));
        double[] first = Gradient(), second = Gradient();
        double Reversal(int i) => 2 * (2 / (1 + Math.Exp(-i / 1000.0)) - 1);
        for (int i = 0; i < first.Length; i++)
            AssertClose(first[i] / Reversal(1), second[i] / Reversal(2), 1e-9);
    }

    [Theory, InlineData(4), InlineData(6)]
    public void Wdgrl_equals_its_formula(int m)
    {
        double[][] target = Rows(m, 3, 2, 0.4);
        Linear hidden = Net(4, 5, 6), outer = Net(5, 1, 7);
        var critic = new Sequential(hidden, new Function(x => x.Tanh()), outer);
        double Critic(double[] row) => Apply(outer, Apply(hidden, row).Select(Math.Tanh).ToArray())[0];
        double[][] fs = Apply(features, s), ft = Apply(features, target);
        double distance = fs.Average(Critic) - ft.Average(Critic);
        double[] shares = Tensor.Uniform([6, 1], generator: new(9), type: ElementType.Float64).ToArray<double>();
        double[][] between = [.. shares.Select((share, i) => ft[i % m].Zip(fs[i], (x, y) => x + share * (y - x)).ToArray())];
        double Slope(double[] x) => Math.Sqrt(Enumerable.Range(0, 4).Sum(i =>
        {
            double Moved(double by) => Critic([.. x.Select((value, at) => at == i ? value + by : value)]);
            double slope = (Moved(1e-5) - Moved(-1e-5)) / 2e-5;
            return slope * slope;
        }));
        double penalty = fs.Concat(ft).Concat(between).Average(x => Math.Pow(Slope(x) - 1, 2));
        WassersteinCritic Make() => new(critic, weight: 0.3, updates: 2, penalty: 7, generator: new(9));
        var step = Of(features, head, s, Classes, target);
        AssertClose(distance, Make().Distance(From(fs), From(ft)).Item());
        AssertClose(penalty, Make().Penalty(From(fs), From(ft)).Item(), 1e-8);
        TrainingUpdate[] updates = [.. Make().Updates(step)];
        Assert.Equal(3, updates.Length);
        AssertClose(7 * penalty - distance, updates[0].Loss.Item(), 1e-8);
        AssertClose(CrossEntropy(First(s), Classes) + 0.3 * distance, updates[2].Loss.Item());
        Assert.Equal([[critic], [critic], [features, head]], updates.Select(update => update.Parts!));
        foreach (var parameter in critic.Parameters())
            CheckParameter(parameter, () => Make().Updates(step).First().Loss, step: 1e-5, tolerance: 1e-6);
        foreach (var parameter in new[] { features.Weight, head.Weight })
            CheckParameter(parameter, () => Make().Updates(Of(features, head, s, Classes, target)).Last().Loss);
    }

    [Fact]
    public void A_linear_critics_penalty_is_that_of_its_weights()
    {
        var critic = Net(3, 1, 5);
        double norm = Math.Sqrt(critic.Weight.ToArray<double>().Sum(w => w * w));
        AssertClose(Math.Pow(norm - 1, 2), new WassersteinCritic(critic).Penalty(From(s), From(t)).Item());
    }

    [Theory, InlineData(0), InlineData(0.5)]
    public void Dann_by_turns_equals_domain_beds(double penalty)
    {
        double[][] other = Rows(5, 3, 6, -0.2);
        int[] otherClasses = [1, 1, 0, 2, 2];
        Linear d = Net(4, 3, 5);
        AdaptationStep Step(long number) => new(new AdaptationRun(features, head), new DomainBatch([new(From(s), Tensor.From(Classes)), new(From(other), Tensor.From(otherClasses))], From(t)), number);
        (double[] Row, int Domain)[] rows = [.. Apply(features, s).Select(row => (row, 0)), .. Apply(features, other).Select(row => (row, 1)), .. Apply(features, t).Select(row => (row, 2))];
        double[] weight = d.Weight.ToArray<double>();
        double Slope(double[] row, int domain)
        {
            double[] p = Softmax(Apply(d, row));
            return Enumerable.Range(0, 4).Sum(i => Math.Pow(Enumerable.Range(0, 3).Sum(o => (p[o] - (o == domain ? 1 : 0)) * weight[o * 4 + i]), 2));
        }
        double discriminated = -rows.Average(row => Math.Log(Softmax(Apply(d, row.Row))[row.Domain])) + penalty * rows.Average(row => Slope(row.Row, row.Domain));
        double classified = CrossEntropy([.. First(s), .. First(other)], [.. Classes, .. otherClasses]);
        var dann = new AlternatingDomainAdversary(d, weight: 0.7, discriminatorSteps: 2, penalty: penalty);
        AssertUpdates([.. dann.Updates(Step(0))], (discriminated, [d]));
        AssertUpdates([.. dann.Updates(Step(1))], (classified - 0.7 * discriminated, [features, head]));
        AssertUpdates([.. dann.Updates(Step(2))], (discriminated, [d]));
        CheckParameter(d.Weight, () => dann.Updates(Step(0)).Single().Loss);
        CheckParameter(features.Weight, () => dann.Updates(Step(1)).Single().Loss);
        var once = new AlternatingDomainAdversary(d);
        Assert.Equal([features, head], once.Updates(Step(0)).Single().Parts!);
        Assert.Equal([d], once.Updates(Step(1)).Single().Parts!);
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new MaximumClassifierDiscrepancy(second, featureUpdates: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MaximumClassifierDiscrepancy(second, weight: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Adda(second, pretraining: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new WassersteinCritic(second, updates: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new WassersteinCritic(second, penalty: -1));
        Assert.Contains("no inputs", Assert.Throws<InvalidOperationException>(() => new AdaptationStep(From(s), From(s), Tensor.From(Classes), From(t), From(t), 0).TargetInput).Message);
    }

    internal static void AssertUpdates(TrainingUpdate[] updates, params (double Loss, Module[]? Parts)[] wanted)
    {
        Assert.Equal(wanted.Length, updates.Length);
        foreach (var (update, want) in updates.Zip(wanted))
        {
            AssertClose(want.Loss, update.Loss.Item());
            Assert.Equal(want.Parts, update.Parts);
        }
    }
}
