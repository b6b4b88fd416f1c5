using System.Globalization;
using System.Text;

namespace TransferEngine.Serialization;

/// <summary>A table of numbers.</summary>
/// <param name="Names">The columns' names; empty without a header.</param>
/// <param name="Rows">The number of rows.</param>
/// <param name="Columns">The number of columns.</param>
/// <param name="Values">The numbers, row by row.</param>
public sealed record CsvTable(IReadOnlyList<string> Names, int Rows, int Columns, float[] Values);

/// <summary>Tables of numbers as text, with a point for decimals whatever the machine's language. Names that end in .gz are decompressed.</summary>
public static class Csv
{
    /// <summary>Reads a table; every row has as many numbers as the first. Empty lines are passed over; numbers may stand in double quotes.</summary>
    /// <param name="path">The file, in UTF-8.</param>
    /// <param name="separator">What stands between numbers.</param>
    /// <param name="hasHeader">Whether the first line names the columns.</param>
    /// <param name="limit">The most bytes that the file may have, decompressed.</param>
    /// <exception cref="DataFormatException">A field is no number, or a row has more or fewer than the first: the message names line and column.</exception>
    public static CsvTable Load(string path, char separator = ',', bool hasHeader = false, long limit = FileBytes.DefaultLimit)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Parse(path, FileBytes.Read(path, limit), separator, hasHeader);
    }

    /// <summary>Reads a table from a stream, decompressed already.</summary>
    /// <param name="stream">Read to its end.</param>
    /// <param name="name">What errors call it.</param>
    /// <param name="separator">What stands between numbers.</param>
    /// <param name="hasHeader">Whether the first line names the columns.</param>
    /// <param name="limit">The most bytes.</param>
    /// <exception cref="DataFormatException">As for <see cref="Load"/>.</exception>
    public static CsvTable Read(Stream stream, string name, char separator = ',', bool hasHeader = false, long limit = FileBytes.DefaultLimit)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return Parse(name, FileBytes.ReadAll(name, stream, limit), separator, hasHeader);
    }

    private static CsvTable Parse(string path, byte[] bytes, char separator, bool hasHeader)
    {
        string[] names = [];
        var values = new List<float>();
        int rows = 0, columns = -1, number = 0;
        foreach (var line in Encoding.UTF8.GetString(bytes).AsSpan().EnumerateLines())
        {
            number++;
            if (line.IsWhiteSpace())
                continue;
            if (hasHeader && names.Length == 0)
            {
                names = [.. line.ToString().Split(separator).Select(name => name.Trim().Trim('"'))];
                columns = names.Length;
                continue;
            }
            int column = 0;
            foreach (var range in line.Split(separator))
            {
                column++;
                var field = line[range].Trim();
                if (field.Length >= 2 && field[0] == '"' && field[^1] == '"')
                    field = field[1..^1];
                if (!float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out float value))
                    throw new DataFormatException(path, $"line {number}, column {column}: '{Shortened(field)}' is no number.");
                values.Add(value);
            }
            if (columns >= 0 && column != columns)
                throw new DataFormatException(path, $"line {number} has {column} columns, wanted {columns} as before.");
            columns = column;
            rows++;
        }
        return new CsvTable(names, rows, Math.Max(columns, 0), [.. values]);
    }

    private static string Shortened(ReadOnlySpan<char> text) => text.Length <= 24 ? text.ToString() : $"{text[..24]}...";
}
