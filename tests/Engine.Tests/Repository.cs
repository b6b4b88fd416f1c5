namespace TransferEngine.Tests;

/// <summary>The working copy that these tests were built from.</summary>
internal static class Repository
{
    /// <summary>The folder of the solution: the nearest above the test's own that has it.</summary>
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "TransferEngine.sln")))
                return folder.FullName;
        }
        throw new DirectoryNotFoundException($"No TransferEngine.sln lies above {AppContext.BaseDirectory}. Run the tests from a build inside the repository.");
    }
}
