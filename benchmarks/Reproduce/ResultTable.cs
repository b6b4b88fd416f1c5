using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using TransferEngine.Serialization;

namespace TransferEngine.Benchmarks;

/// <summary>The rows of a run as a table of methods and tasks, beside what was published; on the terminal, as JSON and as Markdown.</summary>
internal sealed class ResultTable(Experiment experiment, ExperimentRun run)
{
    /// <summary>The width of the table where the output is no terminal, which is then taken to be narrow.</summary>
    private const int RedirectedWidth = 240;

    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // arrows stay arrows
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, // the scores of a training that diverged
    };

    private readonly List<ResultRow> rows = [.. run.Earlier];

    public void Add(ResultRow row) => rows.Add(row);

    /// <summary>Prints a line for each method and, below it, what was published.</summary>
    public void Print()
    {
        if (Console.IsOutputRedirected)
            AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, RedirectedWidth);
        var table = new Table { Border = TableBorder.Simple };
        table.AddColumn(new TableColumn("").NoWrap());
        foreach (string task in experiment.Tasks.Append("mean").Append("s"))
            table.AddColumn(new TableColumn(task) { Padding = new(0, 1) }.NoWrap().RightAligned());
        foreach (var method in run.Methods)
        {
            table.AddRow([.. new[] { method.Name }.Concat(Line(method)).Append(Seconds(method)).Select(Markup.Escape)]);
            if (Published(method) is { } line)
                table.AddRow([.. line.Prepend("  published").Append("").Select(Markup.Escape)]);
        }
        AnsiConsole.Write(table);
    }

    /// <summary>Writes { experiment, device, rows: [{ task, method, seed, accuracy, seconds, candidates }] }; beside the file first, then renamed.</summary>
    public void WriteJson(string path) => Write(path, JsonSerializer.Serialize(new ResultFile(experiment.Name, $"{run.Device} {run.Device.Name}", rows), Indented) + "\n");

    /// <summary>Reads what <see cref="WriteJson"/> wrote.</summary>
    /// <exception cref="DataFormatException">The file is not of that kind.</exception>
    public static ResultFile ReadJson(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<ResultFile>(File.ReadAllText(path), Indented) is { Experiment: not null, Rows: not null } file ? file : throw new JsonException("experiment or rows are missing.");
        }
        catch (JsonException e)
        {
            throw new DataFormatException(path, $"it holds no rows of an experiment: {e.Message}", e);
        }
    }

    /// <summary>Writes the experiment's page: protocol, table, recipes, notes.</summary>
    public void WriteMarkdown(string path)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# {experiment.Title}\n\n{experiment.Protocol.Trim()}\n\nMade by\n\n```sh\n{CommandLine()}\n```\n\n");
        string spread = rows.Any(row => row.Seed > 1) ? ", mean and sample standard deviation over the seeds that were run" : "";
        text.Append(CultureInfo.InvariantCulture, $"Accuracy on the target in percent{spread}. In italics what was published; the last column is the mean time of a task in seconds.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"| | {string.Join(" | ", experiment.Tasks)} | mean | s |\n|---|{string.Concat(Enumerable.Repeat("---:|", experiment.Tasks.Count + 2))}\n");
        foreach (var method in run.Methods)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {method.Name} | {string.Join(" | ", Line(method))} | {Seconds(method)} |\n");
            if (Published(method) is { } line)
                text.Append(CultureInfo.InvariantCulture, $"| *published* | {string.Join(" | ", line.Select(cell => cell.Length == 0 ? "" : $"*{cell}*"))} | |\n");
        }
        text.Append("\n## Recipes\n\n");
        foreach (var method in run.Methods)
            text.Append(CultureInfo.InvariantCulture, $"- **{method.Name}**: {method.Recipe}\n");
        if (experiment.Notes.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $"\n## Notes\n\n{experiment.Notes.Trim()}\n");
        Write(path, text.ToString());
    }

    private string CommandLine() =>
        $"dotnet run -c Release --project benchmarks -- reproduce {experiment.Name} --data DIR{(run.Methods.Count == experiment.Methods.Count ? "" : " --methods " + string.Join(',', run.Methods.Select(method => method.Name)))}{(run.Seeds == 1 ? "" : $" --seeds {run.Seeds}")} --markdown FILE";

    /// <summary>The accuracy of each task in percent and their mean.</summary>
    private IEnumerable<string> Line(ExperimentMethod method)
    {
        var byTask = experiment.Tasks.Select(task => rows.Where(row => row.Task == task && row.Method == method.Name).Select(row => 100 * row.Accuracy).ToArray()).ToArray();
        foreach (double[] values in byTask)
            yield return Spread(values);
        // The spread of a mean over tasks is that of the seeds' means.
        yield return byTask.All(values => values.Length > 0)
            ? Spread([.. rows.Where(row => row.Method == method.Name).GroupBy(row => row.Seed).Select(seed => 100 * seed.Average(row => row.Accuracy))])
            : "";
    }

    private static IEnumerable<string>? Published(ExperimentMethod method) => method.Published?
        .Append(method.Published.All(double.IsFinite) ? method.Published.Average() : double.NaN)
        .Select(value => double.IsFinite(value) ? Percent(value) : "");

    private string Seconds(ExperimentMethod method)
    {
        var own = rows.Where(row => row.Method == method.Name).ToArray();
        return own.Length == 0 ? "" : Percent(own.Average(row => row.Seconds));
    }

    private static string Spread(double[] values)
    {
        if (values.Length == 0)
            return "";
        double mean = values.Average();
        return values.Length == 1 ? Percent(mean) : $"{Percent(mean)} ± {Percent(Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Length - 1)))}";
    }

    private static string Percent(double value) => value.ToString("F1", CultureInfo.InvariantCulture);

    internal static void Write(string path, string text)
    {
        string beside = $"{path}.{Guid.NewGuid():N}.partial";
        File.WriteAllText(beside, text);
        File.Move(beside, path, overwrite: true);
    }
}

/// <summary>The rows of an experiment as they are kept in a file.</summary>
internal sealed record ResultFile(string Experiment, string Device, IReadOnlyList<ResultRow> Rows);
