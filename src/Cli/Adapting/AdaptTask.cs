using System.Runtime.CompilerServices;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;

namespace TransferEngine.Cli;

/// <summary>Two domains, and the networks that serve them.</summary>
internal abstract class AdaptTask
{
    /// <summary>The names of the classes.</summary>
    public required IReadOnlyList<string> Classes { get; init; }

    /// <summary>The source's rows.</summary>
    public required IDataset Source { get; init; }

    /// <summary>Their classes.</summary>
    public required IReadOnlyList<int> SourceLabels { get; init; }

    /// <summary>The target's rows; training drops what labels they have.</summary>
    public required IDataset Target { get; init; }

    /// <summary>The target's classes, to score with when all is chosen; null where it has none, or others than the source.</summary>
    public IReadOnlyList<int>? TargetLabels { get; init; }

    /// <summary>The length of the feature vectors.</summary>
    public abstract int Features { get; }

    /// <summary>Makes the networks anew.</summary>
    public abstract (Module Features, Module Head) Networks(Generator generator);

    /// <summary>Writes the networks of a model that <see cref="Networks"/> made.</summary>
    public abstract void Save(AdaptedModel model, string path);

    /// <summary>Opens both domains.</summary>
    /// <param name="source">The source, with classes.</param>
    /// <param name="target">The target.</param>
    /// <param name="backbone">The network's name; one that fits the rows if null.</param>
    /// <param name="weights">A file of its weights; random ones if null.</param>
    /// <param name="frozen">Whether the backbone stays as it is, and what is trained takes its features.</param>
    /// <param name="batchSize">The images that features are computed of at once.</param>
    /// <param name="device">Where.</param>
    /// <param name="cancellation">Ends the computing of features.</param>
    public static AdaptTask Open(string source, string target, string? backbone, string? weights, bool frozen, int batchSize, Device device, CancellationToken cancellation)
    {
        if (frozen && weights is null)
            throw new ArgumentException("--freeze features keeps a pretrained backbone as it is: give its --weights.");
        if (weights is not null && backbone is null)
            throw new ArgumentException("--weights are of a network: name it with --backbone.");
        bool images = DomainRows.IsImageFolder(source);
        if (images != DomainRows.IsImageFolder(target))
            throw new ArgumentException($"Of {source} and {target} one is a folder of images and the other is none. Both domains need the same form.");
        if (images)
        {
            var (folders, start) = Folders(source, target, backbone ?? throw new ArgumentException($"Folders of images need --backbone, one of {string.Join(", ", Backbone.All)}."), weights, device);
            return frozen ? folders.OnFeatures(start, batchSize, cancellation) : folders;
        }
        var from = DomainRows.Open(source);
        int[] labels = from.Labels ?? throw new ArgumentException($"{source} has no classes: the source needs them. Wanted: {DomainRows.Forms}.");
        var to = DomainRows.Open(target, from.Inputs.Rank == 2 ? from.Inputs.Shape[1] : null);
        if (from.Inputs.Rank != to.Inputs.Rank || from.Inputs.Shape[1] != to.Inputs.Shape[1])
            throw new ArgumentException($"{source} is {from.Inputs.Shape}, {target} {to.Inputs.Shape}: their rows differ in form. Give both domains the same columns or channels.");
        // Labels may be any numbers, such as 1 to 10: the source's distinct ones are the classes.
        int[] classes = [.. labels.Distinct().Order()];
        labels = Array.ConvertAll(labels, label => Array.BinarySearch(classes, label));
        int[]? known = to.Labels is { } theirs && theirs.All(classes.Contains) ? Array.ConvertAll(theirs, label => Array.BinarySearch(classes, label)) : null;
        var (sourceRows, targetRows) = (new TensorDataset(from.Inputs, Tensor.From(labels)), new TensorDataset(to.Inputs, Tensor.From(known ?? new int[to.Inputs.Shape[0]])));
        string[] names = [.. classes.Select(label => label.ToString(System.Globalization.CultureInfo.InvariantCulture))];
        if (from.Inputs.Rank == 4)
        {
            var network = Backbone.Find(backbone ?? "lenet");
            if (network.Preprocessing.Channels != from.Inputs.Shape[1])
                throw new ArgumentException($"{network} takes images of {network.Preprocessing.Channels} channels, {source} has {from.Inputs.Shape[1]}. Name another --backbone.");
            var model = ImageModel.Start(network, weights, names, new Generator(0), skipCorrupt: false, device);
            var arrays = new Images(network, weights, model.Network.FeatureCount, device) { Classes = names, Source = model.Images(sourceRows), SourceLabels = labels, Target = model.Images(targetRows), TargetLabels = known };
            return frozen ? arrays.OnFeatures(model, batchSize, cancellation) : arrays;
        }
        if (backbone is not null)
            throw new ArgumentException($"--backbone {backbone} takes images; {source} has vectors.");
        return new Vectors(from.Inputs.Shape[1], device) { Classes = names, Source = sourceRows, SourceLabels = labels, Target = targetRows, TargetLabels = known };
    }

    private static (Images Task, ImageModel Start) Folders(string source, string target, string backbone, string? weights, Device device)
    {
        var network = Backbone.Find(backbone);
        string[] classes = [.. new ImageFolder(source).Classes];
        var model = ImageModel.Start(network, weights, classes, new Generator(0), skipCorrupt: false, device);
        var (from, sourceFolder) = model.Images(source);
        var (to, targetFolder) = model.Images(target, DomainRows.HasClassFolders(target));
        var task = new Images(network, weights, model.Network.FeatureCount, device)
        {
            Classes = classes,
            Source = from,
            SourceLabels = sourceFolder.Labels,
            Target = to,
            TargetLabels = targetFolder.Classes.SequenceEqual(classes) ? targetFolder.Labels : null,
        };
        return (task, model);
    }

    /// <summary>Images, by a backbone; its model is one that predict and evaluate take.</summary>
    private sealed class Images(Backbone backbone, string? weights, int features, Device device) : AdaptTask
    {
        private readonly ConditionalWeakTable<Module, ImageModel> models = [];

        public override int Features => features;

        public override (Module Features, Module Head) Networks(Generator generator)
        {
            var model = ImageModel.Start(backbone, weights, Classes, generator, skipCorrupt: false, device);
            var parts = model.Parts;
            models.Add(parts.Head, model);
            return parts;
        }

        public override void Save(AdaptedModel model, string path) => models.GetValue(model.Head, _ => throw new ArgumentException("The model is of another task.")).Save(path);

        /// <summary>The same domains as the features of all images by a model of the backbone's weights, computed once.</summary>
        public AdaptTask OnFeatures(ImageModel model, int batchSize, CancellationToken cancellation)
        {
            var extractor = new FeatureExtractor(model.Network, model.FeatureName);
            TensorDataset Computed(IDataset images)
            {
                var cache = new FeatureCache(extractor, images, batchSize, device);
                cache.Compute(cancellation: cancellation);
                return new(cache.Features, cache.Targets);
            }
            return new ImageFeatures(backbone, weights!, features, device) { Classes = Classes, Source = Computed(Source), SourceLabels = SourceLabels, Target = Computed(Target), TargetLabels = TargetLabels };
        }
    }

    /// <summary>The features of images by a backbone that stays as it is; its model is one that predict and evaluate take.</summary>
    private sealed class ImageFeatures(Backbone backbone, string weights, int inputs, Device device) : AdaptTask
    {
        private const int Width = 256;

        public override int Features => Width;

        public override (Module Features, Module Head) Networks(Generator generator) =>
            (ImageModel.BottleneckOf(inputs, Width, generator, device), new Linear(Width, Classes.Count, generator: generator, device: device));

        public override void Save(AdaptedModel model, string path)
        {
            var whole = ImageModel.Start(backbone, weights, Classes, new Generator(0), skipCorrupt: false, device, Width);
            whole.Bottleneck!.LoadStateDict(model.Features.StateDict());
            whole.Linear.LoadStateDict(model.Head.StateDict());
            whole.Save(path);
        }
    }

    /// <summary>Vectors, by two hidden layers; the columns are standardised by the first batch normalisation.</summary>
    private sealed class Vectors(int columns, Device device) : AdaptTask
    {
        private const int Hidden = 256;

        public override int Features => Hidden / 2;

        public override (Module Features, Module Head) Networks(Generator generator) =>
        (
            new Sequential(
                new BatchNorm1d(columns, affine: false, device: device),
                new Linear(columns, Hidden, generator: generator, device: device), new BatchNorm1d(Hidden, device: device), Activation.Relu(),
                new Linear(Hidden, Features, generator: generator, device: device), Activation.Relu()),
            new Linear(Features, Classes.Count, generator: generator, device: device)
        );

        public override void Save(AdaptedModel model, string path) => new Sequential(("features", model.Features), ("head", model.Head)).Save(path);
    }
}
