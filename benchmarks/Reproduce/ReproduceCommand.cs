using System.CommandLine;
using Spectre.Console;

namespace TransferEngine.Benchmarks;

/// <summary>reproduce EXPERIMENT --data DIR: runs a published experiment again, prints its table and writes its rows.</summary>
internal static class ReproduceCommand
{
    /// <summary>The experiments, a command each.</summary>
    private static readonly Experiment[] All = [new OfficeCaltechSurf(), new Digits(), new Har(), new OfficeCaltechImages()];

    /// <summary>Runs the command line.</summary>
    public static Task<int> Run(string[] arguments)
    {
        var root = new RootCommand("Runs published experiments again.");
        foreach (var experiment in All)
            root.Add(Command(experiment));
        root.Add(ValidatorStudy.Command());
        return root.Parse(arguments).InvokeAsync();
    }

    private static Command Command(Experiment experiment)
    {
        var data = new Option<DirectoryInfo>("--data") { Description = "The folder of the data set, or the one that holds all data sets.", Required = true };
        var methods = new Option<string?>("--methods") { Description = $"Some of {string.Join(",", experiment.Methods.Select(method => method.Name))}; all if not given." };
        var seeds = new Option<int>("--seeds") { Description = "Over how many seeds what is drawn at random is repeated.", DefaultValueFactory = _ => 1 };
        var json = new Option<FileInfo?>("--json") { Description = "Also writes the rows to this file, after each; what it has already from an earlier run is not run again." };
        var markdown = new Option<FileInfo?>("--markdown") { Description = "Also writes the page with tables and recipes to this file." };
        var cache = new Option<DirectoryInfo?>("--cache") { Description = "Keeps the features of a fixed network in this folder for the next run, where the experiment has one." };
        var device = new Option<string>("--device") { Description = "cuda, opencl or cpu, with :index for another than the first.", DefaultValueFactory = _ => "cpu" };
        seeds.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 100)
                result.AddError("--seeds is a number from 1 to 100.");
        });
        var command = new Command(experiment.Name, experiment.Title) { data, methods, seeds, json, markdown, cache, device };
        command.SetAction((options, cancellation) => Task.FromResult(Guarded(() =>
        {
            using var opened = Device.Open(options.GetRequiredValue(device));
            var file = options.GetValue(json);
            var run = new ExperimentRun(options.GetRequiredValue(data).FullName, Chosen(experiment, options.GetValue(methods)), options.GetValue(seeds), opened)
            {
                Earlier = Earlier(experiment, file),
                Cache = options.GetValue(cache)?.FullName,
            };
            var table = new ResultTable(experiment, run);
            foreach (var row in experiment.Run(run, cancellation))
            {
                table.Add(row);
                if (file is not null)
                    table.WriteJson(file.FullName);
                AnsiConsole.MarkupLineInterpolated($"{row.Method,-10} {row.Task,-10} seed {row.Seed}: {row.Accuracy:P2}, {row.Seconds:F1} s");
            }
            table.Print();
            if (options.GetValue(markdown) is { } page)
                table.WriteMarkdown(page.FullName);
        })));
        return command;
    }

    private static IReadOnlyList<ResultRow> Earlier(Experiment experiment, FileInfo? file)
    {
        if (file is not { Exists: true })
            return [];
        var earlier = ResultTable.ReadJson(file.FullName);
        return earlier.Experiment == experiment.Name ? earlier.Rows : throw new ArgumentException($"--json: {file} has rows of {earlier.Experiment}. Give {experiment.Name} a file of its own.");
    }

    private static List<ExperimentMethod> Chosen(Experiment experiment, string? names)
    {
        if (names is null)
            return [.. experiment.Methods];
        var wanted = names.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string? unknown = wanted.FirstOrDefault(name => !experiment.Methods.Any(method => Is(method, name)));
        if (unknown is not null || wanted.Length == 0)
            throw new ArgumentException($"--methods: '{unknown}' is none of {string.Join(", ", experiment.Methods.Select(method => method.Name))}.");
        return [.. experiment.Methods.Where(method => wanted.Any(name => Is(method, name)))];

        static bool Is(ExperimentMethod method, string name) => method.Name.Equals(name, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>Runs, and turns what a user can mend into a line of text and exit code 1.</summary>
    internal static int Guarded(Action action)
    {
        try
        {
            action();
            return 0;
        }
        catch (Exception e) when (e is ArgumentException or DeviceUnavailableException or DeviceMemoryException or IOException or UnauthorizedAccessException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]{e.Message}[/]");
            return 1;
        }
        catch (OperationCanceledException)
        {
            AnsiConsole.MarkupLine("[yellow]Cancelled.[/]");
            return 130;
        }
    }
}
