using ScottPlot;

namespace TransferEngine.Benchmarks;

/// <summary>A line of a chart.</summary>
/// <param name="Name">What the legend calls it.</param>
/// <param name="X">Places.</param>
/// <param name="Y">Values.</param>
/// <param name="Spread">How far each value goes up and down, if that is drawn.</param>
internal sealed record Series(string Name, double[] X, double[] Y, double[]? Spread = null);

/// <summary>Charts of lines, as PNG.</summary>
internal static class Chart
{
    public static Plot Lines(string title, string x, string y, IReadOnlyList<double> places, params Series[] lines)
    {
        var plot = new Plot();
        plot.Title(title);
        plot.XLabel(x);
        plot.YLabel(y);
        foreach (var line in lines)
        {
            var drawn = plot.Add.Scatter(line.X, line.Y);
            drawn.LegendText = line.Name;
            (drawn.LineWidth, drawn.MarkerSize) = (2, 8);
            if (line.Spread is not null)
                plot.Add.ErrorBar(line.X, line.Y, line.Spread).Color = drawn.Color;
        }
        plot.Axes.Bottom.SetTicks([.. places], [.. places.Select(place => $"{place:0}")]);
        plot.Axes.SetLimitsY(0, 1.08 * lines.Max(line => line.Y.Select((value, i) => value + (line.Spread?[i] ?? 0)).Max()));
        if (lines.Length > 1)
            plot.ShowLegend(Alignment.LowerRight);
        return plot;
    }

    /// <summary>Writes charts, two in a row.</summary>
    public static void Save(string path, params Plot[] plots)
    {
        int rows = (plots.Length + 1) / 2, columns = Math.Min(plots.Length, 2);
        var all = new Multiplot(plots[0]) { Layout = new ScottPlot.MultiplotLayouts.Grid(rows, columns) };
        foreach (var plot in plots[1..])
            all.AddPlot(plot);
        all.SavePng(path, 600 * columns, 420 * rows);
    }
}
