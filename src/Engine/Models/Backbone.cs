namespace TransferEngine.Models;

/// <summary>
/// What a network wants of images: colours in 0 to 1, resized such that their shorter side is <see cref="Resize"/>, the middle <see cref="Size"/> x
/// <see cref="Size"/> pixels cut out, and (x - mean) / deviation for each channel. It is what its published weights were evaluated with.
/// </summary>
/// <param name="Size">The height and width that go in.</param>
/// <param name="Resize">The shorter side before the middle is cut out.</param>
/// <param name="Mean">A mean a channel.</param>
/// <param name="Deviation">A standard deviation a channel.</param>
/// <param name="Interpolation">How images are resized.</param>
public sealed record Preprocessing(int Size, int Resize, IReadOnlyList<float> Mean, IReadOnlyList<float> Deviation, Interpolation Interpolation = Interpolation.Bilinear)
{
    /// <summary>The channels: 3 are red, green and blue.</summary>
    public int Channels => Mean.Count;
}

/// <summary>A network by its name: what it is made by, and what it wants of images.</summary>
/// <example><code>
/// var model = Backbone.Create("squeezenet1_0", classes: 2, new Generator(1));
/// model.Load("squeezenet1_0.safetensors", strict: false);
/// </code></example>
public sealed class Backbone
{
    private static readonly Backbone[] Known = [.. Define()];

    private readonly Func<int, Generator?, Device?, ElementType, Classifier> make;

    private Backbone(string name, int classes, Preprocessing preprocessing, Func<int, Generator?, Device?, ElementType, Classifier> make) =>
        (Name, Classes, Preprocessing, this.make) = (name, classes, preprocessing, make);

    /// <summary>All networks.</summary>
    public static IReadOnlyList<Backbone> All => Known;

    /// <summary>Its name, torchvision's or timm's where they have it.</summary>
    public string Name { get; }

    /// <summary>The classes of its published weights.</summary>
    public int Classes { get; }

    /// <summary>What it wants of images.</summary>
    public Preprocessing Preprocessing { get; }

    /// <summary>A network by its name.</summary>
    /// <param name="name">As <see cref="All"/> has it.</param>
    /// <exception cref="ArgumentException">There is none; the message lists those that there are.</exception>
    public static Backbone Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return Array.Find(Known, item => item.Name == name)
            ?? throw new ArgumentException($"There is no backbone '{name}'. There are: {string.Join(", ", Known.Select(item => item.Name))}.", nameof(name));
    }

    /// <summary>Makes a network by its name, with random weights.</summary>
    /// <param name="name">As <see cref="All"/> has it.</param>
    /// <param name="classes">How many logits; those of its published weights if null.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    /// <exception cref="ArgumentException">There is none of the name; the message lists those that there are.</exception>
    public static Classifier Create(string name, int? classes = null, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        Find(name).Create(classes, generator, device, type);

    /// <summary>Makes the network, with random weights.</summary>
    /// <param name="classes">How many logits; those of its published weights if null.</param>
    /// <param name="generator">The stream; <see cref="Generator.Default"/> if null.</param>
    /// <param name="device">Where; the CPU if null.</param>
    /// <param name="type">The element type.</param>
    public Classifier Create(int? classes = null, Generator? generator = null, Device? device = null, ElementType type = ElementType.Float32) =>
        make(classes ?? Classes, generator, device, type);

    /// <summary>The name.</summary>
    public override string ToString() => Name;

    private static IEnumerable<Backbone> Define()
    {
        float[] mean = [0.485f, 0.456f, 0.406f], deviation = [0.229f, 0.224f, 0.225f], halves = [0.5f, 0.5f, 0.5f];
        Preprocessing imageNet = new(224, 256, mean, deviation), cifar = new(32, 32, mean, deviation);
        // timm's weights take the middle 0.9 of an image.
        Preprocessing patches = new(224, 248, halves, halves, Interpolation.Bicubic);
        return
        [
            new("squeezenet1_0", 1000, imageNet, SqueezeNet.Version10),
            new("squeezenet1_1", 1000, imageNet, SqueezeNet.Version11),
            new("mobilenet_v1", 1000, new(224, 256, halves, halves), static (n, g, d, t) => new MobileNetV1(n, null, g, d, t)),
            new("mobilenet_v1_block12", 1000, new(224, 256, halves, halves), static (n, g, d, t) => new MobileNetV1(n, new() { Blocks = 12 }, g, d, t)),
            new("mobilenet_v2", 1000, imageNet, static (n, g, d, t) => new MobileNetV2(n, g, d, t)),
            new("resnet18", 1000, imageNet, ResNet.ResNet18),
            new("resnet34", 1000, imageNet, ResNet.ResNet34),
            new("resnet50", 1000, imageNet, ResNet.ResNet50),
            .. new[] { 20, 32, 44, 56 }.Select(depth => new Backbone(FormattableString.Invariant($"resnet{depth}"), 10, cifar, (n, g, d, t) => new CifarResNet(depth, n, g, d, t))),
            new("vgg11", 1000, imageNet, static (n, g, d, t) => Vgg.Vgg11(false, n, g, d, t)),
            new("vgg11_bn", 1000, imageNet, static (n, g, d, t) => Vgg.Vgg11(true, n, g, d, t)),
            new("vgg16", 1000, imageNet, static (n, g, d, t) => Vgg.Vgg16(false, n, g, d, t)),
            new("vgg16_bn", 1000, imageNet, static (n, g, d, t) => Vgg.Vgg16(true, n, g, d, t)),
            new("lenet", 10, new(28, 28, [0.5f], [0.5f]), static (n, g, d, t) => new LeNet(n, dropout: 0.5, generator: g, device: d, type: t)),
            new("dtn", 10, new(32, 32, halves, halves), static (n, g, d, t) => new Dtn(n, generator: g, device: d, type: t)),
            new("vit_tiny_patch16_224", 1000, patches, VisionTransformer.Tiny),
            new("vit_small_patch16_224", 1000, patches, VisionTransformer.Small),
            new("vit_base_patch16_224", 1000, patches, VisionTransformer.Base),
        ];
    }
}
