using System.Globalization;
using System.Net;
using System.Text;
using ScottPlot;
using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Cli;

/// <summary>One HTML file, with nothing beside it: the choice, learning curves, confusion matrices, and the features of both domains before and after.</summary>
internal static class AdaptReport
{
    private const int Width = 600, Height = 420, MostPoints = 500;

    public static void Write(
        string path, AdaptOptions options, AdaptTask task, SelectionResult result, IReadOnlyList<AdaptedOutcome> outcomes, IDataset source, IDataset target, Device device, CancellationToken cancellation)
    {
        var page = new StringBuilder();
        page.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Adaptation report</title><style>")
            .Append("body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:84rem;padding:0 1rem;color:#222}table{border-collapse:collapse;margin:.5rem 0 1.5rem}")
            .Append("td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}td:first-child,th:first-child{text-align:left}.chosen{background:#e8f4e8}.row{display:flex;flex-wrap:wrap;gap:1rem}.wide{overflow-x:auto;max-width:100%}svg{max-width:100%;height:auto}")
            .Append("</style></head><body>\n");
        page.Append(Text($"<h1>{result.Best.Candidate.Method}, chosen by {result.RankedBy}</h1>"));
        page.Append(Paragraph($"Source {options.Source}, {task.Source.Count} rows; target {options.Target}, {task.Target.Count} rows; {task.Classes.Count} classes. {Network(options)}{options.Steps} steps with batches of {options.BatchSize}, learning rate {options.LearningRate}, seed {options.Seed}, on {device} {device.Name}."));
        page.Append(task.TargetLabels is null
            ? "<p>The target has no classes: nobody knows how right the models are on it. The choice goes by the validator alone.</p>\n"
            : "<p>The target's classes were looked at when all was trained and chosen, for the accuracies and matrices here alone.</p>\n");
        Candidates(page, result, outcomes);
        page.Append("<h2>Learning curves</h2>\n").Append(Curves(result));
        if (task.TargetLabels is not null)
        {
            page.Append("<h2>Confusion on the target</h2><p>Rows are true classes, columns predictions.</p>\n<div class=\"row\">");
            foreach (var outcome in Shown(outcomes))
                Confusion(page, task, outcome);
            page.Append("</div>\n");
        }
        page.Append("<h2>Features of both domains</h2><p>t-SNE of the vectors before the last layer, held-out source and target; a layout shows neighbourhoods, not distances.</p>\n<div class=\"row\">");
        foreach (var outcome in Shown(outcomes))
            page.Append(Layout(outcome, source, target, device, cancellation));
        page.Append("</div>\n</body></html>\n");
        string beside = path + ".part";
        File.WriteAllText(beside, page.ToString());
        File.Move(beside, path, overwrite: true);
    }

    private static string Network(AdaptOptions options) => options.Backbone is null ? "" : $"The network is {options.Backbone}{(options.IsFrozen ? ", which stays as it is under a bottleneck and a head" : "")}; ";

    /// <summary>The model of the source alone, and the chosen one where it is another.</summary>
    private static IEnumerable<AdaptedOutcome> Shown(IReadOnlyList<AdaptedOutcome> outcomes) =>
        new[] { outcomes.First(outcome => outcome.Candidate.Candidate.IsBaseline), outcomes[0] }.Distinct();

    private static void Candidates(StringBuilder page, SelectionResult result, IReadOnlyList<AdaptedOutcome> outcomes)
    {
        string[] validators = [.. result.Best.Scores.Keys];
        page.Append("<h2>Candidates, the best first</h2>\n");
        Table(page, outcomes, ["weight", "held-out source", "target", "seconds", "against source-only"], outcome =>
        [
            outcome.Candidate.Candidate.IsBaseline ? "" : Number(outcome.Candidate.Candidate.Weight), Percent(outcome.SourceAccuracy), outcome.Target is { } matrix ? Percent(matrix.Accuracy) : "",
            $"{outcome.Candidate.Elapsed.TotalSeconds:F1}", outcome.Candidate.NegativeTransfer?.ToString() ?? "",
        ]);
        page.Append("<p>What the validators say of them, which see no class of the target; more is better.</p>\n");
        Table(page, outcomes, validators, outcome => [.. validators.Select(name => Number(outcome.Candidate.Scores[name]))]);
    }

    /// <summary>A row a candidate.</summary>
    private static void Table(StringBuilder page, IReadOnlyList<AdaptedOutcome> outcomes, string[] columns, Func<AdaptedOutcome, string[]> cells)
    {
        page.Append("<div class=\"wide\"><table><tr><th>method</th>");
        foreach (string name in columns)
            page.Append(Text($"<th>{name}</th>"));
        page.Append("</tr>\n");
        foreach (var outcome in outcomes)
        {
            page.Append(ReferenceEquals(outcome, outcomes[0]) ? "<tr class=\"chosen\">" : "<tr>");
            foreach (string cell in (string[])[outcome.Candidate.Candidate.Method, .. cells(outcome)])
                page.Append(Text($"<td>{cell}</td>"));
            page.Append("</tr>\n");
        }
        page.Append("</table></div>\n");
    }

    private static string Curves(SelectionResult result)
    {
        var plot = new Plot();
        foreach (var candidate in result.Ranking.Where(candidate => candidate.Curve.Count > 0))
        {
            var curve = plot.Add.ScatterLine(candidate.Curve.Select(point => (double)point.Step).ToArray(), candidate.Curve.Select(point => point.Loss).ToArray());
            curve.LegendText = candidate.Candidate.Method;
        }
        plot.XLabel("step");
        plot.YLabel("training loss");
        plot.ShowLegend(Alignment.UpperRight);
        return plot.GetSvgXml(2 * Width, Height);
    }

    private static void Confusion(StringBuilder page, AdaptTask task, AdaptedOutcome outcome)
    {
        var matrix = outcome.Target!;
        page.Append(Text($"<div class=\"wide\"><h3>{outcome.Candidate.Candidate.Method}: {Percent(matrix.Accuracy)}</h3><table><tr><th></th>"));
        foreach (string name in task.Classes)
            page.Append(Text($"<th>{name}</th>"));
        page.Append("<th>recall</th></tr>\n");
        for (int label = 0; label < matrix.Classes; label++)
        {
            long most = Math.Max(1, Enumerable.Range(0, matrix.Classes).Sum(predicted => matrix[label, predicted]));
            page.Append(Text($"<tr><td>{task.Classes[label]}</td>"));
            for (int predicted = 0; predicted < matrix.Classes; predicted++)
                page.Append(CultureInfo.InvariantCulture, $"<td style=\"background:rgba(60,120,200,{0.8 * matrix[label, predicted] / most:F2})\">{matrix[label, predicted]}</td>");
            page.Append(CultureInfo.InvariantCulture, $"<td>{Percent(matrix.Recall(label))}</td></tr>\n");
        }
        page.Append("</table></div>\n");
    }

    private static string Layout(AdaptedOutcome outcome, IDataset source, IDataset target, Device device, CancellationToken cancellation)
    {
        using var scope = new TensorScope();
        using var recording = new NoGrad();
        var parts = new[] { Vectors(outcome, source, device), Vectors(outcome, target, device) };
        var rows = Tensor.Concat(parts);
        int n = rows.Shape[0];
        double[] laidOut = new TSne { Perplexity = Math.Clamp(n / 4.0, 1, 30) }.Embed(rows, cancellation: cancellation).To(ElementType.Float64).ToArray<double>();
        var plot = new Plot();
        int start = 0;
        foreach (var (part, name) in parts.Zip(new[] { "source", "target" }))
        {
            int count = part.Shape[0], from = start;
            var points = plot.Add.ScatterPoints(Enumerable.Range(from, count).Select(i => laidOut[2 * i]).ToArray(), Enumerable.Range(from, count).Select(i => laidOut[2 * i + 1]).ToArray());
            points.LegendText = name;
            points.MarkerSize = 4;
            start += count;
        }
        plot.Title(outcome.Candidate.Candidate.IsBaseline ? $"before: {outcome.Candidate.Candidate.Method}" : $"after: {outcome.Candidate.Candidate.Method}");
        plot.HideGrid();
        plot.ShowLegend(Alignment.UpperRight);
        return plot.GetSvgXml(Width, Height);
    }

    private static Tensor Vectors(AdaptedOutcome outcome, IDataset rows, Device device)
    {
        int count = Math.Min(rows.Count, MostPoints);
        List<Tensor> vectors = [];
        foreach (int[] part in Enumerable.Range(0, count).Select(i => (int)((long)i * rows.Count / count)).Chunk(64))
        {
            using var batch = rows.Read(part, device);
            vectors.Add(outcome.Candidate.Model!.Features.Forward(batch.Input));
        }
        return Tensor.Concat(vectors);
    }

    private static string Paragraph(FormattableString text) => $"<p>{Text(text)}</p>\n";

    /// <summary>A text whose arguments are made safe for HTML.</summary>
    private static string Text(FormattableString text) =>
        string.Format(CultureInfo.InvariantCulture, text.Format, [.. text.GetArguments().Select(argument => WebUtility.HtmlEncode(Convert.ToString(argument, CultureInfo.InvariantCulture)))]);

    private static string Percent(double share) => double.IsNaN(share) ? "–" : share.ToString("P1", CultureInfo.InvariantCulture);

    private static string Number(double value) => value.ToString("G4", CultureInfo.InvariantCulture);
}
