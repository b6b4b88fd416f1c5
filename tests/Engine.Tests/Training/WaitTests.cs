using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

/// <summary>The host runs ahead of the device: training loops wait for it where losses are reported, and nowhere else.</summary>
public sealed class WaitTests
{
    public static TheoryData<string> Trainings => [.. new[] { "opencl", "cuda" }.SelectMany(machine => new[] { "plain", "clipped", "accumulated", "captured" }.Select(way => $"{machine} {way}"))];

    /// <summary>Five steps or fifteen: the host waits as often.</summary>
    [SkippableTheory]
    [MemberData(nameof(Trainings))]
    public void A_Trainer_Waits_For_Reports_Alone(string training)
    {
        var (machine, way) = training.Split(' ') is [var first, var second] ? (first, second) : throw new InvalidOperationException();
        var settings = way switch
        {
            "clipped" => new TrainerSettings { ClipNorm = 0.5, ClipValue = 0.1 },
            "accumulated" => new TrainerSettings { AccumulationSteps = 2 },
            "captured" => new TrainerSettings { CaptureSteps = true },
            _ => new TrainerSettings(),
        };
        using var device = new Device(TestDevices.OpenAnew(machine)) { AllowAsynchronousCopies = true };
        long few = Waits(5, 1000), many = Waits(15, 1000);
        Assert.Equal(few, many);
        Assert.Equal(many + 2, Waits(15, 5 * settings.AccumulationSteps)); // three reports instead of one at the end

        long Waits(int steps, int every)
        {
            var draw = new Generator(3);
            var model = new Sequential(
                new Conv2d(1, 4, 3, padding: 1, generator: draw, device: device), new BatchNorm2d(4, device: device), Activation.Relu(), new MaxPool2d(2),
                new Flatten(), new Dropout(0.3, draw), new Linear(64, 3, generator: draw, device: device));
            var optimizer = new Adam(model.Parameters(), 1e-3);
            var trainer = new Trainer(model, optimizer, (logits, target) => logits.CrossEntropy(target))
            {
                Settings = settings with { MaxSteps = steps, ReportEvery = every, SchedulePeriod = SchedulePeriod.Step },
                Schedule = new ExponentialSchedule(optimizer, 0.99),
            };
            long before = device.Compute.Waits;
            trainer.Fit(Rows(draw, 1, device));
            return device.Compute.Waits - before;
        }
    }

    public static TheoryData<string> Methods => [.. Adaptations.Keys];

    [SkippableTheory]
    [MemberData(nameof(Methods))]
    public void An_Adapter_Waits_For_Reports_Alone(string method)
    {
        using var device = new Device(TestDevices.OpenAnew("opencl"));
        Assert.Equal(Waits(3), Waits(9));

        long Waits(int steps)
        {
            var draw = new Generator(3);
            var features = new Sequential(new Flatten(), new Linear(64, 8, generator: draw, device: device), Activation.Relu());
            var adapter = new Adapter(features, new Linear(8, 3, generator: draw, device: device), Adaptations[method](draw, device));
            long before = device.Compute.Waits;
            adapter.Fit(new DomainLoader(Rows(draw, 1, device), Rows(draw, 1, device)), new() { Steps = steps, ReportEvery = 1000 });
            return device.Compute.Waits - before;
        }
    }

    /// <summary>What is read ahead by a transfer, directly, or without asynchronous copies is the same.</summary>
    [SkippableTheory, InlineData("opencl"), InlineData("cuda")]
    public void Batches_Are_The_Same_However_They_Are_Copied(string machine)
    {
        using var device = new Device(TestDevices.OpenAnew(machine));
        float[] want = Train(0, false);
        Assert.DoesNotContain(want, float.IsNaN);
        Assert.Equal(want, Train(0, true));
        Assert.Equal(want, Train(1, true));
        Assert.Equal(want, Train(3, true));
        Assert.Equal(0, device.LiveBytes);

        float[] Train(int prefetch, bool asynchronous)
        {
            device.AllowAsynchronousCopies = asynchronous;
            using var scope = new TensorScope();
            var draw = new Generator(3);
            var model = new Sequential(new Flatten(), new Linear(64, 32, generator: draw, device: device), Activation.Relu(), new Linear(32, 3, generator: draw, device: device));
            new Trainer(model, new Sgd(model.Parameters(), 0.1), (logits, target) => logits.CrossEntropy(target)) { Settings = new() { Epochs = 2 } }.Fit(Rows(draw, prefetch, device));
            float[] trained = [.. model.Parameters().SelectMany(weight => weight.ToArray<float>())];
            foreach (var weight in model.Parameters())
                weight.Dispose();
            return trained;
        }
    }

    private static Dictionary<string, Func<Generator, Device, AdaptationMethod>> Adaptations { get; } = new()
    {
        ["mk-mmd"] = (_, _) => new DiscrepancyMethod("mk-mmd", new MaximumMeanDiscrepancy()),
        ["coral"] = (_, _) => new DiscrepancyMethod("coral", new DeepCoral()),
        ["sliced wasserstein"] = (draw, _) => new DiscrepancyMethod("sliced wasserstein", new SlicedWasserstein(generator: draw)),
        ["mcc"] = (_, _) => new MinimumClassConfusion(),
        ["jan"] = (_, _) => new JointMaximumMeanDiscrepancy(),
        ["dsan"] = (_, _) => new LocalMaximumMeanDiscrepancy(),
        ["dann"] = (draw, device) => new DomainAdversary(new Linear(8, 1, generator: draw, device: device)),
        ["cdan+e"] = (draw, device) => new ConditionalDomainAdversary(new Linear(24, 1, generator: draw, device: device)),
        ["mcd"] = (draw, device) => new MaximumClassifierDiscrepancy(new Linear(8, 3, generator: draw, device: device)),
        ["mdd"] = (draw, device) => new MarginDisparityDiscrepancy(new Linear(8, 3, generator: draw, device: device)),
        ["wdgrl"] = (draw, device) => new WassersteinCritic(new(new Linear(8, 1, generator: draw, device: device)), generator: draw),
    };

    /// <summary>Rows on the CPU, in batches on the device.</summary>
    private static DataLoader Rows(Generator draw, int prefetch, Device device) => new(
        new TensorDataset(Tensor.Uniform([320, 1, 8, 8], -1, 1, draw), Tensor.RandomIntegers([320], 0, 3, draw)),
        new() { BatchSize = 8, Shuffle = true, Prefetch = prefetch }, device);
}
