using System.Text.Json;
using TransferEngine.Data;
using TransferEngine.Data.Transforms;
using static TransferEngine.Tests.Data.TransformReference;

namespace TransferEngine.Tests.Data;

/// <summary>RandAugment against torchvision's magnitudes and operations on Pillow images (make_randaugment.py).</summary>
public sealed class RandAugmentTests
{
    private static readonly Lazy<JsonElement> Reference = new(() => Read("randaugment.json.gz"));

    private static readonly Shape Shape = Reference.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt32()).ToArray();

    private static float[] Pixels() => Levels(Reference.Value.GetProperty("pixels"));

    [Fact]
    public void Magnitudes_Are_Torchvisions()
    {
        foreach (var space in Reference.Value.GetProperty("spaces").EnumerateArray())
        {
            float[] size = Numbers(space.GetProperty("size"));
            int bins = space.GetProperty("bins").GetInt32();
            Assert.Equal(Enum.GetNames<Augmentation>(), space.GetProperty("levels").EnumerateObject().Select(item => item.Name));
            foreach (var item in space.GetProperty("levels").EnumerateObject())
            {
                var change = Enum.Parse<Augmentation>(item.Name);
                float[] levels = Numbers(item.Value);
                for (int magnitude = 0; magnitude < bins; magnitude++)
                {
                    double wanted = change is Augmentation.TranslateX or Augmentation.TranslateY ? Math.Truncate(levels[magnitude]) : levels[magnitude];
                    Assert.Equal(wanted, new RandAugment(2, magnitude, bins).Level(change, [3, (int)size[0], (int)size[1]]), 2e-5);
                }
            }
        }
    }

    /// <summary>Moved pixels and those set by a table are exactly Pillow's; colours, which Pillow rounds on the way, are its to two levels.</summary>
    [Theory]
    [InlineData("colour", 3)]
    [InlineData("grey", 1)]
    public void Each_Change_Equals_Torchvisions_Of_A_Pillow_Image(string kind, int channels)
    {
        Shape shape = [channels, Shape[1], Shape[2]];
        float[] fill = channels == 3 ? [1, 10 / 255f, 100 / 255f] : [0];
        var seen = new HashSet<Augmentation>();
        foreach (var item in Reference.Value.GetProperty(kind).EnumerateArray())
        {
            var change = Enum.Parse<Augmentation>(item.GetProperty("name").GetString()!);
            var augment = new RandAugment(1, item.GetProperty("magnitude").GetInt32(), fill: fill);
            float[] image = Pixels()[..shape.Elements], held = new float[image.Length + 5];
            augment.Change(change, item.GetProperty("sign").GetInt32() * augment.Level(change, shape), image, shape, held);
            bool rounds = change is Augmentation.Brightness or Augmentation.Color or Augmentation.Contrast or Augmentation.Sharpness or Augmentation.AutoContrast;
            Near(Numbers(item.GetProperty("pixels")), Array.ConvertAll(image, value => value * 255), rounds ? 2 : 1e-4);
            seen.Add(change);
        }
        Assert.Equal(Enum.GetValues<Augmentation>(), seen.Order());
    }

    [Fact]
    public void Sharpness_Equals_Torchvisions_Of_A_Tensor()
    {
        foreach (var item in Reference.Value.GetProperty("sharpness").EnumerateArray())
        {
            float[] result = new float[Shape.Elements];
            Color.Sharpness(Pixels(), Shape, item.GetProperty("factor").GetSingle(), result);
            Near(Numbers(item.GetProperty("values")), result, 2e-5);
        }
        float[] narrow = [0, 1, 0, 1, 0, 1], same = new float[6];
        Color.Sharpness(narrow, [1, 3, 2], 1.9f, same);
        Assert.Equal(narrow, same);
    }

    [Fact]
    public void All_Changes_In_Both_Directions_Are_Drawn_Alike()
    {
        // Of an image whose changes all differ, how often does each come?
        float[] image = Pixels();
        var counts = Enumerable.Range(0, 2800).Select(seed => Key(Apply(new RandAugment(1, 22), image, Shape, (ulong)seed))).CountBy(key => key).ToDictionary();
        // Nine changes have two directions, five have none.
        Assert.Equal(9 * 2 + 5, counts.Count);
        Assert.All(counts.Values, count => Assert.True(Math.Abs(count - 100) < 45 || Math.Abs(count - 200) < 60, $"{count} of 2800"));
        Assert.Equal(200, counts[Key(image)], 60.0);

        static string Key(float[] image) => string.Join(' ', image);
    }

    [Fact]
    public void A_Row_Is_Augmented_Alike_Whatever_The_Threads()
    {
        var images = Enumerable.Range(0, 12).SelectMany(i => Pixels().Select(value => value * (i + 1) / 12)).ToArray();
        var data = new TensorDataset(Tensor.From(images, [12, .. Shape]), Tensor.From(Enumerable.Range(0, 12).ToArray()));
        float[] one = Rows(1, 0, 0);
        Assert.Equal(one, Rows(4, 2, 0));
        Assert.NotEqual(one, Rows(1, 0, 1));
        Assert.All(one, value => Assert.InRange(value, 0f, 1f));

        float[] Rows(int workers, int prefetch, int epoch)
        {
            var settings = new DataLoaderSettings { BatchSize = 5, Seed = 3, Workers = workers, Prefetch = prefetch, Transform = new RandAugment(3, 20) };
            return [.. new DataLoader(data, settings) { Epoch = epoch }.SelectMany(batch => batch.Input.ToArray<float>())];
        }
    }

    [Fact]
    public void Edges_Of_Its_Arguments()
    {
        Assert.Equal(Pixels(), Apply(new RandAugment(0), Pixels(), Shape));
        Assert.Equal([0.25f], Apply(new RandAugment(1, 0), [0.25f], [1, 1, 1], 4));
        Assert.Empty(Apply(new RandAugment(20), [], [3, 0, 4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RandAugment(magnitude: 31));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RandAugment(numMagnitudeBins: 1, magnitude: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RandAugment(-1));
        Assert.Throws<ArgumentException>(() => new RandAugment(fill: []));
        Assert.Throws<ShapeException>(() => new RandAugment(fill: [0, 0]).Output([3, 4, 4]));
        Assert.Throws<ShapeException>(() => new RandAugment().Output([2, 4, 4]));
        Assert.Throws<ShapeException>(() => new RandAugment().Output([4, 4]));
    }
}
