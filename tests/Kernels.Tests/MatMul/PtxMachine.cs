using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace TransferEngine.Kernels.Tests;

/// <summary>
/// A machine that runs a group of a compiled kernel from its PTX, for kernels that only CUDA can run: the subset of instructions that they use, written from the description of
/// the instruction set and not from the kernels. Lanes of a warp meet at matrix instructions, warps at barriers. Asynchronous copies arrive when their thread waits for them,
/// not before. Two threads that touch the same byte of shared memory between two barriers, one of them writing, are a race and an error; so are addresses outside what was
/// allocated, misaligned ones, and warps that are not of one mind.
/// </summary>
internal sealed partial class PtxMachine
{
    private const int Lanes = 32;

    private readonly List<Instruction> code = [];
    private readonly Dictionary<string, int> registers = [], labels = [];
    private readonly byte[] parameters, global, shared;
    private readonly (int Writer, int WrittenAt, int Reader, int ReadAt)[] touched;
    private readonly int items;
    private int epoch, groupSize;

    private sealed record Instruction(string Predicate, bool Negated, string[] Words, string[] Operands, string Text);

    private sealed class PtxThread(int index, int registers)
    {
        public readonly int Index = index;
        public readonly ulong[] Values = new ulong[registers];
        public readonly List<List<(int To, byte[] Data, int Since)>> Copies = [];
        public List<(int To, byte[] Data, int Since)> OpenCopies = [];
        public int At;
    }

    /// <param name="text">The PTX of one kernel.</param>
    /// <param name="parameters">The bytes of its parameter.</param>
    /// <param name="global">Its global memory, which begins at <see cref="GlobalBase"/>.</param>
    /// <param name="items">The number of items of a kernel that is launched by such.</param>
    public PtxMachine(string text, byte[] parameters, byte[] global, int items = 0)
    {
        (this.parameters, this.global, this.items) = (parameters, global, items);
        int sharedBytes = 0;
        foreach (string line in text.Split('\n').Select(line => line.Trim()).Where(line => line.StartsWith(".shared", StringComparison.Ordinal)))
            sharedBytes += int.Parse(line[(line.IndexOf('[') + 1)..line.IndexOf(']')], CultureInfo.InvariantCulture);
        shared = new byte[sharedBytes];
        touched = new (int, int, int, int)[sharedBytes];
        Array.Fill(touched, (-1, -1, -1, -1));
        Parse(text[(text.IndexOf(")\n{", StringComparison.Ordinal) + 3)..]);
    }

    /// <summary>Where global memory begins.</summary>
    public const long GlobalBase = 1L << 40;

    /// <summary>Counts of executed instructions by their first word, for all threads.</summary>
    public Dictionary<string, long> Executed { get; } = [];

    /// <summary>Runs one group of a grid.</summary>
    public void Run(int group, int threads)
    {
        var all = Enumerable.Range(0, threads).Select(i => new PtxThread(i, registers.Count)).ToArray();
        groupSize = threads;
        Array.Fill(touched, (-1, -1, -1, -1));
        Random.Shared.NextBytes(shared); // nothing may rely on zeros
        while (true)
        {
            foreach (var warp in all.Chunk(Lanes))
                RunWarp(warp, group);
            if (all.All(thread => thread.At < 0))
                return;
            if (all.Any(thread => thread.At != all[0].At))
                throw new InvalidOperationException("Threads wait at different barriers.");
            epoch++;
            foreach (var thread in all)
                thread.At++;
        }
    }

    /// <summary>Runs the lanes of a warp to its next barrier or its end.</summary>
    private void RunWarp(PtxThread[] warp, int group)
    {
        while (true)
        {
            foreach (var thread in warp)
                RunAlone(thread, group);
            int at = warp[0].At;
            if (warp.Any(thread => thread.At != at))
                throw new InvalidOperationException("Lanes of a warp are at different places where they must meet.");
            if (at < 0 || code[at].Words[0] == "bar")
                return;
            Together(code[at], warp);
            foreach (var thread in warp)
                thread.At++;
        }
    }

    private void RunAlone(PtxThread thread, int group)
    {
        while (thread.At >= 0 && code[thread.At] is var next && next.Words[0] is not ("bar" or "mma" or "ldmatrix"))
        {
            Executed[next.Words[0]] = Executed.GetValueOrDefault(next.Words[0]) + 1;
            if (next.Predicate.Length > 0 && (thread.Values[registers[next.Predicate]] != 0) == next.Negated)
            {
                thread.At++;
                continue;
            }
            try
            {
                Execute(next, thread, group);
            }
            catch (Exception e) when (e is not PtxException)
            {
                throw new PtxException($"thread {thread.Index}: {next.Text}: {e.Message}", e);
            }
        }
    }

    private void Parse(string body)
    {
        var statement = new StringBuilder();
        foreach (string line in body.Split('\n').Select(line => line.Split("//")[0]))
            statement.Append(line).Append(' ');
        foreach (string raw in statement.ToString().Split(';'))
        {
            string text = raw.Trim();
            while (text.Length > 0 && (text[0] is '{' or '}' || Label(text) > 0))
            {
                int label = Label(text);
                if (label > 0)
                    labels[text[..label]] = code.Count;
                text = text[(label + 1)..].Trim();
            }
            if (text.Length == 0 || text.StartsWith(".shared", StringComparison.Ordinal))
                continue;
            if (text.StartsWith(".reg", StringComparison.Ordinal))
                Declare(text);
            else
                code.Add(Decode(text));
        }
    }

    /// <summary>The length of the label that a text begins with, or 0.</summary>
    private static int Label(string text)
    {
        int length = text.TakeWhile(letter => char.IsLetterOrDigit(letter) || letter is '_' or '$').Count();
        return length > 0 && length < text.Length && text[length] == ':' ? length : 0;
    }

    private void Declare(string text)
    {
        foreach (string item in text.Split((char[])[' ', '\t'], 3, StringSplitOptions.RemoveEmptyEntries)[2].Split(',').Select(item => item.Trim()))
        {
            int open = item.IndexOf('<');
            if (open < 0)
                registers.TryAdd(item, registers.Count);
            for (int i = 0; open >= 0 && i < int.Parse(item[(open + 1)..^1], CultureInfo.InvariantCulture); i++)
                registers.TryAdd(item[..open] + i.ToString(CultureInfo.InvariantCulture), registers.Count);
        }
    }

    private static Instruction Decode(string text)
    {
        string rest = text, predicate = "";
        if (rest[0] == '@')
        {
            int end = rest.IndexOfAny([' ', '\t']);
            (predicate, rest) = (rest[1..end], rest[end..].Trim());
        }
        int space = rest.IndexOfAny([' ', '\t']);
        string name = space < 0 ? rest : rest[..space];
        var operands = new List<string>();
        int depth = 0, start = space;
        for (int i = space; i >= 0 && i <= rest.Length; i++)
        {
            char letter = i < rest.Length ? rest[i] : ',';
            depth += letter == '{' ? 1 : letter == '}' ? -1 : 0;
            if (letter == ',' && depth == 0)
            {
                operands.Add(rest[start..i].Trim());
                start = i + 1;
            }
        }
        return new(predicate.TrimStart('!'), predicate.StartsWith('!'), name.Split('.'), [.. operands], text);
    }

    private static string[] Parts(string vector) => vector.StartsWith('{') ? vector[1..^1].Split(',', StringSplitOptions.TrimEntries) : [vector];

    /// <summary>The place of a memory operand, [register + number].</summary>
    private long Place(PtxThread thread, string operand)
    {
        string[] parts = operand.Trim('[', ']').Split('+', StringSplitOptions.TrimEntries);
        return (long)Value(thread, parts[0], 0) + (parts.Length > 1 ? long.Parse(parts[1], CultureInfo.InvariantCulture) : 0);
    }

    private ulong Value(PtxThread thread, string operand, int group)
    {
        if (registers.TryGetValue(operand, out int register))
            return thread.Values[register];
        if (operand.StartsWith("0f", StringComparison.OrdinalIgnoreCase))
            return uint.Parse(operand[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return operand switch
        {
            "%tid.x" => (ulong)thread.Index,
            "%ctaid.x" => (ulong)group,
            "%ntid.x" => (ulong)groupSize,
            _ when operand.StartsWith("__shared", StringComparison.Ordinal) => 0,
            _ => (ulong)long.Parse(operand, CultureInfo.InvariantCulture),
        };
    }

    private Span<byte> Global(long address, int bytes, bool aligned = true)
    {
        long at = address - GlobalBase;
        if (at < 0 || at + bytes > global.Length || (aligned && at % bytes != 0))
            throw new InvalidOperationException($"global address {at} of {bytes} bytes: {global.Length} are allocated");
        return global.AsSpan((int)at, bytes);
    }

    private Span<byte> Shared(PtxThread thread, long address, int bytes, bool write, int since = int.MaxValue)
    {
        if (address < 0 || address + bytes > shared.Length || address % bytes != 0)
            throw new InvalidOperationException($"shared address {address} of {bytes} bytes: {shared.Length} are allocated");
        for (long i = address; i < address + bytes; i++)
        {
            ref var last = ref touched[i];
            bool writtenByAnother = last.WrittenAt == epoch && last.Writer != thread.Index;
            bool readByAnother = last.ReadAt >= Math.Min(epoch, since) && last.Reader != thread.Index;
            if (writtenByAnother || (write && readByAnother))
                throw new InvalidOperationException($"a race: byte {i} of shared memory was {(writtenByAnother ? $"written by thread {last.Writer}" : "read by another thread")} since the last barrier");
            if (write)
                (last.Writer, last.WrittenAt) = (thread.Index, epoch);
            else
                (last.Reader, last.ReadAt) = (last.ReadAt == epoch && last.Reader != thread.Index ? int.MinValue : thread.Index, epoch);
        }
        return shared.AsSpan((int)address, bytes);
    }

    private void Arrive(PtxThread thread, List<(int To, byte[] Data, int Since)> copies)
    {
        foreach (var (to, data, since) in copies)
            data.CopyTo(Shared(thread, to, data.Length, write: true, since));
    }

    private static ulong Read(ReadOnlySpan<byte> bytes)
    {
        Span<byte> whole = stackalloc byte[8];
        whole.Clear();
        bytes.CopyTo(whole);
        return BinaryPrimitives.ReadUInt64LittleEndian(whole);
    }

    private static void Write(Span<byte> bytes, ulong value)
    {
        Span<byte> whole = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(whole, value);
        whole[..bytes.Length].CopyTo(bytes);
    }

    private static float Float(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits);
}

/// <summary>A kernel did what no card would forgive.</summary>
internal sealed class PtxException(string message, Exception inner) : Exception(message, inner);
