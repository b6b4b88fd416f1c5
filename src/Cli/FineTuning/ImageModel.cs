using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Serialization;

namespace TransferEngine.Cli;

/// <summary>A backbone with a head for named classes, perhaps behind a bottleneck, in one safetensors file: backbone, classes and the bottleneck's width are in its metadata.</summary>
internal sealed class ImageModel
{
    private const string BackboneKey = "transferengine.backbone", ClassesKey = "transferengine.classes", BottleneckKey = "transferengine.bottleneck", BottleneckWeight = ".bottleneck.0.weight";

    private ImageModel(Backbone backbone, IReadOnlyList<string> classes, Classifier network, Sequential? bottleneck) => (Backbone, Classes, Network, Bottleneck) = (backbone, classes, network, bottleneck);

    public Backbone Backbone { get; }

    public IReadOnlyList<string> Classes { get; }

    public Classifier Network { get; }

    /// <summary>The layers between the backbone's vectors and the linear map; null where there are none.</summary>
    public Sequential? Bottleneck { get; }

    /// <summary>Whether images that can't be decoded are named and left out; otherwise they are an error.</summary>
    public bool SkipsCorrupt { get; init; }

    /// <summary>The head's linear map.</summary>
    public Module Linear => Network.Head is Sequential layers ? layers[^1] : Network.Head;

    /// <summary>The network in two parts: what makes vectors of images, and the linear map of them.</summary>
    public (Module Features, Module Head) Parts => Network.Head is Sequential layers
        ? (new Sequential([.. Network.FeatureLayers, .. layers.SkipLast(1)]), layers[^1])
        : (new Sequential([.. Network.FeatureLayers]), Network.Head);

    /// <summary>The module whose output the linear map takes.</summary>
    public string FeatureName
    {
        get
        {
            var before = Network.Head is Sequential layers ? layers[^2] : Network.FeatureLayers[^1];
            return Network.NamedModules().First(item => ReferenceEquals(item.Module, before)).Name;
        }
    }

    /// <summary>Source weights under a new linear head.</summary>
    /// <param name="backbone">The network.</param>
    /// <param name="weights">A file of its weights, safetensors or a checkpoint of PyTorch, whose own head is left out; random weights if null.</param>
    /// <param name="classes">The names of the classes.</param>
    /// <param name="generator">What the head's first weights are drawn from.</param>
    /// <param name="skipCorrupt">Whether images that can't be decoded are left out.</param>
    /// <param name="device">Where.</param>
    /// <param name="bottleneck">The width of a bottleneck before the head; 0 for none.</param>
    public static ImageModel Start(Backbone backbone, string? weights, IReadOnlyList<string> classes, Generator generator, bool skipCorrupt, Device device, int bottleneck = 0)
    {
        var network = backbone.Create(generator: generator, device: device);
        if (weights is not null)
            LoadAllButHead(backbone, network, weights);
        return With(backbone, classes, network, bottleneck, generator, skipCorrupt, device);
    }

    private static void LoadAllButHead(Backbone backbone, Classifier network, string weights)
    {
        var report = network.Load(weights, strict: false);
        string[] missing = [.. report.Missing.Concat(report.Mismatched).Where(name => !name.StartsWith(network.HeadName, StringComparison.Ordinal) && !name.EndsWith("num_batches_tracked", StringComparison.Ordinal))];
        if (missing.Length > 0)
            throw new DataFormatException(weights, $"it has no weights of {backbone}: {report.Matched.Count} names match, {missing.Length} are missing or of another shape, such as {missing[0]}. Give weights of {backbone}, or their own --backbone.");
    }

    /// <summary>A model that <see cref="Save"/> wrote.</summary>
    public static ImageModel Load(string path, Device device, bool skipCorrupt = false)
    {
        IReadOnlyDictionary<string, string> metadata;
        int? stored;
        using (new TensorScope())
        {
            var file = Safetensors.Load(path);
            metadata = file.Metadata;
            stored = file.Tensors.FirstOrDefault(item => item.Key.EndsWith(BottleneckWeight, StringComparison.Ordinal)).Value is { Rank: 2 } weight ? weight.Shape[0] : null;
        }
        if (!metadata.TryGetValue(BackboneKey, out string? name) || !metadata.TryGetValue(ClassesKey, out string? list))
            throw new DataFormatException(path, "it does not say of which backbone and classes it is. Give a file that finetune or adapt wrote.");
        string[] classes;
        Backbone backbone;
        int bottleneck = 0;
        try
        {
            classes = JsonSerializer.Deserialize<string[]>(list) is { Length: > 0 } names ? names : throw new JsonException("no class is named.");
            backbone = Backbone.Find(name);
            // No wider than the weights that are there, so that a lie takes no memory.
            if (metadata.TryGetValue(BottleneckKey, out string? width) && !(int.TryParse(width, NumberStyles.None, CultureInfo.InvariantCulture, out bottleneck) && bottleneck > 0 && bottleneck == stored))
                throw new ArgumentException($"it names a bottleneck of '{width}', its weights are of {stored?.ToString(CultureInfo.InvariantCulture) ?? "none"}.");
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            throw new DataFormatException(path, $"its metadata can't be read: {e.Message}", e);
        }
        var generator = new Generator(0);
        var model = With(backbone, classes, backbone.Create(generator: generator, device: device), bottleneck, generator, skipCorrupt, device);
        model.Network.Load(path);
        model.Network.Eval();
        return model;
    }

    public void Save(string path)
    {
        var metadata = new Dictionary<string, string> { [BackboneKey] = Backbone.Name, [ClassesKey] = JsonSerializer.Serialize(Classes) };
        if (Bottleneck is not null)
            metadata[BottleneckKey] = ((Linear)Linear).Weight.Shape[1].ToString(CultureInfo.InvariantCulture);
        Network.Save(path, metadata);
    }

    /// <summary>The layers of a bottleneck: as wide as said, batch-normalised and rectified, with dropout.</summary>
    public static Sequential BottleneckOf(int inputs, int width, Generator generator, Device device) =>
        new(new Linear(inputs, width, generator: generator, device: device), new BatchNorm1d(width, device: device), Activation.Relu(), new Dropout(0.5, generator));

    /// <summary>The images of a folder a class, or of one folder, as the network wants them, the same at each pass.</summary>
    public (IDataset Data, ImageFolder Folder) Images(string path, bool labelled = true)
    {
        var folder = Folder(path, labelled);
        return (Images(folder), folder);
    }

    /// <summary>Images as the network wants them, the same at each pass.</summary>
    public IDataset Images(IDataset images) => new TransformedDataset(images, Middle());

    /// <summary>Tells the images of a folder and what is done to them from others: files with their lengths and times, and the preprocessing.</summary>
    public string Origin(ImageFolder folder)
    {
        var wanted = Backbone.Preprocessing;
        var files = folder.Paths.Select(path => new FileInfo(path)).Select((file, row) => FormattableString.Invariant($"{folder.Classes[folder.Labels[row]]}/{file.Name} {file.Length} {file.LastWriteTimeUtc.Ticks}"));
        return FormattableString.Invariant($"{wanted.Size} {wanted.Resize} {string.Join(' ', wanted.Mean.Concat(wanted.Deviation))} {wanted.Interpolation}\n{string.Join('\n', files)}");
    }

    /// <summary>The images of a folder, of which each pass takes other parts and mirrors half of them, and changes them further if asked to.</summary>
    public DataLoader Augmented(string path, int batchSize, ulong seed, bool randAugment, IBatchTransform? mixing, Device device) => new(Folder(path), new()
    {
        BatchSize = batchSize,
        Shuffle = true,
        Seed = seed,
        Prefetch = 2,
        Transform = new Compose(new RandomResizedCrop(Backbone.Preprocessing.Size) { Interpolation = Backbone.Preprocessing.Interpolation }, new RandomHorizontalFlip(), randAugment ? new RandAugment() : new Compose(), Normalization()),
        BatchTransform = mixing,
    }, device);

    /// <summary>One image as a batch.</summary>
    public Tensor Image(string path, Device device)
    {
        var image = ImageFolder.ReadImage(path, Backbone.Preprocessing.Channels);
        var single = new TensorDataset(image.Reshape([1, .. image.Shape]), Tensor.Zeros([1], type: ElementType.Int32));
        return Images(single).Read([0], device).Input;
    }

    private static ImageModel With(Backbone backbone, IReadOnlyList<string> classes, Classifier network, int bottleneck, Generator generator, bool skipCorrupt, Device device)
    {
        var between = bottleneck == 0 ? null : BottleneckOf(network.FeatureCount, bottleneck, generator, device);
        var linear = new Linear(between is null ? network.FeatureCount : bottleneck, classes.Count, generator: generator, device: device);
        List<(string, Module)> layers = GivesMaps(network, backbone.Preprocessing, device) ? [("pool", new AdaptiveAvgPool2d(1)), ("flatten", new Flatten())] : [];
        if (between is not null)
            layers.Add(("bottleneck", between));
        network.ReplaceHead(layers.Count == 0 ? linear : new Sequential([.. layers, ("linear", linear)]));
        return new(backbone, classes, network, between) { SkipsCorrupt = skipCorrupt };
    }

    private static bool GivesMaps(Classifier network, Preprocessing wanted, Device device)
    {
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        network.Eval();
        return network.Features(Tensor.Zeros([1, wanted.Channels, wanted.Size, wanted.Size], device)).Rank == 4;
    }

    private ImageFolder Folder(string path, bool labelled = true)
    {
        var folder = new ImageFolder(path, new() { Labelled = labelled, OriginalSize = true, Channels = Backbone.Preprocessing.Channels, Corrupt = SkipsCorrupt ? CorruptImages.Skip : CorruptImages.Throw });
        foreach (var error in folder.Skipped)
            AnsiConsole.MarkupLineInterpolated($"[yellow]Left out:[/] {error.Message}");
        return folder;
    }

    private Compose Middle() => new(new Resize(Backbone.Preprocessing.Resize) { Interpolation = Backbone.Preprocessing.Interpolation }, new CenterCrop(Backbone.Preprocessing.Size), Normalization());

    private Normalize Normalization() => new(Backbone.Preprocessing.Mean, Backbone.Preprocessing.Deviation);
}
