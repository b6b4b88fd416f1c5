namespace TransferEngine.Tests.Serialization;

/// <summary>Third-party files that lie in shared/data beside the checkout. Without them a test is skipped, in continuous integration it fails.</summary>
internal static class RealFiles
{
    public static string Find(string name)
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string path = Path.Combine(folder.FullName, "shared", "data", name);
            if (Path.Exists(path))
                return path;
        }
        string reason = $"shared/data/{name} is in no folder above the tests.";
        Assert.False(string.Equals(Environment.GetEnvironmentVariable("CI"), "true", StringComparison.OrdinalIgnoreCase), reason);
        Skip.If(true, reason);
        return "";
    }
}
