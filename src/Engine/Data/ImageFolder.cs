using System.Buffers;
using TransferEngine.Data.Transforms;
using TransferEngine.Serialization;

namespace TransferEngine.Data;

/// <summary>What becomes of an image that can't be decoded.</summary>
public enum CorruptImages
{
    /// <summary>Reading it is an error that names the file.</summary>
    Throw,

    /// <summary>All images are decoded once when the folder is opened; those that can't be are left out and listed in <see cref="ImageFolder.Skipped"/>.</summary>
    Skip,
}

/// <summary>How an <see cref="ImageFolder"/> reads.</summary>
public sealed record ImageFolderSettings
{
    /// <summary>The height that images are resized to, whatever their proportions.</summary>
    public int Height { get; init; } = 224;

    /// <summary>The width that images are resized to.</summary>
    public int Width { get; init; } = 224;

    /// <summary>
    /// Whether images are read at their own sizes, <see cref="Height"/> and <see cref="Width"/> counting for nothing. A <see cref="DataLoader"/> then decodes
    /// and transforms image by image, so that no more of them lie in memory than <see cref="DataLoaderSettings.Workers"/>; its transform has to make them one size,
    /// such as <see cref="Transforms.RandomResizedCrop"/>, or <see cref="Transforms.Resize"/> before <see cref="Transforms.CenterCrop"/>.
    /// </summary>
    public bool OriginalSize { get; init; }

    /// <summary>Whether the folders in it are classes; otherwise all images below it are read, as of one class.</summary>
    public bool Labelled { get; init; } = true;

    /// <summary>3 for red, green and blue, 1 for grey. Transparency is dropped.</summary>
    public int Channels { get; init; } = 3;

    /// <summary>What becomes of an image that can't be decoded.</summary>
    public CorruptImages Corrupt { get; init; }

    /// <summary>The most pixels that a file may claim in its header; more are refused before anything is allocated for them.</summary>
    public long PixelLimit { get; init; } = 1L << 26;
}

/// <summary>
/// Images in a folder a class: JPEG, PNG and BMP files, in folders below as well. Classes are numbered in the order of their folders' names, rows go by class
/// and path, both in ordinal order. A batch is Float32 [N, channels, height, width] in 0 to 1 with Int32 [N]; its images are decoded in parallel.
/// An orientation in a photograph's EXIF data is not applied: pixels are taken as they are stored, as Pillow and torchvision do by default.
/// </summary>
public sealed class ImageFolder : IDataset, IRows
{
    private readonly ImageFolderSettings settings;
    private readonly string[] paths;
    private readonly int[] labels;

    /// <param name="path">The folder that holds the classes' folders.</param>
    /// <param name="settings">How to read; the defaults if null.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or the channels are neither 1 nor 3.</exception>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="DataFormatException">No folder in it holds an image.</exception>
    public ImageFolder(string path, ImageFolderSettings? settings = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        this.settings = settings ??= new();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Height);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.Width);
        CheckChannels(nameof(settings), settings.Channels);
        var recursive = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = false };
        string[] folders = settings.Labelled ? Directory.GetDirectories(path) : [path];
        var classes = folders
            .Select(folder => (Name: Path.GetFileName(folder), Files: Directory.GetFiles(folder, "*", recursive).Where(IsImage).Order(StringComparer.Ordinal).ToArray()))
            .Where(item => item.Files.Length > 0)
            .OrderBy(item => item.Name, StringComparer.Ordinal)
            .ToArray();
        if (classes.Length == 0)
            throw new DataFormatException(path, settings.Labelled ? "no folder in it holds a JPEG, PNG or BMP file. Wanted: a folder a class, with its images." : "there is no JPEG, PNG or BMP file in it.");
        Classes = [.. classes.Select(item => item.Name)];
        paths = [.. classes.SelectMany(item => item.Files)];
        labels = [.. classes.SelectMany((item, label) => item.Files.Select(_ => label))];
        if (settings.Corrupt == CorruptImages.Skip)
        {
            var errors = new DataFormatException?[paths.Length];
            Parallel.For(0, paths.Length, row => errors[row] = Check(paths[row]));
            Skipped = [.. errors.OfType<DataFormatException>()];
            labels = [.. labels.Where((_, row) => errors[row] is null)];
            paths = [.. paths.Where((_, row) => errors[row] is null)];
        }
    }

    /// <summary>The classes' names; a label is a place in this list.</summary>
    public IReadOnlyList<string> Classes { get; }

    /// <summary>The class of each row: what <see cref="Splits"/> takes.</summary>
    public IReadOnlyList<int> Labels => labels;

    /// <summary>The file of each row.</summary>
    public IReadOnlyList<string> Paths => paths;

    /// <summary>What was wrong with the files that were left out; empty unless <see cref="CorruptImages.Skip"/> was asked for.</summary>
    public IReadOnlyList<DataFormatException> Skipped { get; } = [];

    /// <inheritdoc/>
    public int Count => paths.Length;

    bool IRows.Single => settings.OriginalSize;

    float[] IRows.Rent(int row, out Shape shape) => Image.Rent(paths[row], settings.Channels, settings.PixelLimit, out shape);

    int IRows.Label(int row) => labels[row];

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">A row is not there.</exception>
    /// <exception cref="DataFormatException">An image can't be decoded: of several the first in the order asked for.</exception>
    /// <exception cref="ShapeException">Images of their own sizes, which differ, are asked for without a transform that makes them one size.</exception>
    public Batch Read(ReadOnlySpan<int> rows, Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        TensorDataset.CheckRows("ImageFolder", rows, Count);
        if (settings.OriginalSize)
            return Transformed.Read(this, rows, device, new Compose(), 0, 0, new());
        Shape shape = [rows.Length, settings.Channels, settings.Height, settings.Width];
        int[] wanted = rows.ToArray();
        var errors = new Exception?[wanted.Length];
        float[] values = ArrayPool<float>.Shared.Rent(shape.Elements);
        try
        {
            int size = shape.Elements / Math.Max(wanted.Length, 1);
            Parallel.For(0, wanted.Length, i =>
            {
                try
                {
                    Image.Read(paths[wanted[i]], settings.Channels, settings.Height, settings.Width, settings.PixelLimit, values.AsSpan(i * size, size));
                }
                catch (Exception e)
                {
                    errors[i] = e;
                }
            });
            if (Array.Find(errors, error => error is not null) is { } first)
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(first);
            var input = Tensor.From<float>(values.AsSpan(0, shape.Elements), shape, device);
            return new(input, Tensor.From(Array.ConvertAll(wanted, row => labels[row]), [wanted.Length], device));
        }
        finally
        {
            ArrayPool<float>.Shared.Return(values);
        }
    }

    /// <summary>Reads one image at its own size.</summary>
    /// <param name="path">A JPEG, PNG or BMP file.</param>
    /// <param name="channels">3 for red, green and blue, 1 for grey.</param>
    /// <param name="pixelLimit">The most pixels that the file may claim in its header.</param>
    /// <returns>[channels, height, width] in 0 to 1, on the CPU.</returns>
    /// <exception cref="DataFormatException">It can't be decoded.</exception>
    public static Tensor ReadImage(string path, int channels = 3, long pixelLimit = 1L << 26)
    {
        ArgumentNullException.ThrowIfNull(path);
        CheckChannels(nameof(channels), channels);
        float[] values = Image.Rent(path, channels, pixelLimit, out var shape);
        try
        {
            return Tensor.From<float>(values.AsSpan(0, shape.Elements), shape);
        }
        finally
        {
            ArrayPool<float>.Shared.Return(values);
        }
    }

    private static void CheckChannels(string argument, int channels)
    {
        if (channels is not (1 or 3))
            throw new ArgumentOutOfRangeException(argument, channels, "ImageFolder: images have 1 channel, grey, or 3, red, green and blue.");
    }

    /// <summary>Whether a file is taken for an image, by the end of its name.</summary>
    /// <param name="path">The file.</param>
    public static bool IsImage(string path) => Path.GetExtension(path).ToLowerInvariant() is ".jpg" or ".jpeg" or ".png" or ".bmp";

    private DataFormatException? Check(string path)
    {
        try
        {
            Image.Check(path, settings.Channels, settings.PixelLimit);
            return null;
        }
        catch (DataFormatException e)
        {
            return e;
        }
    }
}
