using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using TransferEngine.Data;
using TransferEngine.Serialization;
using TransferEngine.Training;

namespace TransferEngine.Cli;

/// <summary>What is done with a model that finetune wrote, and with weight files.</summary>
internal static class ModelUse
{
    /// <summary>Names the classes of an image, the likeliest first.</summary>
    public static void Predict(string model, string image, int top, FileInfo? json, Device device)
    {
        var loaded = ImageModel.Load(model, device);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        float[] shares = loaded.Network.Forward(loaded.Image(image, device)).Softmax(1).ToArray<float>();
        var ranked = shares.Select((share, label) => (Class: loaded.Classes[label], Share: share)).OrderByDescending(item => item.Share).Take(top).ToArray();
        var table = new Table().AddColumns("class", "probability");
        table.Columns[1].RightAligned();
        foreach (var (name, share) in ranked)
            table.AddRow(Markup.Escape(name), $"{share:P2}");
        AnsiConsole.Write(table);
        if (json is not null)
            File.WriteAllText(json.FullName, JsonSerializer.Serialize(new { image, classes = ranked.Select(item => new { name = item.Class, probability = item.Share }) }));
    }

    /// <summary>Scores the images of a folder a class.</summary>
    public static void Evaluate(string model, string data, int batchSize, bool skipCorrupt, FileInfo? json, Device device, CancellationToken cancellation)
    {
        var loaded = ImageModel.Load(model, device, skipCorrupt);
        var (images, folder) = loaded.Images(data);
        if (!folder.Classes.SequenceEqual(loaded.Classes))
            throw new ArgumentException($"{data} has the classes {string.Join(", ", folder.Classes)}, the model has {string.Join(", ", loaded.Classes)}. Give a folder with these.");
        var matrix = new ConfusionMatrix(loaded.Classes.Count);
        Evaluation.Run(loaded.Network, new DataLoader(images, new() { BatchSize = batchSize, Prefetch = 2 }, device), [matrix], cancellation);
        var table = new Table().Title($"{matrix.Accuracy:P1} of {matrix.Rows} images right; rows are true classes").AddColumns(["", .. loaded.Classes.Select(Markup.Escape), "recall"]);
        for (int i = 0; i < loaded.Classes.Count; i++)
            table.AddRow([Markup.Escape(loaded.Classes[i]), .. Enumerable.Range(0, loaded.Classes.Count).Select(j => matrix[i, j].ToString(CultureInfo.InvariantCulture)), $"{matrix.Recall(i):P1}"]);
        AnsiConsole.Write(table);
        if (json is not null)
            File.WriteAllText(json.FullName, JsonSerializer.Serialize(new { accuracy = matrix.Accuracy, balanced_accuracy = matrix.BalancedAccuracy, images = matrix.Rows }));
    }

    /// <summary>Writes a row of features for each image, in the order of classes and paths: NPY, or CSV with path and class before them.</summary>
    public static void Extract(string model, string data, string output, int batchSize, bool skipCorrupt, Device device, CancellationToken cancellation)
    {
        var loaded = ImageModel.Load(model, device, skipCorrupt);
        var (images, folder) = loaded.Images(data);
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var features = Tensor.Concat([.. Rows(loaded, images, batchSize, device, cancellation)]);
        if (Path.GetExtension(output).Equals(".npy", StringComparison.OrdinalIgnoreCase))
        {
            Npy.Save(output, features);
        }
        else
        {
            float[] values = features.ToArray<float>();
            int width = features.Shape[1];
            string beside = output + ".part";
            using (var writer = new StreamWriter(beside))
            {
                for (int row = 0; row < folder.Count; row++)
                    writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Quoted(folder.Paths[row])},{Quoted(folder.Classes[folder.Labels[row]])},{string.Join(',', values.Skip(row * width).Take(width).Select(value => value.ToString("R", CultureInfo.InvariantCulture)))}"));
            }
            File.Move(beside, output, overwrite: true);
        }
        AnsiConsole.MarkupLineInterpolated($"{features.Shape[0]} rows of {features.Shape[1]} features written to {output}.");
    }

    /// <summary>Lists what is in a file of weights.</summary>
    public static void Inspect(string path)
    {
        using var scope = new TensorScope();
        var file = WeightFile.Load(path);
        var table = new Table().AddColumns("name", "type", "shape", "elements");
        table.Columns[3].RightAligned();
        foreach (var (name, tensor) in file.Tensors)
            table.AddRow(Markup.Escape(name), tensor.ElementType.ToString(), Markup.Escape(tensor.Shape.ToString()), tensor.Elements.ToString("N0", CultureInfo.InvariantCulture));
        AnsiConsole.Write(table);
        foreach (var (key, value) in file.Metadata)
            AnsiConsole.MarkupLineInterpolated($"{key}: {value}");
        AnsiConsole.MarkupLineInterpolated($"{file.Tensors.Count} tensors, {file.Tensors.Values.Sum(tensor => (long)tensor.Elements):N0} elements.");
    }

    private static IEnumerable<Tensor> Rows(ImageModel loaded, IDataset images, int batchSize, Device device, CancellationToken cancellation)
    {
        foreach (var batch in new DataLoader(images, new() { BatchSize = batchSize, Prefetch = 2 }, device))
        {
            cancellation.ThrowIfCancellationRequested();
            using (batch)
                yield return loaded.Network.FeatureVectors(batch.Input);
        }
    }

    private static string Quoted(string text) => text.AsSpan().IndexOfAny(",\"\n\r") < 0 ? text : $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
