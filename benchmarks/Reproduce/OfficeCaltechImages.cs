using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Benchmarks;

/// <summary>Office-Caltech10 from its images: a pretrained SqueezeNet that stays fixed, and what is trained on its features.</summary>
internal sealed class OfficeCaltechImages : DeepExperiment
{
    private const string Weights = "squeezenet1_0-deepcompression.safetensors";
    private const int Bottleneck = 256, ClassCount = 10;

    private static readonly Dictionary<char, string> Domains = new() { ['C'] = "caltech10", ['A'] = "amazon", ['W'] = "webcam", ['D'] = "dslr" };

    private readonly Dictionary<char, TensorDataset> domains = [];
    private Device device = Device.Cpu;
    private int width;

    public override string Name => "office-caltech10-images";

    public override string Title => "Office-Caltech10, images";

    public override string Protocol => $$"""
        The images of caltech10 (C, 1123), amazon (A, 958), webcam (W, 295) and dslr (D, 157), ten classes, through SqueezeNet 1.0 with ImageNet weights, which stays fixed: the shorter side
        resized to 256, the middle 224x224, the mean over the last maps (512 numbers), computed once. Trained on them are a bottleneck of 256 with batch normalisation, ReLU and dropout 0.5,
        and a linear head. A tenth of the source's rows, of each class, is held out for the validators; all target rows are trained on without labels and scored afterwards, as is usual on
        this data. Batches of 32 a domain, 500 steps. {{Training}}
        Each method's weight is chosen among three, for each task, by the validator of information maximisation, which was fixed beforehand and sees no target label: the accuracy is that
        of the chosen model.
        """;

    public override string Notes => Times;

    public override IReadOnlyList<string> Tasks { get; } = ["C→A", "C→W", "C→D", "A→C", "A→W", "A→D", "W→C", "W→A", "W→D", "D→C", "D→A", "D→W"];

    protected override IReadOnlyList<DeepMethod> DeepMethods { get; } = Recipes.Searched(shotEpochs: "15");

    protected override void Prepare(ExperimentRun run, CancellationToken cancellation)
    {
        device = run.Device;
        var backbone = Backbone.Find("squeezenet1_0");
        var network = backbone.Create(generator: new Generator(0), device: run.Device);
        network.Load(Path.Combine(run.Folder("squeezenet1_0", Weights), Weights));
        width = network.FeatureCount;
        var vectors = new FeatureExtractor(new Sequential([.. network.FeatureLayers, new AdaptiveAvgPool2d(1), new Flatten()]), [$"{network.FeatureLayers.Count + 1}"]);
        if (run.Cache is { } created)
            Directory.CreateDirectory(created);
        string folder = run.Folder("office-caltech10-images", Domains['D']);
        foreach (var (letter, name) in Domains)
        {
            var want = backbone.Preprocessing;
            var images = new TransformedDataset(new ImageFolder(Path.Combine(folder, name), new() { OriginalSize = true }),
                new Compose(new Resize(want.Resize), new CenterCrop(want.Size, want.Size), new Normalize(want.Mean, want.Deviation)));
            var file = run.Cache is { } cache ? new FeatureCacheFile(Path.Combine(cache, $"{Name}-{name}.safetensors"), Name) : null;
            var computed = new FeatureCache(vectors, images, batchSize: 32, run.Device, file);
            computed.Compute(cancellation: cancellation);
            domains[letter] = new(computed.Features, computed.Targets);
        }
    }

    protected override DeepTask Task(string name, int seed)
    {
        var (source, target) = (domains[name[0]], domains[name[^1]]);
        var (training, held) = Splits.Stratified(source.Targets.ToArray<int>(), 0.9, (ulong)seed);
        return new()
        {
            Source = new Subset(source, training),
            Held = new Subset(source, held),
            Target = target,
            Test = target,
            Networks = Network,
            Width = Bottleneck,
            Classes = ClassCount,
            DiscriminatorWidth = 256,
            BatchSize = 32,
            Steps = 500,
            SourceSteps = 500,
            ShotEpochs = 15,
        };
    }

    private (Module Features, Module Head) Network(Generator generator) =>
        (Initialized(generator, new Linear(width, Bottleneck, generator: generator, device: device), new BatchNorm1d(Bottleneck, device: device), Activation.Relu(), new Dropout(0.5, generator)),
            Initialized(generator, new Linear(Bottleneck, ClassCount, generator: generator, device: device)));
}
