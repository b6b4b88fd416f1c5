using TransferEngine.Adaptation;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.AveragedWeightsTests;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>What VAT, VADA and DIRT-T do with batch statistics, with the adversary's gradient, and with teachers.</summary>
public class VadaTests
{
    [Theory, InlineData(true, false), InlineData(false, false), InlineData(false, true)]
    public void Without_a_change_there_is_no_divergence_whatever_else_is_in_the_batch(bool isJoint, bool hasTwoSources)
    {
        foreach (var (method, ofEntropy) in new (AdaptationMethod, double)[]
        {
            (new VirtualAdversarialTraining(1e-6, onSource: true, generator: new(1)), 0), (new Vada(new SourceOnly(), 1e-6, adversaryWeight: 0, targetWeight: 1, generator: new(1)), 1),
        })
        {
            var (run, batch) = Normalised(isJoint, hasTwoSources);
            var step = new AdaptationStep(run, batch, 0);
            AssertClose(ofEntropy * EntropyMinimization.Forward(step.TargetLogits).Item(), method.Loss(step)!.Item(), 1e-6);
        }
        // The rows of the other domain do move predictions, or the test would tell nothing.
        var (joint, both) = Normalised(true, false);
        Assert.True(VirtualAdversarialLoss.Divergence(joint.Forward(both.TargetInput!), new AdaptationStep(joint, both, 0).TargetLogits).Item() > 1e-3);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Moved_rows_do_not_enter_running_statistics(bool isJoint)
    {
        var (run, batch) = Normalised(isJoint);
        var step = new AdaptationStep(run, batch, 0);
        _ = (step.TargetLogits, step.SourceLogits);
        byte[] want = Blobs.Bits(run.Features);
        foreach (var method in new AdaptationMethod[] { new VirtualAdversarialTraining(0.5, onSource: true), new Vada(new SourceOnly(), 0.5, adversaryWeight: 0) })
        {
            var (again, _) = Normalised(isJoint);
            var other = new AdaptationStep(again, batch, 0);
            _ = (other.TargetLogits, other.SourceLogits, method.Loss(other));
            Assert.Equal(want, Blobs.Bits(again.Features));
        }
        (run, batch) = Normalised(isJoint);
        run.Forward(batch.TargetInput!);
        want = Blobs.Bits(run.Features);
        (run, batch) = Normalised(isJoint);
        using var dirt = new DirtT(0.5);
        dirt.Begin(run);
        dirt.Updates(new AdaptationStep(run, batch, 0)).First();
        Assert.Equal(want, Blobs.Bits(run.Features));
    }

    [Theory, InlineData("dann"), InlineData("cdan+e")]
    public void The_adversary_learns_by_its_whole_loss_and_sends_a_constant_part_of_it_back(string name)
    {
        const double Weight = 0.01;
        var batch = Domains().First();
        double[][] want = Gradients(adversary => adversary, WeightSchedule.Constant(1)), got = Gradients(adversary => new Vada(adversary, 0.5, Weight, sourceWeight: 0, targetWeight: 0), null);
        double[] factors = [Weight, Weight, 1];
        for (int part = 0; part < 3; part++)
        {
            for (int i = 0; i < want[part].Length; i++)
                Assert.True(Math.Abs(want[part][i] * factors[part] - got[part][i]) <= 1e-5 * factors[part] + 2e-4 * Math.Abs(want[part][i] * factors[part]), $"{part}, {i}: {got[part][i]}, wanted {want[part][i] * factors[part]}");
        }
        Assert.Contains(want[0], g => Math.Abs(g) > 0.01);
        Assert.Contains(want[2], g => Math.Abs(g) > 0.01);

        double[][] Gradients(Func<AdaptationMethod, AdaptationMethod> make, Func<double, double>? schedule)
        {
            Module features = new Linear(2, 4, generator: new(1)), head = new Linear(4, 3, generator: new(2)), discriminator = new Linear(name == "dann" ? 4 : 12, 1, generator: new(3));
            var method = make(name == "dann" ? new DomainAdversary(discriminator, schedule: schedule) : new ConditionalDomainAdversary(discriminator, schedule: schedule));
            method.Loss(new AdaptationStep(new(features, head) { Steps = 100 }, batch, 0))!.Backward(); // the first step, where a ramp would be 0
            return [.. new[] { features, head, discriminator }.Select(module => module.Parameters().SelectMany(p => p.Grad is { } g ? g.To(ElementType.Float64).ToArray<double>() : new double[p.Elements]).ToArray())];
        }
    }

    [Fact]
    public void Adversaries_that_would_do_nothing_are_refused()
    {
        var discriminator = new Linear(4, 2);
        foreach (var adversary in new AdaptationMethod[] { new AlternatingDomainAdversary(discriminator), new WassersteinCritic(discriminator) })
            Assert.Contains("plays by turns", Assert.Throws<ArgumentException>(() => new Vada(adversary)).Message, StringComparison.Ordinal);
        _ = new Vada(new AlternatingDomainAdversary(discriminator), adversaryWeight: 0);
        var (run, batch) = Normalised(true);
        Assert.Contains("adds no loss", Assert.Throws<InvalidOperationException>(() => new Vada(new SourceOnly()).Loss(new AdaptationStep(run, batch, 0))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_teacher_of_dirt_t_answers_as_in_evaluation()
    {
        var (run, batch) = Normalised(true);
        var probe = new Probe();
        run = run with { Head = new Sequential(probe, run.Head) };
        run.Head.Train();
        using var method = new DirtT(0.5);
        method.Begin(run);
        byte[] weights = Blobs.Bits(run.Features);
        using (new NoGrad())
            run.Features.Parameters().First().MultiplyInPlace(2);
        byte[] own = Blobs.Bits(run.Features);
        Assert.NotEqual(weights, own);
        probe.Fails = true;
        Assert.Throws<InvalidTimeZoneException>(() => method.Updates(new AdaptationStep(run, batch, 0)).First());
        Assert.Equal(own, Blobs.Bits(run.Features)); // weights and modes are back
        Assert.All(run.Features.NamedModules().Concat(run.Head.NamedModules()), item => Assert.True(item.Module.IsTraining));
        probe.Fails = false;
        method.Updates(new AdaptationStep(run, batch, 0)).First();
        Assert.Equal([false, false, true, true, true], probe.Modes); // failed, teacher, unmoved, probed, moved
    }

    [Fact]
    public void The_teacher_of_dirt_t_is_the_average_of_some_steps_ago()
    {
        double[][] x = Rows(5, 2, 4, 0);
        var head = new Linear(2, 3, generator: new(1));
        var run = new AdaptationRun(new Identity(), head);
        using var method = new DirtT(0.5, targetWeight: 1e-30, teacherWeight: 1, interval: 2, averageDecay: 0.5);
        method.Begin(run);
        float[] average = head.Weight.ToArray<float>(), teacher = average, bias = head.Bias!.ToArray<float>();
        var batch = Domains().First() with { TargetInput = From(x).To(ElementType.Float32) };
        for (int i = 0; i < 5; i++)
        {
            float[] own = head.Weight.ToArray<float>();
            double want = x.Average(row => Softmax(Scores(teacher, row)).Zip(Softmax(Scores(own, row)), (p, q) => p * Math.Log(p / q)).Sum());
            var step = new AdaptationStep(run, batch, i);
            AssertClose(want, method.Updates(step).First().Loss.Item(), 1e-5);
            using (new NoGrad())
                head.Weight.Assign(head.Weight * -1.1 + 0.3);
            method.AfterStep(step);
            average = [.. average.Zip(head.Weight.ToArray<float>(), (a, w) => (a + w) / 2)];
            teacher = i % 2 == 1 ? average : teacher;
        }

        double[] Scores(float[] weight, double[] row) => [.. Enumerable.Range(0, 3).Select(c => weight[2 * c] * row[0] + weight[2 * c + 1] * row[1] + bias[c])];
    }

    /// <summary>Remembers the mode of each pass.</summary>
    private sealed class Probe : Module
    {
        public List<bool> Modes { get; } = [];

        public bool Fails { get; set; }

        protected override Tensor Compute(Tensor input)
        {
            Modes.Add(IsTraining);
            return Fails ? throw new InvalidTimeZoneException() : input;
        }
    }
}
