using TransferEngine.Data;
using TransferEngine.Serialization;

namespace TransferEngine.Cli;

/// <summary>A domain that lies in files of numbers: its rows, and their classes where they are given.</summary>
/// <param name="Inputs">[N, d] vectors or [N, C, H, W] images in 0 to 1.</param>
/// <param name="Labels">One a row; null where the domain has none.</param>
internal sealed record DomainRows(Tensor Inputs, int[]? Labels)
{
    public const string Forms = "a folder with a folder of JPEG or PNG images a class (a target's may lie in one folder), a folder with MNIST's idx files or with features.npy and labels.npy, "
        + "a .csv file whose last column is the class (a target's may be missing), or an .npy or idx file, with that of the labels after a comma";

    private static readonly EnumerationOptions Below = new() { RecurseSubdirectories = true };

    /// <summary>Whether a path is a folder that images lie in.</summary>
    public static bool IsImageFolder(string path) => Directory.Exists(path) && Directory.EnumerateFiles(path, "*", Below).Any(ImageFolder.IsImage);

    /// <summary>Whether the images of a folder lie in folders, one a class.</summary>
    public static bool HasClassFolders(string path) => !Directory.EnumerateFiles(path).Any(ImageFolder.IsImage);

    /// <summary>Reads a domain.</summary>
    /// <param name="path">What the option said.</param>
    /// <param name="columns">The numbers of a row, where another domain has said how many there are: a table without classes is known by it.</param>
    public static DomainRows Open(string path, int? columns = null)
    {
        string[] parts = path.Split(',');
        if (parts.Length > 2 || parts.Any(string.IsNullOrWhiteSpace))
            throw new ArgumentException($"'{path}' is no domain. Wanted: {Forms}.");
        if (Directory.Exists(path))
            parts = Inside(path);
        string data = parts[0];
        if (!File.Exists(data))
            throw new ArgumentException($"There is no '{data}'. Wanted: {Forms}.");
        string name = data.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? data[..^3] : data;
        if (name.EndsWith(".csv", StringComparison.OrdinalIgnoreCase))
            return Table(data, columns);
        var inputs = name.EndsWith(".npy", StringComparison.OrdinalIgnoreCase) ? Npy.Load(data).To(ElementType.Float32) : Images(data);
        if (inputs.Rank is not (2 or 4))
            throw new DataFormatException(data, $"its shape is {inputs.Shape}; wanted vectors [N, d] or images [N, C, H, W].");
        int[]? labels = parts.Length == 1 ? null : Classes(parts[1]);
        return labels is null || labels.Length == inputs.Shape[0]
            ? new(inputs.KeepAlive(), labels)
            : throw new DataFormatException(parts[1], $"it has {labels.Length} labels for the {inputs.Shape[0]} rows of {data}.");
    }

    private static string[] Inside(string folder)
    {
        string[] files = [.. Directory.GetFiles(folder).Order(StringComparer.Ordinal)];
        string? images = Array.Find(files, file => Named(file, "train-images-idx3")) ?? Array.Find(files, file => Named(file, "images-idx3"));
        if (images is not null)
            return Pair(images, Path.Combine(folder, Path.GetFileName(images).Replace("images-idx3", "labels-idx1", StringComparison.Ordinal)));
        string features = Path.Combine(folder, "features.npy");
        return File.Exists(features) ? Pair(features, Path.Combine(folder, "labels.npy")) : throw new ArgumentException($"'{folder}' holds no domain. Wanted: {Forms}.");

        static bool Named(string file, string part) => Path.GetFileName(file).Contains(part, StringComparison.Ordinal);
        static string[] Pair(string data, string labels) => File.Exists(labels) ? [data, labels] : [data];
    }

    private static DomainRows Table(string path, int? columns)
    {
        if (columns is { } width)
        {
            var table = Csv.Load(path);
            if (table.Columns == width)
                return new(Tensor.From(table.Values, [table.Rows, width]).KeepAlive(), null);
        }
        var data = TensorDataset.FromCsv(path);
        return new(data.Inputs, data.Targets.ToArray<int>());
    }

    private static Tensor Images(string path)
    {
        var (shape, pixels) = Idx.Load(path);
        return shape.Rank == 3
            ? Tensor.From(Array.ConvertAll(pixels, value => value / 255f), [shape[0], 1, shape[1], shape[2]])
            : throw new DataFormatException(path, $"its shape is {shape}, wanted images, [N, H, W].");
    }

    private static int[] Classes(string path)
    {
        if (path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase))
        {
            using var labels = Npy.Load(path);
            return labels.Rank == 1 ? labels.To(ElementType.Int32).ToArray<int>() : throw new DataFormatException(path, $"its shape is {labels.Shape}, wanted labels, [N].");
        }
        var (shape, values) = Idx.Load(path);
        return shape.Rank == 1 ? Array.ConvertAll(values, value => (int)value) : throw new DataFormatException(path, $"its shape is {shape}, wanted labels, [N].");
    }
}
