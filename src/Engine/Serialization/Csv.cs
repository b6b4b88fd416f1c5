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

    // Numbers are parsed from the bytes: a text of the whole file would take twice its size, and more than a string holds.
    private static CsvTable Parse(string path, byte[] bytes, char separator, bool hasHeader)
    {
        if (separator is not (>= ' ' or '\t') or >= '\u0080' or '"' or '.' || char.IsAsciiLetterOrDigit(separator))
            throw new ArgumentException($"Csv: '{separator}' can't separate numbers. Use a comma, a semicolon, a tab or a space.", nameof(separator));
        var rest = bytes.AsSpan();
        if (rest.StartsWith(Encoding.UTF8.Preamble))
            rest = rest[Encoding.UTF8.Preamble.Length..];
        string[]? names = null;
        var values = new List<float>();
        int rows = 0, columns = -1;
        for (int number = 1; !rest.IsEmpty; number++)
        {
            int end = rest.IndexOfAny((byte)'\n', (byte)'\r');
            var line = end < 0 ? rest : rest[..end];
            rest = end < 0 ? [] : rest[(end + (rest[end..].StartsWith("\r\n"u8) ? 2 : 1))..];
            if (line.IndexOfAnyExcept((byte)' ', (byte)'\t') < 0)
                continue;
            if (hasHeader && names is null)
            {
                names = Names(line, separator);
                columns = names.Length;
                continue;
            }
            int column = 0;
            foreach (var range in ((ReadOnlySpan<byte>)line).Split((byte)separator))
            {
                column++;
                var field = Trimmed(line[range]);
                if (field.Length >= 2 && field[0] == '"' && field[^1] == '"')
                    field = field[1..^1];
                if (!float.TryParse(field, NumberStyles.Float, CultureInfo.InvariantCulture, out float value))
                    throw new DataFormatException(path, $"line {number}, column {column}: '{Shortened(field)}' is no number.");
                if (columns >= 0 && column > columns)
                    break;
                values.Add(value);
            }
            if (columns >= 0 && column != columns)
                throw new DataFormatException(path, $"line {number} has {(column > columns ? "more" : column)} columns, wanted {columns} as before.");
            columns = column;
            rows++;
        }
        return new CsvTable(names ?? [], rows, Math.Max(columns, 0), [.. values]);
    }

    /// <summary>The names of a header; in double quotes one may hold the separator, and a quote as two.</summary>
    private static string[] Names(ReadOnlySpan<byte> line, char separator)
    {
        var names = new List<string>();
        var name = new StringBuilder();
        bool quoted = false;
        string text = Encoding.UTF8.GetString(line);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '"' && quoted && i + 1 < text.Length && text[i + 1] == '"')
                name.Append(text[i++]);
            else if (text[i] == '"')
                quoted = !quoted;
            else if (text[i] == separator && !quoted)
                Add();
            else
                name.Append(text[i]);
        }
        Add();
        return [.. names];

        void Add()
        {
            names.Add(name.ToString().Trim());
            name.Clear();
        }
    }

    private static ReadOnlySpan<byte> Trimmed(ReadOnlySpan<byte> field) => field.Trim(" \t"u8);

    private static string Shortened(ReadOnlySpan<byte> field) => field.Length <= 24 ? Encoding.UTF8.GetString(field) : $"{Encoding.UTF8.GetString(field[..24])}...";
}
