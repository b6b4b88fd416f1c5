using TransferEngine.Data;
using TransferEngine.Tests.Transfer;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class LearningRateFinderTests
{
    private static readonly double[] Rates = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000, 10000, 100000];

    [Fact]
    public void Rules_Read_The_Curve()
    {
        // Falls from the second to the eighth point, most steeply from the fifth to the sixth, with a bump at the fourth.
        var curve = new LearningRateCurve(Rates, [2, 2.1, 2.0, 2.05, 1.8, 1.2, 1.1, 1.0, 3, 4, 5]);
        Assert.Equal(1e-1, curve.Suggest(LearningRateRule.Steepest));
        Assert.Equal(10, curve.Suggest(LearningRateRule.Minimum));
        // The longest falling run has 6 points (2.1, 2.05, 1.8, 1.2, 1.1, 1.0) and ends at the eighth: from 7 - 6 = 1, a third and half a third of 6 on.
        Assert.Equal(1e-1, curve.Suggest());
        Assert.Throws<InvalidOperationException>(() => new LearningRateCurve([1], [1]).Suggest());
        Assert.Throws<ArgumentOutOfRangeException>(() => curve.Suggest((LearningRateRule)7));
    }

    [Fact]
    public void The_Search_Finds_A_Rate_And_Puts_Everything_Back()
    {
        var model = Waves.Network(1);
        var optimizer = new Sgd(model.Parameters(), 0.1, 0.9);
        var loader = new DataLoader(new TensorDataset(Waves.Images(24), Waves.Classes(24, 3)), new() { BatchSize = 6, Shuffle = true });
        Step(); // so that the optimiser has a state
        model.Eval();
        model.GetModule("conv1").Train();
        var (weights, state, random) = (Values(model.StateDict()), Values(optimizer.StateDict()), Generator.Default.State);

        var curve = LearningRateFinder.Run(model, optimizer, (output, target) => output.CrossEntropy(target), loader, new() { Steps = 60, Lowest = 1e-6, Highest = 1e4 });

        Assert.Equal(weights, Values(model.StateDict()));
        Assert.Equal(state, Values(optimizer.StateDict()));
        Assert.Equal(random, Generator.Default.State);
        Assert.Equal(0, loader.Epoch);
        Assert.False(model.IsTraining);
        Assert.True(model.GetModule("conv1").IsTraining);
        Assert.InRange(curve.Rates.Count, 10, 60 - 6 - 5); // it diverged, or left its first tenth and its end out
        Assert.Equal(curve.Rates.Order(), curve.Rates);
        Waves.Near(1e-6 * Math.Pow(1e10, 6 / 59.0), curve.Rates[0]);
        foreach (var rule in Enum.GetValues<LearningRateRule>())
            Assert.InRange(curve.Suggest(rule), 1e-6, 10);
        Step();

        void Step()
        {
            model.Forward(Waves.Images()).CrossEntropy(Waves.Classes(6, 3)).Backward();
            optimizer.Step();
            optimizer.ZeroGrad();
        }
    }

    [Fact]
    public void The_Smoothed_Loss_Is_The_Debiased_Moving_Mean()
    {
        double[] losses = [3, 1, 2, 5, 1, 2, 4, 1, 2, 3, 1, 2];
        var weight = Tensor.From([0.0]);
        weight.RequiresGrad = true;
        var model = new TransferEngine.Modules.Function(x => x + weight * 0);
        var batches = losses.Select(value => new Batch(Tensor.From([value]), Tensor.From([0.0])));
        var curve = LearningRateFinder.Run(model, new Sgd([weight]), (output, _) => output.Sum(), batches, new() { Steps = 12, Smoothing = 0.5, Divergence = 100 });
        var wanted = new List<double>();
        for (int t = 0; t < losses.Length; t++)
            wanted.Add(Enumerable.Range(0, t + 1).Sum(i => losses[i] * Math.Pow(0.5, t - i)) / Enumerable.Range(0, t + 1).Sum(i => Math.Pow(0.5, t - i)));
        Assert.Equal(wanted[1..^5], curve.Losses, (a, b) => Math.Abs(a - b) < 1e-12);
    }

    [Fact]
    public void Mistakes_Are_Named()
    {
        var model = Waves.Network(1);
        Assert.Throws<ArgumentException>(() => LearningRateFinder.Run(model, new Sgd(model.Parameters()), (output, target) => output.CrossEntropy(target), [], new() { Lowest = 0 }));
        Assert.Throws<OperationCanceledException>(() => LearningRateFinder.Run(
            model, new Sgd(model.Parameters()), (output, target) => output.CrossEntropy(target), [new(Waves.Images(), Waves.Classes(6, 3))], cancellation: new(true)));
    }

    private static Dictionary<string, string> Values(IReadOnlyDictionary<string, Tensor> state) =>
        state.ToDictionary(item => item.Key, item => string.Join(' ', item.Value.To(ElementType.Float64).ToArray<double>().Select(BitConverter.DoubleToInt64Bits)));
}
