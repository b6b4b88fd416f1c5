using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Modules;
using TransferEngine.Training;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>What the training loop promises to methods of every kind.</summary>
public class AdaptationLoopTests
{
    [Fact]
    public void Updates_change_their_parts_alone_one_after_the_other_and_see_the_new_weights()
    {
        var (adapter, data) = Make(new Alternating(), out var method);
        float[][] Weights() => [.. new[] { adapter.Features, adapter.Head, method.Own }.Select(module => module.Parameters().SelectMany(p => p.ToArray<float>()).ToArray())];
        float[][] before = Weights();
        var states = new List<float[][]>();
        method.Between = () => states.Add(Weights());
        var result = adapter.Fit(data, new() { Steps = 1, ReportEvery = 1 });
        Assert.Equal(3, states.Count); // after each of the three updates
        AssertChanged([true, true, true], before, states[0]);
        AssertChanged([false, false, true], states[0], states[1]);
        AssertChanged([true, false, false], states[1], states[2]);
        Assert.NotEqual(method.Seen[0], method.Seen[2]); // the features were computed anew
        Assert.Equal(1, method.StepsEnded);
        Assert.Equal(1, method.Begun);

        static void AssertChanged(bool[] wanted, float[][] one, float[][] other) => Assert.Equal(wanted, one.Zip(other, (a, b) => !a.SequenceEqual(b)));
    }

    [Fact]
    public void Only_reported_losses_are_reported()
    {
        var losses = new List<double>();
        var (adapter, data) = Make(new Alternating(), out var method);
        adapter.Fit(data, new() { Steps = 1, ReportEvery = 1 }, new Reports(losses));
        Assert.Equal(method.Reported[0], losses[0], 5);
    }

    [Fact]
    public void Networks_of_a_method_have_rates_and_optimisers_of_their_own()
    {
        // Plain descent of the sum of all weights: each moves by its rate.
        foreach (var (own, rate) in new (Func<Module, MethodModule>, double)[]
        {
            (module => module, 0.1), (module => new(module, LearningRateFactor: 10), 1), (module => new(module, Optimizer: parameters => new Sgd(parameters, 0.03)), 0.03),
        })
        {
            var (adapter, data) = Make(new SumOfWeights(own), out var method);
            float[] before = Values(method.Own), features = Values(adapter.Features);
            adapter.Fit(data, new() { Steps = 1, Optimizer = parameters => new Sgd(parameters, 0.1) });
            Assert.All(before.Zip(Values(method.Own)), pair => Assert.Equal(rate, pair.First - pair.Second, 5));
            Assert.All(features.Zip(Values(adapter.Features)), pair => Assert.Equal(0.1, pair.First - pair.Second, 5));
        }

        static float[] Values(Module module) => [.. module.Parameters().SelectMany(p => p.ToArray<float>())];
    }

    [Fact]
    public void A_joint_optimizer_saves_and_loads_the_state_of_all()
    {
        Tensor a = Leaf([1f, 2f]), b = Leaf([3f]);
        JointOptimizer Make(Tensor x, Tensor y) => new(new Adam([x], 0.1), new Sgd([y], 0.1, momentum: 0.9));
        var first = Make(a, b);
        Step(first, a, b);
        Tensor c = Leaf(a.ToArray<float>()), d = Leaf(b.ToArray<float>());
        var second = Make(c, d);
        second.LoadStateDict(first.StateDict());
        Step(first, a, b);
        Step(second, c, d);
        Assert.Equal(a.ToArray<float>(), c.ToArray<float>());
        Assert.Equal(b.ToArray<float>(), d.ToArray<float>());
        Assert.Throws<ArgumentException>(() => new JointOptimizer());

        static Tensor Leaf(float[] values)
        {
            var leaf = Tensor.From(values);
            leaf.RequiresGrad = true;
            return leaf;
        }

        static void Step(Optimizer optimizer, Tensor x, Tensor y)
        {
            (x.Square().Sum() + y.Square().Sum()).Backward();
            optimizer.Step();
            optimizer.ZeroGrad();
        }
    }

    [Fact]
    public void Several_sources_go_through_in_one_batch_and_are_told_apart()
    {
        var sizes = new List<int[]>();
        var method = new Looking(step =>
        {
            sizes.Add([.. step.Sources.Select(source => source.Features.Shape[0]), step.SourceLogits.Shape[0], step.TargetFeatures.Shape[0]]);
            Assert.Equal(step.SourceTargets.ToArray<int>(), step.Sources.SelectMany(source => source.Targets.ToArray<int>()));
            Assert.Equal(step.Run.Features.Forward(step.Sources[1].Input).ToArray<float>(), step.Sources[1].Features.ToArray<float>());
        });
        foreach (bool separate in new[] { false, true })
        {
            var adapter = new Adapter(new Linear(2, 4, generator: new(1)), new Linear(4, 3, generator: new(2)), method);
            adapter.Fit(new DomainLoader([Loader(40, 1, 8), Loader(12, 2, 4)], Loader(30, 3, 5)), new() { Steps = 2, SeparateBatches = separate });
        }
        Assert.All(sizes, its => Assert.Equal([8, 4, 12, 5], its));
        Assert.Equal(4, sizes.Count);
    }

    [Fact]
    public void A_method_without_a_target_needs_none_and_one_with_a_target_says_so()
    {
        var sources = new DomainLoader([Loader(12, 1, 4), Loader(12, 2, 4)], null);
        var result = new Adapter(new Linear(2, 4), new Linear(4, 3), new SourceOnly()).Fit(sources, new() { Steps = 3 });
        Assert.Equal(TrainingEnd.Completed, result.End);
        Assert.Contains("has none", Assert.Throws<ArgumentException>(() => new Adapter(new Linear(2, 4), new Linear(4, 3), new MinimumClassConfusion()).Fit(sources)).Message);
    }

    [Fact]
    public void Views_are_of_the_same_rows_and_repeat()
    {
        var data = new TensorDataset(Tensor.From([.. Enumerable.Range(0, 6 * 4).Select(i => (float)i)], [6, 1, 2, 2]), Tensor.Zeros([6], type: ElementType.Int32));
        DataLoader Loader() => new(data, new() { BatchSize = 3, Shuffle = true, Views = [new RandomHorizontalFlip(1), new RandomVerticalFlip(1)] });
        using var batch = new DomainLoader(Loader(), Loader()).First();
        float[] x = batch.TargetInput!.ToArray<float>(), flipped = batch.TargetViews[0].ToArray<float>(), down = batch.TargetViews[1].ToArray<float>();
        for (int i = 0; i < x.Length; i++)
        {
            Assert.Equal(x[i], flipped[i ^ 1]);
            Assert.Equal(x[i], down[i ^ 2]);
        }
        Assert.Equal(2, batch.Sources[0].Views.Count);
        Assert.Empty(Loader().InOrder().First().Views);
    }

    [Fact]
    public void Shadow_weights_swap_in_follow_and_come_back()
    {
        var module = new Sequential(new Linear(1, 1, generator: new(1)), new BatchNorm1d(1));
        using var shadow = new ShadowWeights(module);
        var weight = module.Parameters().First();
        float before = weight.ToArray<float>()[0];
        using (new NoGrad())
            weight.Assign(weight + 1);
        var x = Tensor.From([2f], [1, 1]);
        module.Eval();
        var recorded = module.Forward(x).Sum(); // saved values survive a swap
        using (shadow.SwapIn())
            Assert.Equal(before, weight.ToArray<float>()[0]);
        Assert.Equal(before + 1, weight.ToArray<float>()[0]);
        recorded.Backward();
        shadow.Follow(0.75);
        using (shadow.SwapIn())
            Assert.Equal(before + 0.25f, weight.ToArray<float>()[0], 5);
        shadow.Restore();
        Assert.Equal(before + 0.25f, weight.ToArray<float>()[0], 5);
        Assert.Throws<ArgumentOutOfRangeException>(() => shadow.Follow(1.5));
    }

    [Fact]
    public void Backward_to_some_leaves_leaves_the_others_alone()
    {
        Tensor a = Tensor.From([2f]), b = Tensor.From([3f]);
        (a.RequiresGrad, b.RequiresGrad) = (true, true);
        (a * b).Sum().Backward(inputs: [a]);
        (a * b).Sum().Backward(inputs: [a]);
        Assert.Equal(6, a.Grad!.Item());
        Assert.Null(b.Grad);
        Assert.Contains("no leaf", Assert.Throws<AutogradException>(() => (a * b).Sum().Backward(inputs: [a * b])).Message);
    }

    [Fact]
    public void Schedules_follow_their_formulas()
    {
        Assert.Equal(2 / (1 + Math.Exp(-3)) - 1, WeightSchedule.Ganin(0.3), 12);
        Assert.Equal(0.46211715726, WeightSchedule.GaninOf(1)(1), 10);
        Assert.Equal([0, 0.5, 1, 1], new[] { 0, 0.1, 0.2, 0.9 }.Select(WeightSchedule.Linear(0.2)));
        Assert.Equal(7, WeightSchedule.Constant(7)(0.4));
        Assert.Equal(WeightSchedule.Ganin(0.37), WeightSchedule.Tllib(10000)(0.37), 12);
        Assert.Equal(0.5 + 1.5 * (2 / (1 + Math.Exp(-2 * 30 / 100.0)) - 1), WeightSchedule.Tllib(60, high: 2, low: 0.5, alpha: 2, iterations: 100)(0.5), 12);
        Assert.Throws<ArgumentOutOfRangeException>(() => WeightSchedule.Linear(0));
    }

    private static DataLoader Loader(int n, int seed, int batchSize)
    {
        var (x, y) = Blobs.Draw(n, seed, isTarget: false);
        return new(new TensorDataset(x, y), new() { BatchSize = batchSize, Shuffle = true, DropLast = true, Seed = (ulong)seed });
    }

    private static (Adapter, DomainLoader) Make<T>(T method, out T same) where T : AdaptationMethod
    {
        same = method;
        return (new Adapter(new Linear(2, 4, generator: new(1)), new Linear(4, 3, generator: new(2)), method), new DomainLoader(Loader(16, 1, 8), Loader(16, 2, 8)));
    }

    private sealed class Alternating : AdaptationMethod
    {
        public Module Own { get; } = new Linear(4, 1, generator: new(3));

        public Action Between { get; set; } = () => { };

        public List<float> Seen { get; } = [];

        public List<double> Reported { get; } = [];

        public int StepsEnded { get; private set; }

        public int Begun { get; private set; }

        public override string Name => "alternating";

        public override IReadOnlyList<MethodModule> Modules => [Own];

        public override void Begin(AdaptationRun run) => Begun++;

        public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
        {
            Tensor Loss()
            {
                Seen.Add(step.TargetFeatures.ToArray<float>()[0]);
                return SourceLoss(step) + Own.Forward(step.TargetFeatures).Square().Mean();
            }
            var loss = Loss();
            Reported.Add(loss.Item());
            yield return new(loss);
            Between();
            yield return new(Loss(), [Own], IsReported: false);
            Between();
            yield return new(Loss(), [step.Run.Features], IsReported: false);
            Between();
        }

        public override void AfterStep(AdaptationStep step) => StepsEnded++;
    }

    private sealed class SumOfWeights(Func<Module, MethodModule> wrap) : AdaptationMethod
    {
        public Module Own { get; } = new Linear(4, 1, generator: new(3));

        public override string Name => "sum";

        public override IReadOnlyList<MethodModule> Modules => [wrap(Own)];

        public override IEnumerable<TrainingUpdate> Updates(AdaptationStep step)
        {
            yield return new(step.Run.Features.Parameters().Concat(Own.Parameters()).Select(p => p.Sum()).Aggregate((a, b) => a + b));
        }
    }

    private sealed class Looking(Action<AdaptationStep> look) : AdaptationMethod
    {
        public override string Name => "looking";

        public override Tensor? Loss(AdaptationStep step)
        {
            look(step);
            return null;
        }
    }

    private sealed class Reports(List<double> losses) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => losses.Add(value.Loss);
    }
}
