using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Tests.Transfer;
using TransferEngine.Training;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class FineTunerTests
{
    private const int BatchCount = 4;

    private readonly Sequential model = Waves.Network(1);
    private readonly DataLoader loader = new(new TensorDataset(Waves.Images(24), Waves.Classes(24, 3)), new() { BatchSize = 24 / BatchCount });

    private FineTuner Tuner(Func<IEnumerable<ParameterGroup>, Optimizer>? optimizer = null) => new(model, (output, target) => output.CrossEntropy(target)) { Optimizer = optimizer };

    /// <summary>What a phase changed, and the rates at its end.</summary>
    private (string Changed, double Loss) Watch(FineTuner tuner, FineTunePhase phase)
    {
        var before = model.StateDict().Where(item => item.Value.ElementType != ElementType.Int32).ToDictionary(item => item.Key, item => item.Value.ToArray<double>());
        var result = Assert.Single(tuner.Fit([phase], loader));
        Assert.Equal(phase.Epochs, result.Epochs.Count);
        Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad));
        return (string.Join(' ', model.StateDict().Where(item => before.TryGetValue(item.Key, out double[]? old) && !old.SequenceEqual(item.Value.ToArray<double>()))
            .Select(item => item.Key.Split('.')[0] + (item.Key.Contains("running", StringComparison.Ordinal) ? ":statistics" : "")).Distinct()), result.Epochs[^1].Loss);
    }

    [Fact]
    public void One_Cycle_Trains_The_Head_And_Then_Everything()
    {
        var tuner = Tuner();
        var phases = FineTuneRecipe.OneCycle(tuner.Groups, epochs: 2);
        Assert.Equal(["head", "all"], phases.Select(phase => phase.Name));
        Assert.Equal([2e-4, 2e-4, 2e-4, 2e-3], phases[0].Rates);
        Waves.Near(1e-5, phases[1].Rates[0]);
        Waves.Near(1e-3, phases[1].Rates[3]);
        Assert.Equal("norm1 norm1:statistics head", Watch(tuner, phases[0]).Changed);
        Assert.Equal("conv1 norm1 norm1:statistics conv2 fc head", Watch(tuner, phases[1]).Changed);
        Assert.Equal("head", Watch(tuner, FineTuneRecipe.OneCycle(tuner.Groups, 1, trainNormalization: false)[0]).Changed);
        Assert.Single(FineTuneRecipe.OneCycle(tuner.Groups, 3, freezeEpochs: 0));
        Assert.Equal("head", Watch(Tuner(groups => new Sgd(groups)), FineTuneRecipe.OneCycle(tuner.Groups, 1, trainNormalization: false)[0]).Changed); // no momentum to cycle
    }

    [Fact]
    public void Gradual_Unfreezing_Opens_A_Stage_At_A_Time()
    {
        var tuner = Tuner();
        var phases = FineTuneRecipe.GradualUnfreezing(tuner.Groups, epochs: 2);
        Assert.Equal([1, 1, 1, 2], phases.Select(phase => phase.Epochs));
        Assert.Equal(["head", "fc head", "conv2 fc head", "conv1 norm1 norm1:statistics conv2 fc head"], phases.Select(phase => Watch(tuner, phase).Changed));
        Assert.Equal(tuner.Groups.Discriminative(1e-2), phases[0].Rates);
    }

    [Fact]
    public void A_Probe_Comes_Before_Fine_Tuning()
    {
        var tuner = Tuner();
        var phases = FineTuneRecipe.ProbeThenFineTune(tuner.Groups, probeEpochs: 3, epochs: 1);
        Assert.Equal("head", Watch(tuner, phases[0]).Changed);
        Assert.Equal("conv1 norm1 norm1:statistics conv2 fc head", Watch(tuner, phases[1]).Changed);
        Assert.Equal(["all"], FineTuneRecipe.ProbeThenFineTune(tuner.Groups, 0, 1).Select(phase => phase.Name));
    }

    [Fact]
    public void Schedules_Span_The_Phase_And_The_Optimiser_All_Phases()
    {
        Optimizer? made = null;
        var seen = new List<int>();
        var tuner = Tuner(groups => made = new Adam(groups));
        FineTunePhase Phase(FreezePolicy? frozen) => new("phase", 3, [0, 0, 0, 0.1])
        {
            Frozen = frozen,
            Schedule = (optimizer, steps) =>
            {
                seen.Add(steps);
                return new CosineSchedule(optimizer, steps);
            },
        };
        tuner.Fit([Phase(tuner.Groups.FreezeFirst(3)), Phase(null)], loader, loader);
        Assert.Equal([3 * BatchCount, 3 * BatchCount], seen);
        Assert.Equal(0, made!.Groups[3].LearningRate, 1e-12);
        var state = made.StateDict();
        Assert.Equal(3 * BatchCount, state["state.0.step"].Item()); // frozen in the first phase
        Assert.Equal(6 * BatchCount, state["state.9.step"].Item()); // the head's
    }

    [Fact]
    public void Regularisers_Bring_Their_Modules_Along()
    {
        var oldHead = new Linear(5, 4, generator: new Generator(3), type: ElementType.Float64);
        double[] before = oldHead.Weight.ToArray<double>();
        using var keep = new LearningWithoutForgetting(model.GetModule("head"), oldHead, Waves.Network(2, classes: 4));
        var tuner = Tuner();
        tuner.Regularizers.Add(keep);
        tuner.Metrics.Add(new Accuracy());
        tuner.Fit(FineTuneRecipe.OneCycle(tuner.Groups, 1), loader, loader);
        Assert.NotEqual(before, oldHead.Weight.ToArray<double>());
    }

    [Fact]
    public void Mistakes_Are_Named_And_Leave_Nothing_Frozen()
    {
        var tuner = Tuner();
        Assert.Contains("1 rates for 4", Assert.Throws<ArgumentException>(() => tuner.Fit([new("short", 1, [1])], loader)).Message);
        Assert.Contains("number of batches", Assert.Throws<ArgumentException>(() => tuner.Fit(FineTuneRecipe.OneCycle(tuner.Groups, 1), loader.Where(_ => true))).Message);
        Assert.Throws<OperationCanceledException>(() => tuner.Fit(FineTuneRecipe.OneCycle(tuner.Groups, 1), loader, cancellation: new(true)));
        Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad));
        Assert.Throws<ArgumentOutOfRangeException>(() => FineTuneRecipe.OneCycle(tuner.Groups, 1, rate: 0));
    }
}
