using System.CommandLine;
using System.Globalization;
using System.Text;
using MathNet.Numerics.Statistics;
using TransferEngine.Adaptation;

namespace TransferEngine.Benchmarks;

/// <summary>validators --rows FILE...: how well the validators' rankings follow the true target accuracy, from the rows that the deep experiments wrote.</summary>
internal static class ValidatorStudy
{
    /// <summary>The command.</summary>
    public static Command Command()
    {
        var rows = new Option<FileInfo[]>("--rows") { Description = "Files that --json of deep experiments wrote.", Required = true, AllowMultipleArgumentsPerToken = true };
        var markdown = new Option<FileInfo?>("--markdown") { Description = "Writes the page to this file too." };
        var command = new Command("validators", "Compares validators: the rank correlation of their scores with the accuracy on the target.") { rows, markdown };
        command.SetAction((options, _) => Task.FromResult(ReproduceCommand.Guarded(() =>
        {
            ResultFile[] files = [.. options.GetRequiredValue(rows).Select(file => ResultTable.ReadJson(file.FullName))];
            string page = Page(files);
            Console.Write(page);
            if (options.GetValue(markdown) is { } path)
                ResultTable.Write(path.FullName, page);
        })));
        return command;
    }

    private static string Page(ResultFile[] files)
    {
        var experiments = files.GroupBy(file => file.Experiment).ToDictionary(group => group.Key, group => Groups(group.SelectMany(file => file.Rows)).ToArray());
        var groups = experiments.Values.SelectMany(all => all).ToArray();
        if (groups.Length == 0)
            throw new ArgumentException("--rows: no task has two or more candidates with scores. Give files of digits, har or office-caltech10-images.");
        string[] names = [.. groups[0].Candidates[0].Scores.Keys];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"""
            # Validators

            How well each label-free validator's ranking follows the true accuracy on the target: Spearman's rank correlation over all trainings of a task and seed (every method with every weight,
            source-only among them), averaged over the tasks and seeds of an experiment: {string.Join(", ", experiments.Select(item => $"{item.Value.Length} of {item.Key}, each with {item.Value.Average(group => group.Candidates.Length):F0} trainings"))}.
            A correlation of 1 is the true order, 0 none. *Loss* is what choosing by the validator costs: the accuracy of the best training less that of the chosen one, in points, averaged
            likewise. Target labels are used here, to judge the validators, and nowhere else.

            Made by

            ```sh
            dotnet run -c Release --project benchmarks -- reproduce validators --rows FILE... --markdown FILE
            ```

            | validator | {string.Join(" | ", experiments.Keys)} | mean | loss |
            |---|{string.Concat(Enumerable.Repeat("---:|", experiments.Count + 2))}

            """);
        foreach (var (name, cells, mean, loss) in names.Select(name => Line(name, experiments)).OrderByDescending(line => line.Mean))
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {string.Join(" | ", cells.Select(cell => cell.ToString("F2", CultureInfo.InvariantCulture)))} | {mean:F2} | {loss:F1} |\n");
        text.Append(CultureInfo.InvariantCulture, $"\nSource-only costs {100 * groups.Average(group => group.Best - group.SourceOnly.Accuracy):F1} points, a training drawn at random {100 * groups.Average(group => group.Best - group.Candidates.Average(row => row.Accuracy)):F1}.\n");
        text.Append("\n## The alarm of negative transfer\n\n").Append(Alarms(groups));
        return text.ToString();
    }

    /// <summary>The trainings of each task and seed; of those on the source alone, the one that the others are held against.</summary>
    private static IEnumerable<Group> Groups(IEnumerable<ResultRow> rows) =>
        from row in rows
        where row.Candidates is not null && !row.Method.EndsWith(DeepMethod.Own, StringComparison.Ordinal)
        where row.Method == DeepMethod.SourceOnly || !row.Method.StartsWith(DeepMethod.SourceOnly, StringComparison.Ordinal)
        group row by (row.Task, row.Seed) into task
        let source = task.FirstOrDefault(row => row.Method == DeepMethod.SourceOnly)
        where source is not null && task.Count() > 1
        select new Group([.. task.SelectMany(row => row.Candidates!)], source.Candidates![0]);

    private static (string Name, double[] Cells, double Mean, double Loss) Line(string name, Dictionary<string, Group[]> experiments)
    {
        double[] cells = [.. experiments.Values.Select(groups => groups.Average(group => Correlation(name, group)))];
        return (name, cells, cells.Average(), experiments.Values.Average(groups => 100 * groups.Average(group => group.Best - group.Candidates.MaxBy(row => Score(name, row))!.Accuracy)));
    }

    private static double Correlation(string name, Group group)
    {
        double value = MathNet.Numerics.Statistics.Correlation.Spearman(group.Candidates.Select(row => Score(name, row)), group.Candidates.Select(row => row.Accuracy));
        return double.IsFinite(value) ? value : 0; // all scores alike say nothing
    }

    private static double Score(string name, CandidateRow row) => double.IsNaN(row.Scores[name]) ? double.MinValue : row.Scores[name];

    private static string Alarms(Group[] groups)
    {
        var votes = groups.SelectMany(group => group.Candidates.Where(row => !ReferenceEquals(row, group.SourceOnly))
            .Select(row => (IsHarmed: row.Accuracy < group.SourceOnly.Accuracy, NegativeTransferVote.Count(row.Scores, group.SourceOnly.Scores).IsAlarm))).ToArray();
        int harmed = votes.Count(vote => vote.IsHarmed), caught = votes.Count(vote => vote is { IsHarmed: true, IsAlarm: true }), alarms = votes.Count(vote => vote.IsAlarm);
        return string.Create(CultureInfo.InvariantCulture, $"""
            Of {votes.Length} adapted models {harmed} are worse on the target than source-only. The vote warned of {alarms}, {caught} of them among the {harmed}: it catches
            {Percent(caught, harmed)} of the harmful, {Percent(caught, alarms)} of its alarms are right, and it warns of {Percent(alarms - caught, votes.Length - harmed)} of the others.
            The panel that votes ({string.Join(", ", NegativeTransferVote.Panel.Select(voter => voter.Name))}) was put together after a look at these tasks.

            """);
    }

    private static string Percent(int part, int whole) => whole == 0 ? "none" : (100.0 * part / whole).ToString("F0", CultureInfo.InvariantCulture) + " %";

    private sealed record Group(CandidateRow[] Candidates, CandidateRow SourceOnly)
    {
        public double Best => Candidates.Max(row => row.Accuracy);
    }
}
