using System.IO.Compression;
using System.Text;
using System.Text.Json;
using TransferEngine.Models;
using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Models;

/// <summary>Names, outputs, gradients and running statistics of networks against PyTorch's; make_backbones.py beside this file wrote them.</summary>
public sealed class BackboneTests
{
    private const int Classes = 5;

    private static readonly Dictionary<string, JsonElement> References = Read();

    public static TheoryData<string> Names => [.. References.Keys];

    /// <summary>One of each class.</summary>
    public static TheoryData<string> Kinds => ["squeezenet1_0", "mobilenet_v1", "mobilenet_v2", "resnet18", "resnet20", "vgg11", "lenet", "dtn", "vit_tiny_patch16_224"];

    [Theory, MemberData(nameof(Names))]
    public void Outputs_and_gradients_are_PyTorchs_in_float32(string name) => Compare(name, ElementType.Float32, 1e-4, ["eval"]);

    /// <summary>In training too, where a rounding of float32 sooner or later switches a ReLU, and a gradient with it.</summary>
    [Theory, MemberData(nameof(Names))]
    public void Outputs_and_gradients_are_PyTorchs_in_float64(string name) => Compare(name, ElementType.Float64, 1e-7, ["eval", "train"]);

    [Fact]
    public void Every_backbone_is_compared()
    {
        // Truncated MobileNet v1 is compared with its real weights.
        Assert.Equal(Backbone.All.Select(item => item.Name).Order(), References.Keys.Append("mobilenet_v1_block12").Order());
        Assert.Contains("squeezenet1_1", Assert.Throws<ArgumentException>(() => Backbone.Create("squeezenet")).Message, StringComparison.Ordinal);
    }

    [Theory, InlineData("squeezenet1_0", 1_248_424), InlineData("squeezenet1_1", 1_235_496), InlineData("mobilenet_v1", 4_231_976), InlineData("mobilenet_v2", 3_504_872),
        InlineData("resnet34", 21_797_672), InlineData("resnet56", 853_018), InlineData("vit_tiny_patch16_224", 5_717_416), InlineData("vit_small_patch16_224", 22_050_664)]
    public void Published_sizes(string name, long parameters)
    {
        var backbone = Backbone.Find(name);
        var model = backbone.Create(generator: new(1));
        Assert.Equal(parameters, model.Parameters().Sum(parameter => (long)parameter.Elements));
        Assert.Equal((3, 3), (backbone.Preprocessing.Channels, backbone.Preprocessing.Deviation.Count));
    }

    [Theory, MemberData(nameof(Kinds))]
    public void Features_and_head_are_the_network(string name)
    {
        var item = References[name];
        var model = Make(name, item, ElementType.Float32);
        model.Eval();
        using var scope = new TensorScope();
        using var silent = new NoGrad();
        var x = Input(item.GetProperty("eval"), ElementType.Float32);
        var features = model.Features(x);
        Assert.Equal(model.FeatureCount, features.Shape[1]);
        Assert.Equal([x.Shape[0], model.FeatureCount], model.FeatureVectors(x).Shape);
        Assert.Equal(model.Forward(x).ToArray<float>(), model.Head.Forward(features).ToArray<float>());
        Assert.All(model.FeatureLayers, layer => Assert.DoesNotContain(model.Head, layer.NamedModules().Select(child => child.Module)));
        model.ReplaceHead(new Sequential(new Flatten(), new Linear(features.Elements / x.Shape[0], 2, generator: new(3))));
        Assert.Equal([x.Shape[0], 2], model.Forward(x).Shape);
        Assert.Contains(model.NamedParameters(), parameter => parameter.Name == model.HeadName + ".1.weight");
    }

    private static void Compare(string name, ElementType type, double tolerance, string[] modes)
    {
        var item = References[name];
        var model = Make(name, item, type);
        var state = model.StateDict();
        Assert.Equal(item.GetProperty("state").EnumerateObject().Select(entry => $"{entry.Name} {Sizes(entry.Value)}").Order(), state.Select(entry => $"{entry.Key} {entry.Value.Shape}").Order());
        var wrong = new List<string>();
        foreach (string mode in modes)
        {
            if (!item.TryGetProperty(mode, out var reference))
                continue;
            using var scope = new TensorScope();
            model.LoadStateDict(state.Where(entry => entry.Value.ElementType == type).ToDictionary(entry => entry.Key, entry => Filled(entry.Key, entry.Value.Shape, type)));
            model.Train(mode == "train");
            foreach (var (_, module) in model.NamedModules())
            {
                if (module is Dropout or Dropout2d)
                    module.Eval();
            }
            model.ZeroGrad();
            var y = model.Forward(Input(reference, type));
            (y * Tensor.FromDoubles(Numbers("gradient", y.Elements), y.Shape, Device.Cpu, type)).Sum().Backward();

            double[] want = [.. reference.GetProperty("logits").EnumerateArray().Select(v => v.GetDouble())], got = Doubles(y);
            double largest = want.Max(Math.Abs);
            if (want.Zip(got).Any(pair => !(Math.Abs(pair.First - pair.Second) <= tolerance * largest)))
                wrong.Add($"{mode} logits: {string.Join(", ", got)}; wanted {string.Join(", ", want)}");
            Summaries(mode + " gradient", reference.GetProperty("gradients"), model.NamedParameters().ToDictionary(entry => entry.Name, entry => entry.Tensor.Grad!), tolerance, wrong);
            if (reference.TryGetProperty("statistics", out var statistics))
                Summaries("statistics", statistics, state, tolerance, wrong);
        }
        Assert.True(wrong.Count == 0, $"{name}: {wrong.Count} differ:\n{string.Join('\n', wrong.Take(20))}");
    }

    /// <summary>The norm, the product with fixed numbers, and one element, relative to the norm; to the largest of all where theory says that it is 0.</summary>
    private static void Summaries(string what, JsonElement reference, IReadOnlyDictionary<string, Tensor> tensors, double tolerance, List<string> wrong)
    {
        double total = reference.EnumerateObject().Max(entry => entry.Value[0].GetDouble());
        foreach (var entry in reference.EnumerateObject())
        {
            double[] x = Doubles(tensors[entry.Name]), probe = Numbers("probe." + entry.Name, x.Length);
            double[] got = [Math.Sqrt(x.Sum(v => v * v)), x.Zip(probe, (v, u) => v * u).Sum(), x[x.Length / 3]];
            double[] want = [.. entry.Value.EnumerateArray().Select(v => v.GetDouble())];
            double scale = want[0] < 1e-9 * total ? total : want[0];
            if (got.Zip(want).Any(pair => !(Math.Abs(pair.First - pair.Second) <= tolerance * scale)))
                wrong.Add($"{what} {entry.Name}: {string.Join(", ", got)}; wanted {string.Join(", ", want)}: {got.Zip(want).Max(pair => Math.Abs(pair.First - pair.Second)) / scale:E1}");
        }
    }

    private static Classifier Make(string name, JsonElement item, ElementType type)
    {
        var generator = new Generator(1);
        int size = item.GetProperty("eval").GetProperty("shape")[2].GetInt32();
        return name switch
        {
            // Hidden layers as narrow as the reference's, and images as small.
            "vgg11" or "vgg11_bn" => new Vgg([1, 1, 2, 2, 2], name.EndsWith("bn", StringComparison.Ordinal), Classes, 16, generator, type: type),
            "vgg16" or "vgg16_bn" => new Vgg([2, 2, 3, 3, 3], name.EndsWith("bn", StringComparison.Ordinal), Classes, 16, generator, type: type),
            "vit_tiny_patch16_224" => new VisionTransformer(192, 12, 3, Classes, size, generator: generator, type: type),
            "vit_small_patch16_224" => new VisionTransformer(384, 12, 6, Classes, size, generator: generator, type: type),
            "vit_base_patch16_224" => new VisionTransformer(768, 12, 12, Classes, size, generator: generator, type: type),
            _ => Backbone.Create(name, Classes, generator, type: type),
        };
    }

    private static Tensor Input(JsonElement reference, ElementType type) => Filled(reference.GetProperty("input").GetString()!, Sizes(reference.GetProperty("shape")), type);

    private static Tensor Filled(string name, Shape shape, ElementType type)
    {
        float[] values = Values(name, shape);
        return type == ElementType.Float32 ? Tensor.From(values, shape) : Tensor.From(Array.ConvertAll(values, v => (double)v), shape);
    }

    /// <summary>The values of a parameter, a buffer or the input, as the script computes them.</summary>
    private static float[] Values(string name, Shape shape)
    {
        bool weight = name.EndsWith("weight", StringComparison.Ordinal);
        var (offset, factor) = name.StartsWith("input", StringComparison.Ordinal) ? (0, Math.Sqrt(3))
            : name.EndsWith("running_var", StringComparison.Ordinal) ? (1, 0.3)
            : shape.Rank == 1 ? weight ? (0.5, 0.1) : (0, 0.1)
            : (0, weight ? Math.Sqrt(6.0 / (shape.Elements / shape[0])) : 0.2);
        return Array.ConvertAll(Numbers(name, shape.Elements), u => (float)(offset + factor * u));
    }

    /// <summary>Numbers in [-1, 1): a hash of the name (FNV-1a) and the index.</summary>
    private static double[] Numbers(string name, int count)
    {
        uint seed = Encoding.ASCII.GetBytes(name).Aggregate(2166136261u, (hash, letter) => (hash ^ letter) * 16777619u);
        var result = new double[count];
        for (int i = 0; i < count; i++)
        {
            uint h = (uint)i * 0x9E3779B1u + seed;
            h = (h ^ (h >> 16)) * 0x7FEB352Du;
            h = (h ^ (h >> 15)) * 0x846CA68Bu;
            result[i] = (h ^ (h >> 16)) / 2147483648.0 - 1;
        }
        return result;
    }

    private static double[] Doubles(Tensor x) => x.ElementType == ElementType.Float64 ? x.ToArray<double>() : Array.ConvertAll(x.ToArray<float>(), v => (double)v);

    private static Shape Sizes(JsonElement sizes) => sizes.EnumerateArray().Select(size => size.GetInt32()).ToArray();

    private static Dictionary<string, JsonElement> Read()
    {
        using var file = File.OpenRead(Path.Combine(AppContext.BaseDirectory, "Models", "backbones.json.gz"));
        using var packed = new GZipStream(file, CompressionMode.Decompress);
        return JsonDocument.Parse(packed).RootElement.EnumerateArray().ToDictionary(item => item.GetProperty("name").GetString()!);
    }
}
