using System.Diagnostics;
using System.Text.RegularExpressions;

namespace TransferEngine.Tests;

/// <summary>The samples, which the solution builds, do what they say; the README's example is one of them.</summary>
public class SamplesTests
{
    [Theory]
    [InlineData("QuickStart", @"source-only: \d+\.\d % of the target .*\nmk-mmd: 9\d\.\d %")]
    [InlineData("AddDomainAdaptation", @"source-only 0\.\d+, mk-mmd [01]\.\d+")]
    [InlineData("FreezeAndProbe", @"4 parameters frozen; 20 labels: 0\.\d+ on the measurements, 0\.\d+ on the features")]
    public async Task A_sample_ends_well(string name, string expected)
    {
        // The samples lie beside these tests, built in the same configuration: .../tests/Engine.Tests/bin/{configuration}/net10.0.
        string[] place = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar).Split(Path.DirectorySeparatorChar);
        string program = Path.Combine(Repository.Root, "samples", name, "bin", place[^2], place[^1], name + ".dll");
        using var process = Process.Start(new ProcessStartInfo("dotnet", [program]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        Task<string> output = process.StandardOutput.ReadToEndAsync(limit.Token), errors = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
        Assert.True(process.ExitCode == 0, $"{name} ended with {process.ExitCode}: {await output}{await errors}");
        Assert.Matches(new Regex(expected), (await output).ReplaceLineEndings("\n"));
    }

    [Fact]
    public void The_example_of_the_readme_is_the_sample_that_is_run()
    {
        string readme = File.ReadAllText(Path.Combine(Repository.Root, "README.md")).ReplaceLineEndings("\n");
        var block = Regex.Match(readme, "```csharp\n(.*?)```", RegexOptions.Singleline);
        Assert.True(block.Success, "README.md has no csharp block.");
        Assert.Equal(File.ReadAllText(Path.Combine(Repository.Root, "samples", "QuickStart", "Program.cs")).ReplaceLineEndings("\n"), block.Groups[1].Value);
        Assert.InRange(block.Groups[1].Value.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length, 1, 24);
    }
}
