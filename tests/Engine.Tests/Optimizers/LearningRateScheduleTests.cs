namespace TransferEngine.Engine.Tests;

/// <summary>Schedules against the values that their definitions give.</summary>
public class LearningRateScheduleTests
{
    [Fact]
    public void Rates_follow_their_formulas()
    {
        Check(o => new StepSchedule(o, 2), [1, 1, 0.1, 0.1, 0.01]);
        Check(o => new MultiStepSchedule(o, [1, 3], 0.5), [1, 0.5, 0.5, 0.25, 0.25]);
        Check(o => new ExponentialSchedule(o, 0.5), [1, 0.5, 0.25, 0.125]);
        Check(o => new CosineSchedule(o, 4, 0.2), [1, 0.2 + 0.4 * (1 + Math.Sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - Math.Sqrt(0.5)), 0.2]);
        Check(o => new PolynomialSchedule(o, 4, 2), [1, 0.5625, 0.25, 0.0625, 0, 0]);
        Check(o => new WarmUpSchedule(o, 0.5, 1, 2), [0.5, 0.75, 1, 1]);
        Check(o => new WarmUpSchedule(o, 0.5, 1, 2, new ExponentialSchedule(o, 0.5)), [0.5, 0.75, 1, 0.5, 0.25]);
        Check(o => new SlantedTriangularSchedule(o, 10, 0.2, 5), [0.2, 0.6, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2]);
        Check(o => new DannSchedule(o, 2), [1, Math.Pow(6, -0.75), Math.Pow(11, -0.75), Math.Pow(11, -0.75)]);
    }

    /// <summary>PyTorch's OneCycleLR(max_lr=1, total_steps=10): phases end at steps 2 and 9.</summary>
    [Fact]
    public void One_cycle_rises_and_falls_while_momentum_goes_the_other_way()
    {
        var optimizer = new Sgd([Parameter()], 1, momentum: 0.9);
        var schedule = new OneCycleSchedule(optimizer, 1, 10);
        var (rates, momenta) = (new List<double>(), new List<double>());
        for (int step = 0; step < 10; step++, schedule.Step())
        {
            rates.Add(optimizer.Groups[0].LearningRate);
            momenta.Add(optimizer.Groups[0].Momentum);
        }
        Assert.Equal(0.04, rates[0], 1e-12);
        Assert.Equal(0.52, rates[1], 1e-12);
        Assert.Equal(1, rates[2], 1e-12);
        Assert.Equal(4e-6 + (1 - 4e-6) / 2 * (1 + Math.Cos(Math.PI / 7)), rates[3], 1e-12);
        Assert.Equal(4e-6, rates[9], 1e-12);
        Assert.Equal([0.95, 0.9, 0.85], momenta[..3].Select(m => Math.Round(m, 12)));
        Assert.Equal(0.95, momenta[9], 1e-12);
        Assert.Throws<ArgumentException>(() => new OneCycleSchedule(new Sgd([Parameter()]), 1, 10));
    }

    [Fact]
    public void One_cycle_without_a_rate_peaks_at_each_groups_own()
    {
        var optimizer = new Sgd([new ParameterGroup([Parameter()]) { LearningRate = 0.5 }, new ParameterGroup([Parameter()]) { LearningRate = 2 }]);
        var schedule = new OneCycleSchedule(optimizer, null, 10, initialDivisor: 5, cyclesMomentum: false);
        Assert.Equal([0.1, 0.4], optimizer.Groups.Select(group => Math.Round(group.LearningRate, 12)));
        schedule.StepCount = 2;
        Assert.Equal([0.5, 2], optimizer.Groups.Select(group => Math.Round(group.LearningRate, 12)));
    }

    [Fact]
    public void Schedules_pass_by_a_group_that_stands_apart()
    {
        Sgd Two() => new([new ParameterGroup([Parameter()]), new ParameterGroup([Parameter()]) { LearningRate = 3, IsScheduled = false }], 1, momentum: 0.9);
        var optimizer = Two();
        new ExponentialSchedule(optimizer, 0.5).Step();
        Assert.Equal([0.5, 3], optimizer.Groups.Select(group => group.LearningRate));
        optimizer = Two();
        new OneCycleSchedule(optimizer, 1, 10).StepCount = 2;
        Assert.Equal([(1, 0.85), (3, 0.9)], optimizer.Groups.Select(group => (group.LearningRate, Math.Round(group.Momentum, 12))));
        optimizer = Two();
        var plateau = new PlateauSchedule(optimizer, patience: 0);
        plateau.Step(1);
        plateau.Step(1);
        Assert.Equal([0.1, 3], optimizer.Groups.Select(group => group.LearningRate));
    }

    [Fact]
    public void Plateau_lowers_the_rate_when_nothing_improves()
    {
        var optimizer = new Sgd([Parameter()], 1);
        var schedule = new PlateauSchedule(optimizer, patience: 1, cooldown: 1, lowest: 0.05);
        double[] losses = [1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6], want = [1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05];
        Assert.Equal(want, losses.Select(loss =>
        {
            schedule.Step(loss);
            return Math.Round(optimizer.Groups[0].LearningRate, 12);
        }));
    }

    [Fact]
    public void A_schedule_resumes_from_its_step()
    {
        var optimizer = new Sgd([Parameter()], 1);
        _ = new CosineSchedule(optimizer, 10) { StepCount = 5 };
        Assert.Equal(0.5, optimizer.Groups[0].LearningRate, 1e-12);
    }

    private static void Check(Func<Optimizer, LearningRateSchedule> make, double[] want)
    {
        var optimizer = new Sgd([new ParameterGroup([Parameter()]), new ParameterGroup([Parameter()]) { LearningRate = 3 }], 1);
        var schedule = make(optimizer);
        foreach (double rate in want)
        {
            Assert.Equal(rate, optimizer.Groups[0].LearningRate, 1e-12);
            Assert.Equal(3 * rate, optimizer.Groups[1].LearningRate, schedule is CosineSchedule ? 1 : 1e-12);
            schedule.Step();
        }
    }

    private static Tensor Parameter() => Tensor.Zeros([1]);
}
