using System.Text.Json;
using TransferEngine.Cli;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;
using Xunit;

namespace TransferEngine.Tests.FineTuning;

/// <summary>The commands around pretrained weights, on the photos of ants and bees.</summary>
public sealed class CommandTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [SkippableFact]
    public void A_fixed_extractor_reaches_nine_tenths_and_its_model_is_used()
    {
        string data = RealFiles.Find("hymenoptera"), model = folder.File("model.safetensors"), json = folder.File("result.json");
        string[] command = ["finetune", "--weights", Squeeze(), "--backbone", "squeezenet1_0", "--data", data, "--freeze", "features", "--cache", "--cache-folder", folder.File("cache"), "--json", json, "--out", model];
        Assert.Equal(0, Run(command));
        var result = Read(json);
        Assert.Equal("feature-extractor", result.GetProperty("mode").GetString());
        Assert.Equal(1, result.GetProperty("epochs").GetInt32());
        double accuracy = result.GetProperty("accuracy").GetDouble();
        Assert.InRange(accuracy, 0.9, 1);
        Assert.InRange(result.GetProperty("seconds").GetDouble(), result.GetProperty("first_pass_seconds").GetDouble(), 600);

        Assert.Equal(0, Run("evaluate", "--model", model, "--data", Path.Combine(data, "val"), "--json", json));
        Assert.Equal(accuracy, Read(json).GetProperty("accuracy").GetDouble(), 0.007); // one image may lie on the boundary
        Assert.Equal(153, Read(json).GetProperty("images").GetInt32());

        string bee = Directory.GetFiles(Path.Combine(data, "val", "bees")).Order(StringComparer.Ordinal).First();
        Assert.Equal(0, Run("predict", "--model", model, "--image", bee, "--json", json));
        var classes = Read(json).GetProperty("classes").EnumerateArray().ToArray();
        Assert.Equal("bees", classes[0].GetProperty("name").GetString());
        Assert.Equal(1, classes.Sum(item => item.GetProperty("probability").GetDouble()), 1e-5);

        // Features of the training images, against those that PyTorch's SqueezeNet gives for the same crops.
        string npy = folder.File("features.npy"), csv = folder.File("features.csv");
        Assert.Equal(0, Run("extract", "--model", model, "--data", Path.Combine(data, "val"), "--out", npy));
        Assert.Equal(0, Run("extract", "--model", model, "--data", Path.Combine(data, "val"), "--out", csv));
        var features = Npy.Load(npy);
        Assert.Equal([153, 512], features.Shape);
        string[] lines = File.ReadAllLines(csv);
        Assert.Equal(153, lines.Length);
        Assert.EndsWith("," + string.Join(',', features.Select(0, 152).ToArray<float>().Select(value => value.ToString("R", System.Globalization.CultureInfo.InvariantCulture))), lines[152], StringComparison.Ordinal);
        Assert.Contains(",bees,", lines[152], StringComparison.Ordinal);
        var theirs = Npy.Load(RealFiles.Find("hymenoptera/squeezenet512_val_X.npy"));
        float[] ours = features.ToArray<float>(), published = theirs.ToArray<float>();
        double error = Math.Sqrt(ours.Zip(published).Sum(pair => Math.Pow(pair.First - pair.Second, 2)) / published.Sum(value => (double)value * value));
        Assert.InRange(error, 0, 0.05); // decoders of JPEG differ in rounding

        Assert.Equal(0, Run("inspect", model));

        // Again, from the features that the first run left: the same head.
        byte[] trained = File.ReadAllBytes(model);
        DateTime[] times = Times();
        Assert.Equal(0, Run(command));
        Assert.Equal(trained, File.ReadAllBytes(model));
        Assert.Equal(2, times.Length);
        Assert.Equal(times, Times());

        DateTime[] Times() => [.. Directory.GetFiles(folder.File("cache")).Order(StringComparer.Ordinal).Select(File.GetLastWriteTimeUtc)];
    }

    [SkippableFact]
    public void Images_are_augmented_and_mixed_and_corrupt_ones_left_out_if_asked_to()
    {
        string data = RealFiles.Find("hymenoptera"), model = folder.File("model.safetensors"), json = folder.File("result.json");
        foreach (string kind in (string[])["train/ants", "train/bees", "val/ants", "val/bees"])
        {
            foreach (string file in Directory.GetFiles(Path.Combine(data, kind)).Order(StringComparer.Ordinal).Take(3))
                folder.Write($"photos/{kind}/{Path.GetFileName(file)}", File.ReadAllBytes(file));
        }
        foreach (string part in (string[])["train", "val"])
            folder.Write($"photos/{part}/ants/broken.jpg", [0xFF, 0xD8, 0xFF, 1]);
        string[] command =
        [
            "finetune", "--weights", RealFiles.Find("resnet-cifar10/resnet20-12fca82f.th"), "--backbone", "resnet20", "--data", folder.File("photos"), "--epochs", "1", "--batch-size", "4",
            "--rand-augment", "--mixup", "0.2", "--cutmix", "1", "--out", model, "--json", json,
        ];
        Assert.Equal(1, Run(command));
        Assert.False(File.Exists(model));
        Assert.Equal(0, Run([.. command, "--skip-corrupt"]));
        var result = Read(json);
        Assert.Equal("fine-tuning", result.GetProperty("mode").GetString());
        Assert.Equal(1, result.GetProperty("epochs").GetInt32());
        string[] use = ["--model", model, "--data", folder.File("photos/val")];
        Assert.Equal(1, Run(["evaluate", .. use]));
        Assert.Equal(0, Run(["evaluate", .. use, "--skip-corrupt", "--json", json]));
        Assert.Equal(6, Read(json).GetProperty("images").GetInt32());
        Assert.Equal(0, Run(["extract", .. use, "--skip-corrupt", "--out", folder.File("features.npy")]));
        Assert.Equal([6, 64], Npy.Load(folder.File("features.npy")).Shape);
        Assert.Equal(0, Run("inspect", RealFiles.Find("resnet-cifar10/resnet20-12fca82f.th")));
    }

    [SkippableFact]
    public void What_does_not_fit_is_an_error_and_writes_nothing()
    {
        string data = RealFiles.Find("hymenoptera"), model = folder.File("model.safetensors");
        string[] rest = ["--data", data, "--out", model];
        Assert.Equal(1, Run(["finetune", "--weights", Squeeze(), "--backbone", "resnet18", .. rest]));
        Assert.Equal(1, Run(["finetune", "--weights", Squeeze(), "--backbone", "squeezenet", .. rest]));
        Assert.Equal(1, Run(["finetune", "--weights", Squeeze(), "--backbone", "squeezenet1_0", "--cache", .. rest]));
        Assert.Equal(1, Run(["finetune", "--weights", Squeeze(), "--backbone", "squeezenet1_0", "--freeze", "features", "--cache", "--mixup", "0.2", .. rest]));
        Assert.Equal(1, Run(["finetune", "--weights", Squeeze(), "--backbone", "squeezenet1_0", "--cutmix", "0", .. rest]));
        Assert.Equal(1, Run("finetune", "--weights", Squeeze(), "--backbone", "squeezenet1_0", "--data", Path.Combine(data, "val"), "--out", model));
        Assert.Equal(1, Run("predict", "--model", Squeeze(), "--image", "none.jpg"));
        Assert.Equal(1, Run("inspect", folder.Write("damaged.safetensors", [1, 2, 3])));
        Assert.False(File.Exists(model));
    }

    private static string Squeeze() => RealFiles.Find("squeezenet1_0/squeezenet1_0-deepcompression.safetensors");

    private static int Run(params string[] arguments) => CommandLine.Root().Parse(arguments).Invoke();

    private static JsonElement Read(string path) => JsonDocument.Parse(File.ReadAllText(path)).RootElement;
}
