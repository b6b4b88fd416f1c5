using System.Text.Json;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;
using static TransferEngine.Tests.Data.TransformReference;

namespace TransferEngine.Tests.Data;

/// <summary>Transforms of images against Pillow and torchvision (make_transforms.py), and folders read at their images' own sizes.</summary>
public sealed class ImageTransformTests : IDisposable
{
    private static readonly Lazy<JsonElement> Reference = new(() => TransformReference.Read("transforms.json.gz"));

    private static readonly Shape Shape = [3, 23, 37];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static float[] Pixels() => Levels(Reference.Value.GetProperty("pixels"));

    [Fact]
    public void Resizing_And_Cropping_Equal_Pillow_To_A_Level()
    {
        foreach (var (name, interpolation) in new[] { ("resize", Interpolation.Bilinear), ("cubic", Interpolation.Bicubic) })
        {
            foreach (var item in Reference.Value.GetProperty(name).EnumerateArray())
            {
                float[] size = Numbers(item.GetProperty("size"));
                Near(Numbers(item.GetProperty("pixels")), Levels(new Resize((int)size[0], (int)size[1]) { Interpolation = interpolation }), 1);
            }
        }
        Assert.Equal([3, 11, 17], new Resize(11).Output(Shape));
        Near(Numbers(Reference.Value.GetProperty("shorter").GetProperty("pixels")), Levels(new Resize(11)), 1);
        Near(Numbers(Reference.Value.GetProperty("crop").GetProperty("pixels")), Levels(new CenterCrop(30, 12)), 1e-3);
        Assert.Equal([3, 17, 11], new Resize(11).Output([3, 37, 23]));
        Assert.Throws<ShapeException>(() => new Resize(3).Output([3, 0, 4]));

        static float[] Levels(ITransform transform) => Array.ConvertAll(Apply(transform, Pixels(), Shape), value => value * 255);
    }

    [Fact]
    public void Colours_Equal_Torchvision()
    {
        Check("brightness", (image, factor) => Color.Brightness(image, factor));
        Check("contrast", (image, factor) => Color.Contrast(image, 3, factor));
        Check("saturation", (image, factor) => Color.Saturation(image, factor));
        Check("hue", (image, factor) => Color.Hue(image, factor));
        Near(Numbers(Reference.Value.GetProperty("grey").GetProperty("values")), Apply(new Grayscale(), Pixels(), Shape), 2e-5);

        static void Check(string name, Action<float[], float> change)
        {
            var item = Reference.Value.GetProperty(name);
            float[] image = Pixels();
            change(image, item.GetProperty("factor").GetSingle());
            Near(Numbers(item.GetProperty("values")), image, 2e-5);
        }
    }

    [Fact]
    public void Jitter_Stays_In_Range_And_Draws_From_The_Seed()
    {
        float[] image = Pixels();
        Assert.Equal(image, Apply(new ColorJitter(), image, Shape));
        var jitter = new ColorJitter(0.4, 0.4, 0.4, 0.1);
        Assert.Equal(Apply(jitter, image, Shape, 3), Apply(jitter, image, Shape, 3));
        Assert.NotEqual(Apply(jitter, image, Shape, 3), Apply(jitter, image, Shape, 4));
        Assert.All(Apply(jitter, image, Shape, 3), value => Assert.InRange(value, 0f, 1f));
        var factors = Enumerable.Range(0, 300).Select(seed => Apply(new ColorJitter(brightness: 0.5), [0.5f], [1, 1, 1], (ulong)seed)[0] / 0.5f).ToArray();
        Assert.InRange(factors.Min(), 0.5f, 0.52f);
        Assert.InRange(factors.Max(), 1.48f, 1.5f);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ColorJitter(hue: 0.6));
        Assert.Throws<ShapeException>(() => jitter.Output([2, 4, 4]));
    }

    [Fact]
    public void Random_Windows_Keep_To_Their_Bounds()
    {
        var crop = new RandomResizedCrop(8);
        var random = new Generator(1);
        for (int i = 0; i < 2000; i++)
        {
            var (top, left, height, width) = crop.Window(200, 300, random);
            Assert.InRange(top, 0, 200 - height);
            Assert.InRange(left, 0, 300 - width);
            Assert.InRange(height * width / 60000.0, 0.077, 1);
            Assert.InRange((double)width / height, 0.74, 1.36);
        }
        // No window of these proportions has the area: the largest central one.
        Assert.Equal((0, 433, 100, 133), new RandomResizedCrop(8, (0.9, 1)).Window(100, 1000, random));
        Assert.Equal((0, 0, 1, 1), new RandomResizedCrop(8, (0.5, 0.5), (1, 1)).Window(1, 1, random));
        Assert.Equal(Apply(new Resize(8, 8), Pixels(), Shape), Apply(new RandomResizedCrop(8, (1, 1), (37 / 23.0, 37 / 23.0)), Pixels(), Shape));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RandomResizedCrop(8, (0, 1)));
    }

    [Fact]
    public void A_Vertical_Flip_Turns_Each_Channel()
    {
        Assert.Equal([3, 4, 1, 2, 7, 8, 5, 6], Apply(new RandomVerticalFlip(1), [1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]));
        Assert.Equal([1, 2, 3, 4], Apply(new RandomVerticalFlip(0), [1, 2, 3, 4], [1, 2, 2]));
    }

    [SkippableFact]
    public void Real_Images_Are_The_Same_Whatever_The_Threads()
    {
        var folder = new ImageFolder(RealFiles.Find("hymenoptera/val"), new() { OriginalSize = true });
        var data = new Subset(folder, [0, 5, 70, 90, 100, 152, 31, 8]);
        var transform = new Compose(new RandomResizedCrop(64), new RandomHorizontalFlip(), new ColorJitter(0.4, 0.4, 0.4, 0.1), Normalize.ImageNet);
        var one = Rows(1, 0, 0);
        Assert.Equal(one, Rows(4, 0, 0));
        Assert.Equal(one, Rows(0, 2, 0));
        Assert.NotEqual(one, Rows(1, 0, 1));
        // Without a common size the error names the rows; with one, no transform is needed.
        Assert.Contains("CenterCrop", Assert.Throws<ShapeException>(() => folder.Read([0, 1, 2, 3], Device.Cpu)).Message, StringComparison.Ordinal);
        using var batch = new DataLoader(data, new() { Transform = new Compose(new Resize(72), new CenterCrop(64)) }).First();
        Assert.Equal([8, 3, 64, 64], batch.Input.Shape);
        Assert.Equal([0, 0, 1, 1, 1, 1, 0, 0], batch.Target.ToArray<int>());

        float[] Rows(int workers, int prefetch, int epoch) => [.. new DataLoader(data, new() { BatchSize = 3, Seed = 7, Workers = workers, Prefetch = prefetch, Transform = transform }) { Epoch = epoch }
            .SelectMany(batch =>
            {
                using (batch)
                    return batch.Input.ToArray<float>();
            })];
    }

    [Fact]
    public void A_Corrupt_Image_Is_Named_Through_The_Loader_And_Memory_Given_Back()
    {
        string bad = folder.Write("a/1.jpg", [0xFF, 0xD8, 0xFF, 1]);
        using var device = Device.Open("cpu");
        var strict = new ImageFolder(folder.Path, new() { OriginalSize = true });
        foreach (int prefetch in (int[])[0, 2])
        {
            var loader = new DataLoader(strict, new() { Prefetch = prefetch, Transform = new Resize(8, 8) }, device);
            Assert.Equal(bad, Assert.Throws<DataFormatException>(() => loader.First()).File);
        }
        Assert.Equal(bad, Assert.Single(new ImageFolder(folder.Path, new() { OriginalSize = true, Corrupt = CorruptImages.Skip }).Skipped).File);
        Assert.Equal(0, device.LiveBytes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void Cancelling_Ends_A_Pass_And_Gives_Memory_Back(int prefetch)
    {
        using var device = Device.Open("cpu");
        using var cancel = new CancellationTokenSource();
        var data = new TensorDataset(Tensor.Zeros([1000, 1, 4, 4]), Tensor.From(new int[1000]));
        int seen = 0;
        Assert.ThrowsAny<OperationCanceledException>(() =>
        {
            foreach (var batch in new DataLoader(data, new() { BatchSize = 2, Prefetch = prefetch, Transform = new RandomVerticalFlip(), Cancellation = cancel.Token }, device))
            {
                batch.Dispose();
                if (++seen == 3)
                    cancel.Cancel();
            }
        });
        Assert.InRange(seen, 3, 3 + prefetch + 1);
        Assert.Equal(0, device.LiveBytes);
    }
}
