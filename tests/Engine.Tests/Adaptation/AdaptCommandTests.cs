using System.Globalization;
using System.Text.Json;
using TransferEngine.Cli;
using TransferEngine.Data;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;
using Xunit;

namespace TransferEngine.Tests.Adaptation;

/// <summary>The command adapt, on two clouds of points in four dimensions that are shifted in the target, and on small images.</summary>
public sealed class AdaptCommandTests : IDisposable
{
    private const int Rows = 200;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Tables_are_adapted_and_the_choice_is_reported()
    {
        string source = Csv("source.csv", 1, 0, labelled: true), target = Csv("target.csv", 2, 1.5, labelled: true), bare = Csv("bare.csv", 2, 1.5, labelled: false);
        string json = folder.File("result.json"), html = folder.File("report.html"), model = folder.File("model.safetensors"), predictions = folder.File("classes.csv");
        string[] command = ["adapt", "--method", "coral,cdan-e,mcd,shot", "--source", source, "--steps", "60", "--select", "entropy", "--out", model, "--json", json];
        Assert.Equal(0, Run([.. command, "--target", target, "--report", html, "--predictions", predictions]));
        var result = Read(json);
        var candidates = result.GetProperty("candidates").EnumerateArray().ToArray();
        Assert.Equal(["cdan-e", "coral", "mcd", "shot", "source-only"], candidates.Select(item => item.GetProperty("method").GetString()!).Order(StringComparer.Ordinal));
        Assert.Equal("entropy", result.GetProperty("selected_by").GetString());
        Assert.Equal(result.GetProperty("method").GetString(), candidates[0].GetProperty("method").GetString());
        double[] scores = [.. candidates.Select(item => item.GetProperty("scores").GetProperty("entropy").GetDouble())];
        Assert.Equal(scores.OrderDescending(), scores);
        string[] lines = File.ReadAllLines(predictions);
        Assert.Equal(Rows + 1, lines.Length);
        double right = Enumerable.Range(0, Rows).Count(row => lines[row + 1] == $"{row},{row % 2}") / (double)Rows;
        Assert.Equal(right, result.GetProperty("accuracy").GetDouble(), 1e-9);
        string report = File.ReadAllText(html);
        Assert.Equal(3, report.Split("<svg").Length - 1 + (result.GetProperty("method").GetString() == "source-only" ? 1 : 0));
        Assert.Contains("Confusion on the target", report, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", report, StringComparison.Ordinal);
        Assert.DoesNotContain("http://", report.Replace("http://www.w3.org/", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("head.weight", Safetensors.Load(model).Tensors.Keys);

        // Without the target's classes all is trained and chosen alike.
        string chosen = result.GetProperty("method").GetString()!;
        Assert.Equal(0, Run([.. command, "--target", bare]));
        Assert.Equal(chosen, Read(json).GetProperty("method").GetString());
        Assert.Equal(JsonValueKind.Null, Read(json).GetProperty("accuracy").ValueKind);
        Assert.Equal(scores, Read(json).GetProperty("candidates").EnumerateArray().Select(item => item.GetProperty("scores").GetProperty("entropy").GetDouble()));
    }

    [Fact]
    public void Images_in_arrays_with_labels_of_any_numbers_are_adapted_to_a_model_that_predict_takes()
    {
        foreach (string name in (string[])["source", "target"])
        {
            Directory.CreateDirectory(folder.File(name));
            var images = Tensor.Uniform([40, 1, 12, 12], generator: new Generator(3));
            Npy.Save(Path.Combine(folder.File(name), "features.npy"), images);
            Npy.Save(Path.Combine(folder.File(name), "labels.npy"), Tensor.From([.. Enumerable.Range(0, 40).Select(i => i % 2 == 0 ? 1 : 7)]));
        }
        string predictions = folder.File("classes.csv"), model = folder.File("model.safetensors"), json = folder.File("result.json");
        Assert.Equal(0, Run("adapt", "--method", "dann", "--source", folder.File("source"), "--target", folder.File("target"), "--steps", "2", "--batch-size", "8", "--out", model, "--json", json, "--predictions", predictions));
        Assert.All(File.ReadAllLines(predictions).Skip(1), line => Assert.True(line.EndsWith(",1", StringComparison.Ordinal) || line.EndsWith(",7", StringComparison.Ordinal), line));
        Assert.Contains("transferengine.backbone", Safetensors.Load(model).Metadata.Keys);
        Assert.Equal(2, Read(json).GetProperty("candidates").GetArrayLength());
    }

    [Fact]
    public void A_frozen_backbone_is_kept_and_its_model_answers_for_images_as_for_features()
    {
        string first = folder.File("first.safetensors"), model = folder.File("model.safetensors"), predictions = folder.File("classes.csv");
        var images = Tensor.Uniform([40, 1, 28, 28], generator: new Generator(5));
        Npy.Save(folder.File("images.npy"), images);
        Npy.Save(folder.File("labels.npy"), Tensor.From([.. Enumerable.Range(0, 40).Select(i => i % 4)]));
        string domain = $"{folder.File("images.npy")},{folder.File("labels.npy")}";
        string[] command = ["adapt", "--method", "coral", "--source", domain, "--target", domain, "--backbone", "lenet", "--batch-size", "8", "--steps", "20"];
        Assert.Equal(0, Run([.. command, "--out", first]));
        string html = folder.File("report.html");
        Assert.Equal(0, Run([.. command, "--freeze", "features", "--weights", first, "--out", model, "--predictions", predictions, "--report", html]));
        Assert.Contains("lenet, which stays as it is", File.ReadAllText(html), StringComparison.Ordinal);
        var (before, after) = (Safetensors.Load(first).Tensors, Safetensors.Load(model).Tensors);
        string[] kept = [.. before.Keys.Where(name => after.TryGetValue(name, out var tensor) && tensor.Shape.Equals(before[name].Shape))];
        Assert.True(kept.Length >= 4, string.Join(", ", after.Keys));
        Assert.All(kept, name => Assert.Equal(before[name].ToArray<float>(), after[name].ToArray<float>()));

        var loaded = ImageModel.Load(model, Device.Cpu);
        var seen = loaded.Images(new TensorDataset(images, Tensor.Zeros([40], type: ElementType.Int32))).Read([.. Enumerable.Range(0, 40)], Device.Cpu);
        using var recording = new NoGrad();
        string[] classes = [.. loaded.Network.Forward(seen.Input).ArgMax(1).ToArray<int>().Select((label, row) => $"{row},{loaded.Classes[label]}")];
        Assert.Equal(classes, File.ReadAllLines(predictions).Skip(1));

        // A backbone of random weights is not worth keeping, and a model that lies about its width is refused.
        Assert.Equal(1, Run([.. command, "--freeze", "features", "--out", folder.File("none.safetensors")]));
        foreach (string width in (string[])["0", "-1", "x", "2000000000", "255"])
        {
            var file = Safetensors.Load(model);
            Safetensors.Save(folder.File("lie.safetensors"), file.Tensors, new Dictionary<string, string>(file.Metadata) { ["transferengine.bottleneck"] = width });
            var error = Assert.Throws<DataFormatException>(() => ImageModel.Load(folder.File("lie.safetensors"), Device.Cpu));
            Assert.Contains($"a bottleneck of '{width}', its weights are of 256", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused_before_anything_is_written()
    {
        string source = Csv("source.csv", 1, 0, labelled: true), narrow = folder.File("narrow.csv"), model = folder.File("model.safetensors");
        File.WriteAllLines(narrow, ["1,0", "2,1"]);
        string[] fitting = ["--source", source, "--target", source, "--out", model, "--steps", "2"];
        Assert.Equal(1, Run(["adapt", "--method", "nothing", .. fitting]));
        Assert.Equal(1, Run(["adapt", "--method", "coral", "--select", "nothing", .. fitting]));
        Assert.Equal(1, Run(["adapt", "--method", "coral", "--backbone", "lenet", .. fitting]));
        Assert.Equal(1, Run(["adapt", "--method", "coral", "--batch-size", "500", .. fitting]));
        Assert.Equal(1, Run("adapt", "--method", "coral", "--source", source, "--target", narrow, "--out", model));
        Assert.Equal(1, Run("adapt", "--method", "coral", "--source", folder.File("missing"), "--target", source, "--out", model));
        Assert.False(File.Exists(model));
    }

    /// <summary>Two classes by turns, around (0, 0, ..) and (3, 3, ..), all shifted.</summary>
    private string Csv(string name, ulong seed, double shift, bool labelled)
    {
        var draw = new Generator(seed);
        float[] noise = Tensor.Normal([Rows, 4], generator: draw).ToArray<float>();
        string path = folder.File(name);
        File.WriteAllLines(path, Enumerable.Range(0, Rows).Select(row => string.Join(',', Enumerable.Range(0, 4)
            .Select(column => (noise[4 * row + column] + (row % 2 == 1 ? 3 : 0) + shift * (column % 2)).ToString("R", CultureInfo.InvariantCulture)).Concat(labelled ? [$"{row % 2}"] : []))));
        return path;
    }

    private static int Run(params string[] arguments) => CommandLine.Root().Parse(arguments).Invoke();

    private static JsonElement Read(string path) => JsonDocument.Parse(File.ReadAllText(path)).RootElement;
}
