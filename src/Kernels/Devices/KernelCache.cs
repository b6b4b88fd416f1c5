using System.Security.Cryptography;
using System.Text;

namespace TransferEngine.Kernels;

/// <summary>What ILGPU made of a kernel: the text that the driver translates (PTX or OpenCL C), and the shared memory that it asks for.</summary>
internal readonly record struct KernelText(string Source, int SharedBytes, bool HasDynamicSharedMemory);

/// <summary>
/// Keeps translated kernels in a folder, a file each, so that a second process need not translate them again. A file's name is the hash of its key, which names all
/// that the text depends on; the file holds the key again and a hash of everything behind it. A file that is cut short, damaged, too long or another kernel's is as
/// good as none, and the next <see cref="Store"/> replaces it. The hash guards against accidents, not against somebody who may write to the folder: it belongs to the user.
/// </summary>
internal sealed class KernelCache(string folder)
{
    /// <summary>The environment variable that names the folder, or says <c>off</c>.</summary>
    public const string Variable = "TRANSFERENGINE_KERNEL_CACHE";

    private const string Heading = "TransferEngine kernel 1", Extension = ".kernel", ListExtension = ".list";
    private const int LongestFile = 16 << 20;

    private static readonly TimeSpan Kept = TimeSpan.FromDays(60);

    private bool swept;

    public string Folder { get; } = Path.GetFullPath(folder);

    /// <summary>The cache in the folder that the environment names, else in the user's folder for local data; null where it says off or there is no such folder.</summary>
    public static KernelCache? Default()
    {
        string? named = Environment.GetEnvironmentVariable(Variable);
        if (string.Equals(named, "off", StringComparison.OrdinalIgnoreCase))
            return null;
        if (!string.IsNullOrWhiteSpace(named))
            return new(named);
        string local = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData);
        return local.Length == 0 ? null : new(Path.Combine(local, "TransferEngine", "kernels"));
    }

    /// <summary>The list of the kernels that a program loads on a target, in a file of its own in the folder.</summary>
    public KernelList ListOf(string program, string target) =>
        new(Path.Combine(Folder, Hash($"{program} | {typeof(KernelCache).Assembly.ManifestModule.ModuleVersionId:N} | {target}") + ListExtension));

    /// <summary>The text that was stored under a key, or null.</summary>
    public KernelText? Find(string key)
    {
        string file = FileOf(key);
        try
        {
            var info = new FileInfo(file);
            if (!info.Exists || info.Length > LongestFile)
                return null;
            var text = Parse(File.ReadAllText(file), key);
            if (text is not null && DateTime.UtcNow - info.LastWriteTimeUtc > TimeSpan.FromDays(1))
                File.SetLastWriteTimeUtc(file, DateTime.UtcNow); // in use: not swept away
            return text;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Stores a text; where the folder cannot be written to, nothing happens.</summary>
    public void Store(string key, in KernelText text)
    {
        string file = FileOf(key), part = $"{file}.{Guid.NewGuid():N}.part";
        string body = $"{key}\n{text.SharedBytes} {(text.HasDynamicSharedMemory ? 1 : 0)}\n{text.Source}";
        if (body.Length + 200 > LongestFile)
            return;
        try
        {
            Directory.CreateDirectory(Folder);
            Sweep();
            File.WriteAllText(part, $"{Heading}\n{Hash(body)}\n{body}");
            File.Move(part, file, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            TryDelete(part);
        }
    }

    private static KernelText? Parse(string content, string key)
    {
        string[] parts = content.Split('\n', 3);
        if (parts.Length != 3 || parts[0] != Heading || parts[1] != Hash(parts[2]))
            return null;
        string[] fields = parts[2].Split('\n', 3);
        return fields.Length == 3 && fields[0] == key && fields[1].Split(' ') is [var bytes, "0" or "1"] && int.TryParse(bytes, out int shared) && shared >= 0
            ? new(fields[2], shared, fields[1].EndsWith('1'))
            : null;
    }

    /// <summary>Deletes, once, what no process has used for long.</summary>
    private void Sweep()
    {
        if (swept)
            return;
        swept = true;
        foreach (string file in Directory.EnumerateFiles(Folder))
        {
            if (Path.GetExtension(file) is Extension or ListExtension or ".part" && DateTime.UtcNow - File.GetLastWriteTimeUtc(file) > Kept)
                TryDelete(file);
        }
    }

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It stays.
        }
    }

    private string FileOf(string key) => Path.Combine(Folder, Hash(key) + Extension);

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
