using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace TransferEngine.Kernels;

/// <summary>
/// ILGPU takes inline PTX as literals only. What repeats in a kernel is therefore written once, as <c>repeat i 4 { ... $(4*i+1) ... }</c>, and spelled out in the
/// compiled text before a driver sees it. Bodies end at the brace that matches; inside <c>$( )</c> stand numbers, counters, parentheses and * / % + - &lt;&lt; &gt;&gt; &amp; ^ with C's precedence.
/// <c>$shared</c> is the name of the kernel's shared memory.
/// </summary>
internal static partial class PtxText
{
    private const string Keyword = "repeat ";

    /// <summary>The text with its repetitions spelled out, and shared memory aligned as asynchronous copies and matrix loads need it; text without repetitions stays as it is.</summary>
    public static string Expand(string text)
    {
        if (!text.Contains(Keyword, StringComparison.Ordinal))
            return text;
        var output = new StringBuilder(text.Length * 4);
        var shared = SharedMemory().Match(text);
        text = SharedMemory().Replace(text, ".shared .align 128 .b8 $1[").Replace("$shared", shared.Groups[1].Value, StringComparison.Ordinal);
        Expand(text, [], output);
        return output.ToString();
    }

    [GeneratedRegex(@"\.shared \.align \d+ \.b8 (\w+)\[")]
    private static partial Regex SharedMemory();

    private static void Expand(ReadOnlySpan<char> text, Dictionary<string, int> counters, StringBuilder output)
    {
        while (text.IndexOf(Keyword) is var at && at >= 0)
        {
            Substitute(text[..at], counters, output);
            text = text[(at + Keyword.Length)..];
            int open = text.IndexOf('{'), close = Matching(text, open);
            string[] words = text[..open].ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries);
            int count = int.Parse(words[1], CultureInfo.InvariantCulture);
            var inner = new Dictionary<string, int>(counters);
            for (int i = 0; i < count; i++)
            {
                inner[words[0]] = i;
                Expand(text[(open + 1)..close], inner, output);
            }
            text = text[(close + 1)..];
        }
        Substitute(text, counters, output);
    }

    private static int Matching(ReadOnlySpan<char> text, int open)
    {
        int depth = 0;
        for (int i = open; i >= 0 && i < text.Length; i++)
        {
            depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
            if (depth == 0)
                return i;
        }
        throw new FormatException("A repetition in inline PTX has no end.");
    }

    private static void Substitute(ReadOnlySpan<char> text, Dictionary<string, int> counters, StringBuilder output)
    {
        while (text.IndexOf("$(") is var at && at >= 0)
        {
            output.Append(text[..at]);
            text = text[(at + 2)..];
            int value = Value(ref text, counters, 0);
            output.Append(CultureInfo.InvariantCulture, $"{value}");
            text = text[1..]; // the closing parenthesis
        }
        output.Append(text);
    }

    /// <summary>Reads an expression whose operators bind at least as tightly as wanted.</summary>
    private static int Value(ref ReadOnlySpan<char> text, Dictionary<string, int> counters, int least)
    {
        int left = Operand(ref text, counters);
        while (true)
        {
            text = text.TrimStart();
            var (level, length) = text[0] switch { '*' or '/' or '%' => (5, 1), '+' or '-' => (4, 1), '<' or '>' => (3, 2), '&' => (2, 1), '^' => (1, 1), _ => (0, 0) };
            if (level <= least)
                return left;
            char sign = text[0];
            text = text[length..];
            int right = Value(ref text, counters, level);
            left = sign switch { '*' => left * right, '/' => left / right, '%' => left % right, '+' => left + right, '-' => left - right, '<' => left << right, '>' => left >> right, '&' => left & right, _ => left ^ right };
        }
    }

    private static int Operand(ref ReadOnlySpan<char> text, Dictionary<string, int> counters)
    {
        text = text.TrimStart();
        if (text[0] == '(')
        {
            text = text[1..];
            int inside = Value(ref text, counters, 0);
            text = text[1..];
            return inside;
        }
        int length = 0;
        while (char.IsLetterOrDigit(text[length]))
            length++;
        var word = text[..length];
        text = text[length..];
        return char.IsDigit(word[0]) ? int.Parse(word, CultureInfo.InvariantCulture) : counters[word.ToString()];
    }
}
