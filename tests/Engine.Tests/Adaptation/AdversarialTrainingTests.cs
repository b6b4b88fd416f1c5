using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit.Abstractions;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Each method trained on a synthetic shift: it must classify more of the target than the source alone does.</summary>
public class AdversarialTrainingTests(ITestOutputHelper log)
{
    private const int Width = 16, Steps = 400;
    private const double Shift = 1.4;

    private static Sequential Discriminator(int inputs = Width, int outputs = 1) =>
        new(new Linear(inputs, 32, generator: new(7)), Activation.Relu(), new Linear(32, outputs, generator: new(8)));

    public static TheoryData<string> Names => ["dann", "dann by turns", "cdan", "cdan+e", "cdan random", "daan", "daan authors", "mcd", "swd", "mdd", "adda", "adda tllib", "wdgrl"];

    [Theory, MemberData(nameof(Names))]
    public void A_method_gains_on_shifted_classes(string name)
    {
        // The heads of MCD must keep up with the source while they part on the target.
        double rate = name is "mcd" or "swd" ? 5e-3 : 1e-3, alone = Train(new SourceOnly(), rate: rate), adapted = Train(Make(name), rate: rate);
        log.WriteLine($"{name}: {adapted:F3}, source alone {alone:F3}");
        Assert.True(adapted > alone + 0.05, $"{name}: {adapted:F3}, source alone {alone:F3}");
    }

    [Theory, InlineData("pada"), InlineData("pada authors"), InlineData("iwan"), InlineData("iwan authors"), InlineData("iwan shared")]
    public void A_partial_method_gains_where_the_target_has_two_of_three_classes(string name)
    {
        static bool Present(int label) => label > 0;
        double alone = Train(new SourceOnly(), 1.2, Present), dann = Train(Make("dann"), 1.2, Present), adapted = Train(Make(name), 1.2, Present);
        log.WriteLine($"{name}: {adapted:F3}, source alone {alone:F3}, dann {dann:F3}");
        Assert.True(adapted > alone + 0.05 && dann < alone, $"{name}: {adapted:F3}, source alone {alone:F3}, dann, which aligns all classes, {dann:F3}");
    }

    [Fact]
    public void An_open_set_method_finds_the_unknown_class()
    {
        // The source knows classes 0 and 1; what is neither is the head's third.
        double Run(AdaptationMethod method) => Train(method, shift: 0, sourceHas: label => label < 2, rate: 5e-3, steps: 1500);
        double alone = Run(new SourceOnly()), adapted = Run(new OpenSetBackpropagation(weight: 0.03));
        log.WriteLine($"osbp: {adapted:F3}, source alone {alone:F3}");
        Assert.True(adapted > alone + 0.2, $"osbp: {adapted:F3}, source alone {alone:F3}");
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Moment_matching_gains_with_two_sources(bool partners)
    {
        Linear Head(ulong seed) => new(Width, Blobs.Classes, generator: new(seed));
        double Run(AdaptationMethod method)
        {
            var (features, head) = Network();
            var adapter = new Adapter(features, head, method);
            var (x, y) = Blobs.Draw(400, 5, isTarget: false);
            var sources = new[] { Loader(Blobs.Draw(400, 1, isTarget: false), 1), Loader((x + Tensor.From([0.5f, -0.3f]), y), 3) };
            adapter.Fit(new DomainLoader(sources, Loader(Blobs.Draw(400, 2, isTarget: true, shift: Shift), 2)), new() { Steps = Steps });
            return Score(adapter, Shift);
        }
        double alone = Run(new SourceOnly()), adapted = Run(new MultiSourceMomentMatching([Head(11)], partners ? [Head(12), Head(13)] : null));
        log.WriteLine($"m3sda {adapted:F3}, sources alone {alone:F3}");
        Assert.True(adapted > alone + 0.03, $"m3sda {adapted:F3}, sources alone {alone:F3}");
    }

    [Theory, MemberData(nameof(Names)), InlineData("pada"), InlineData("pada authors"), InlineData("iwan"), InlineData("iwan authors"), InlineData("iwan shared"), InlineData("osbp")]
    public void A_method_repeats_its_bits_and_keeps_no_memory(string name)
    {
        var (first, bytes) = Run();
        var (second, _) = Run();
        Assert.Equal(first, second);
        Assert.Equal(bytes[^9], bytes[^1]);

        (byte[] Bits, List<long> Bytes) Run()
        {
            using var device = Device.Open(DeviceKind.Cpu); // one of its own, whose bytes no other test's are among
            var (features, head) = Network();
            var method = Make(name == "cdan random" ? "cdan" : name); // its map has a device of its own
            foreach (var module in method.Modules.Select(own => own.Module).Append(features).Append(head))
                module.To(device);
            var live = new LiveBytes(device);
            new Adapter(features, head, method).Fit(new DomainLoader(Loader(Blobs.Draw(128, 1, isTarget: false), 1, device), Loader(Blobs.Draw(96, 2, isTarget: true), 2, device)),
                new() { Steps = 60, ReportEvery = 1, Callbacks = [live] });
            return ([.. Blobs.Bits(features), .. Blobs.Bits(head)], live.Seen);
        }
    }

    /// <summary>The device's live bytes after each step.</summary>
    private sealed class LiveBytes(Device device) : ITrainingCallback
    {
        public List<long> Seen { get; } = [];

        public void StepEnd(ITrainingRun run)
        {
            if (run.Step is 52 or 60)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
            Seen.Add(device.LiveBytes);
        }
    }

    private static AdaptationMethod Make(string name) => name switch
    {
        "dann" => new DomainAdversary(Discriminator()),
        "dann by turns" => new AlternatingDomainAdversary(Discriminator(outputs: 2)),
        "cdan" => new ConditionalDomainAdversary(Discriminator(Width * Blobs.Classes), entropy: false),
        "cdan+e" => new ConditionalDomainAdversary(Discriminator(Width * Blobs.Classes)),
        "cdan random" => new ConditionalDomainAdversary(Discriminator(256), map: new RandomizedMultilinearMap(Width, Blobs.Classes, 256, new(6))),
        "daan" => new DynamicAdversary(Discriminator(), [Discriminator(), Discriminator(), Discriminator()]),
        "daan authors" => DynamicAdversary.Authors(Discriminator(), [Discriminator(), Discriminator(), Discriminator()], weight: 10), // their losses weigh a tenth and less
        "mcd" => new MaximumClassifierDiscrepancy(new Linear(Width, Blobs.Classes, generator: new(9))),
        "swd" => MaximumClassifierDiscrepancy.SlicedWasserstein(new Linear(Width, Blobs.Classes, generator: new(9)), weight: 20, generator: new(10)), // its squares are small
        "mdd" => new MarginDisparityDiscrepancy(new Linear(Width, Blobs.Classes, generator: new(9)), weight: 0.3),
        "adda" => new Adda(Discriminator()),
        "adda tllib" => Adda.Tllib(Discriminator()),
        "wdgrl" => new WassersteinCritic(Discriminator(), generator: new(10)),
        "pada" => new PartialAdversary(Discriminator(), updateEvery: 50),
        "pada authors" => PartialAdversary.Authors(Discriminator(), updateEvery: 50),
        "iwan authors" => ImportanceWeightedAdversary.Authors(Discriminator(), Discriminator(), weight: 2), // and end at 0.462 of it
        "iwan" => new ImportanceWeightedAdversary(Discriminator(), Discriminator()),
        "osbp" => new OpenSetBackpropagation(),
        _ => ImportanceWeightedAdversary.Shared(Discriminator(), Discriminator()),
    };

    private static (Sequential Features, Linear Head) Network()
    {
        var generator = new Generator(3);
        return (new Sequential(new Linear(2, 32, generator: generator), Activation.Relu(), new Linear(32, Width, generator: generator), Activation.Relu()), new Linear(Width, Blobs.Classes, generator: generator));
    }

    private static double Train(AdaptationMethod method, double shift = Shift, Func<int, bool>? targetHas = null, Func<int, bool>? sourceHas = null, double rate = 1e-3, int steps = Steps)
    {
        var (features, head) = Network();
        var adapter = new Adapter(features, head, method);
        DataLoader source = Loader(Chosen(Blobs.Draw(400, 1, isTarget: false), sourceHas), 1), target = Loader(Chosen(Blobs.Draw(400, 2, isTarget: true, shift: shift), targetHas), 2);
        adapter.Fit(new DomainLoader(source, target), new() { Steps = steps, Optimizer = parameters => new Adam(parameters, rate) });
        return Score(adapter, shift, targetHas);
    }

    private static double Score(Adapter adapter, double shift, Func<int, bool>? has = null)
    {
        var (x, y) = Chosen(Blobs.Draw(600, 4, isTarget: true, shift: shift), has);
        using var recording = new NoGrad();
        return Blobs.Accuracy(adapter.Logits(x), y);
    }

    private static (Tensor, Tensor) Chosen((Tensor Input, Tensor Label) data, Func<int, bool>? has)
    {
        if (has is null)
            return data;
        int[] labels = data.Label.ToArray<int>(), rows = [.. Enumerable.Range(0, labels.Length).Where(i => has(labels[i]))];
        var index = Tensor.From(rows);
        return (data.Input.IndexSelect(0, index), data.Label.IndexSelect(0, index));
    }

    private static DataLoader Loader((Tensor Input, Tensor Label) data, ulong seed, Device? device = null) =>
        new(new TensorDataset(data.Input, data.Label), new() { BatchSize = 32, Shuffle = true, DropLast = true, Seed = seed }, device);
}
