using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace TransferEngine.Serialization;

/// <summary>A dictionary of a pickle, in its order.</summary>
internal sealed class PickledMapping : List<KeyValuePair<object?, object?>>;

/// <summary>A list, tuple or set of a pickle.</summary>
internal sealed class PickledSequence : List<object?>;

/// <summary>A name that a pickle asks Python for, one of those that a checkpoint may hold.</summary>
internal sealed record PickledGlobal(string Name);

/// <summary>The bytes that tensors lie in; where they are is the file's affair.</summary>
/// <param name="Type">The element type; null where each tensor says its own.</param>
/// <param name="Key">What the file calls them.</param>
/// <param name="Elements">How many elements, of bytes where the type is null.</param>
internal sealed record PickledStorage(StoredType? Type, string Key, long Elements)
{
    /// <summary>How many bytes.</summary>
    public long Bytes => Elements * (Type?.Size() ?? 1);
}

/// <summary>A tensor that looks into a storage.</summary>
internal sealed record PickledTensor(PickledStorage Storage, StoredType Type, long Offset, int[] Sizes, long[] Strides);

/// <summary>
/// A reader of Python pickles (protocols 2 to 5) that knows numbers, texts, containers and tensors, and nothing else. A pickle is a program that names
/// functions for Python to call; here a name outside a short list is an error, and none is ever called.
/// </summary>
/// <param name="file">What errors call the file.</param>
/// <param name="bytes">One pickle after another.</param>
internal sealed class Pickle(string file, ReadOnlyMemory<byte> bytes)
{
    /// <summary>More values than any checkpoint has: some twenty stand for a tensor.</summary>
    private const int MostValues = 4 << 20;

    private static readonly object Mark = new();

    private readonly List<object?> stack = [];
    private readonly Dictionary<long, object?> memo = [];
    private Dictionary<string, PickledStorage> storages = [];
    private int values;

    /// <summary>The storages that the last pickle named.</summary>
    public IReadOnlyDictionary<string, PickledStorage> Storages => storages;

    /// <summary>Where the next pickle begins.</summary>
    public int Position { get; private set; }

    /// <summary>Reads the pickle that begins at the position.</summary>
    /// <exception cref="DataFormatException">It is no pickle, or asks for something that is neither tensor nor container.</exception>
    public object? Load()
    {
        stack.Clear();
        memo.Clear();
        storages = new(StringComparer.Ordinal);
        while (true)
        {
            int at = Position;
            byte code = Bytes(1)[0];
            if (code == '.')
                return stack is [var result] && result != Mark ? result : throw Wrong($"it ends with {stack.Count} values on the stack, wanted 1");
            if (++values > MostValues)
                throw Wrong($"it has more than {MostValues:N0} values");
            Step(code, at);
        }
    }

    private void Step(byte code, int at)
    {
        switch (code)
        {
            case 0x80: // PROTO
                if (Bytes(1)[0] is < 2 or > 5)
                    throw Wrong("it is of a protocol other than 2 to 5");
                break;
            case 0x95: // FRAME
                _ = Bytes(8);
                break;
            case (byte)'(': stack.Add(Mark); break;
            case (byte)'0': Pop(); break;
            case (byte)'1': PopMark(); break;
            case (byte)'2': stack.Add(Peek()); break;
            case (byte)'N': stack.Add(null); break;
            case 0x88: stack.Add(true); break;
            case 0x89: stack.Add(false); break;
            case (byte)'J': stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))); break;
            case (byte)'K': stack.Add((long)Bytes(1)[0]); break;
            case (byte)'M': stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))); break;
            case 0x8A: stack.Add(Integer(Bytes(Bytes(1)[0]))); break;
            case 0x8B: stack.Add(Integer(Bytes(Length(4)))); break;
            case (byte)'G': stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8))); break;
            case (byte)'X': stack.Add(Text(Length(4))); break;
            case 0x8C: stack.Add(Text(Bytes(1)[0])); break;
            case 0x8D: stack.Add(Text(Length(8))); break;
            case (byte)'U': stack.Add(Text(Bytes(1)[0])); break; // Python 2's text
            case (byte)'T': stack.Add(Text(Length(4))); break;
            case (byte)'C': stack.Add(Bytes(Bytes(1)[0]).ToArray()); break;
            case (byte)'B': stack.Add(Bytes(Length(4)).ToArray()); break;
            case 0x8E: stack.Add(Bytes(Length(8)).ToArray()); break;
            case (byte)'}': stack.Add(new PickledMapping()); break;
            case (byte)']': case (byte)')': case 0x8F: stack.Add(new PickledSequence()); break;
            case (byte)'d': stack.Add(Fill(new PickledMapping(), PopMark())); break;
            case (byte)'l': case (byte)'t': case 0x91: stack.Add(PopMark()); break;
            case 0x85: case 0x86: case 0x87: stack.Add(PopSequence(code - 0x84)); break;
            case (byte)'a': Append(PopSequence(1)); break;
            case (byte)'e': case 0x90: Append(PopMark()); break;
            case (byte)'s': Fill(PopSequence(2)); break;
            case (byte)'u': Fill(PopMark()); break;
            case (byte)'q': memo[Bytes(1)[0]] = Peek(); break;
            case (byte)'r': memo[BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4))] = Peek(); break;
            case 0x94: memo[memo.Count] = Peek(); break;
            case (byte)'h': stack.Add(Remembered(Bytes(1)[0])); break;
            case (byte)'j': stack.Add(Remembered(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)))); break;
            case (byte)'c': stack.Add(Global($"{Line()} {Line()}")); break;
            case 0x93: stack.Add(Global(PopSequence(2) is [string module, string name] ? $"{module} {name}" : throw Wrong("a name is no text"))); break;
            case (byte)'R': stack.Add(Call(PopSequence(2))); break;
            case (byte)'b': Build(Pop()); break;
            case (byte)'Q': stack.Add(Storage(Pop())); break;
            default: throw new DataFormatException(file, $"byte {at:N0} of the pickle, 0x{code:X2}, is no operation that is read.");
        }
    }

    private DataFormatException Wrong(string what) => new(file, $"the pickle can't be read: before byte {Position:N0}, {what}.");

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (count > bytes.Length - Position)
            throw Wrong($"{count:N0} bytes are wanted and {bytes.Length - Position:N0} are left");
        Position += count;
        return bytes.Span.Slice(Position - count, count);
    }

    private int Length(int size)
    {
        ulong length = size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8)) : BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));
        return length <= (ulong)(bytes.Length - Position) ? (int)length : throw Wrong($"{length:N0} bytes are wanted and {bytes.Length - Position:N0} are left");
    }

    private string Text(int length) => Encoding.UTF8.GetString(Bytes(length));

    private string Line()
    {
        int length = bytes.Span[Position..].IndexOf((byte)'\n');
        string text = length is >= 0 and < 1024 ? Text(length) : throw Wrong("a name does not end");
        Position++;
        return text;
    }

    private static object Integer(ReadOnlySpan<byte> digits) => digits.Length <= 8 ? (long)new BigInteger(digits) : new BigInteger(digits[..Math.Min(digits.Length, 64)]);

    private object? Peek() => stack.Count > 0 && stack[^1] != Mark ? stack[^1] : throw Wrong("a value is wanted and none is there");

    private object? Pop()
    {
        object? value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private PickledSequence PopSequence(int count)
    {
        var result = new PickledSequence();
        for (int i = 0; i < count; i++)
            result.Insert(0, Pop());
        return result;
    }

    private PickledSequence PopMark()
    {
        int mark = stack.LastIndexOf(Mark);
        if (mark < 0)
            throw Wrong("a mark is wanted and none is there");
        var result = new PickledSequence();
        result.AddRange(stack[(mark + 1)..]);
        stack.RemoveRange(mark, stack.Count - mark);
        return result;
    }

    private object? Remembered(long key) => memo.TryGetValue(key, out object? value) ? value : throw Wrong($"value {key} is asked for before it was kept");

    private void Append(PickledSequence items) => (Peek() as PickledSequence ?? throw Wrong("items are added to what is no list")).AddRange(items);

    private void Fill(PickledSequence items) => Fill(Peek() as PickledMapping ?? throw Wrong("entries are added to what is no dictionary"), items);

    private PickledMapping Fill(PickledMapping mapping, PickledSequence items)
    {
        if (items.Count % 2 != 0)
            throw Wrong("a key has no value");
        for (int i = 0; i < items.Count; i += 2)
            mapping.Add(new(items[i], items[i + 1]));
        return mapping;
    }

    private PickledGlobal Global(string name) => name is
        "collections OrderedDict" or "__builtin__ set" or "builtins set" or "_codecs encode" or "torch Size" or "torch device"
        or "torch._utils _rebuild_tensor" or "torch._utils _rebuild_tensor_v2" or "torch._utils _rebuild_tensor_v3" or "torch._utils _rebuild_parameter"
        || name.StartsWith("torch", StringComparison.Ordinal) && (ElementTypeOf(name) is not null || name.EndsWith(" UntypedStorage", StringComparison.Ordinal))
        ? new(name)
        : throw new DataFormatException(file, $"the pickle asks for '{Shortened(name.Replace(' ', '.'))}', which is neither a tensor nor a container: it is refused, and nothing is run. Save the model's state_dict() alone.");

    /// <summary>Of a storage, such as FloatStorage, or a type, such as float32.</summary>
    private static StoredType? ElementTypeOf(string name) => name[(name.IndexOf(' ', StringComparison.Ordinal) + 1)..] switch
    {
        "DoubleStorage" or "float64" => StoredType.Float64,
        "FloatStorage" or "float32" => StoredType.Float32,
        "HalfStorage" or "float16" => StoredType.Float16,
        "BFloat16Storage" or "bfloat16" => StoredType.BFloat16,
        "LongStorage" or "int64" => StoredType.Int64,
        "IntStorage" or "int32" => StoredType.Int32,
        "ShortStorage" or "int16" => StoredType.Int16,
        "CharStorage" or "int8" => StoredType.Int8,
        "ByteStorage" or "uint8" => StoredType.UInt8,
        "BoolStorage" or "bool" => StoredType.Bool,
        _ => null,
    };

    private object? Call(PickledSequence call)
    {
        if (call is not [PickledGlobal { Name: var name }, PickledSequence given])
            throw Wrong("what is called is no name, or its arguments are no tuple");
        return (name[(name.IndexOf(' ', StringComparison.Ordinal) + 1)..], given) switch
        {
            ("OrderedDict", []) => new PickledMapping(),
            ("OrderedDict", [PickledSequence pairs]) => Fill(new(), Flat(pairs)),
            ("set", []) => new PickledSequence(),
            ("set" or "Size", [PickledSequence items]) => items,
            ("encode", [string text, "latin1"]) => Encoding.Latin1.GetBytes(text),
            ("device", [string kind, ..]) => kind,
            ("_rebuild_parameter", [PickledTensor tensor, ..]) => tensor,
            ("_rebuild_tensor" or "_rebuild_tensor_v2", [PickledStorage { Type: { } type } storage, long offset, PickledSequence sizes, PickledSequence strides, ..]) => View(storage, type, offset, sizes, strides),
            ("_rebuild_tensor_v3", [PickledStorage storage, long offset, PickledSequence sizes, PickledSequence strides, _, _, PickledGlobal { Name: var type }, ..]) when ElementTypeOf(type) is { } known =>
                View(storage, known, offset, sizes, strides),
            _ => throw Wrong($"{Shortened(name.Replace(' ', '.'))} has arguments that are not read"),
        };
    }

    private PickledSequence Flat(PickledSequence pairs)
    {
        var items = new PickledSequence();
        foreach (object? pair in pairs)
            items.AddRange(pair is PickledSequence { Count: 2 } two ? two : throw Wrong("an entry of a dictionary is no pair"));
        return items;
    }

    private PickledTensor View(PickledStorage storage, StoredType type, long offset, PickledSequence sizes, PickledSequence strides)
    {
        const int mostAxes = 16;
        if (sizes.Count > mostAxes || sizes.Count != strides.Count)
            throw Wrong($"a tensor has {sizes.Count} sizes and {strides.Count} strides, wanted as many of each and {mostAxes} at most");
        return new(storage, type, offset,
            [.. sizes.Select(size => size is long and >= 0 and <= int.MaxValue ? (int)(long)size : throw Wrong($"a tensor has the size {size}"))],
            [.. strides.Select(stride => stride is long and >= 0 and <= int.MaxValue ? (long)stride : throw Wrong($"a tensor has the stride {stride}"))]);
    }

    /// <summary>What PyTorch gives an OrderedDict beside its entries, versions of modules, is passed over.</summary>
    private void Build(object? state)
    {
        if (Peek() is not PickledMapping || state is not PickledMapping)
            throw Wrong("a state is given to what is no dictionary");
    }

    private PickledStorage Storage(object? id)
    {
        if (id is not PickledSequence { Count: >= 5 } parts || parts is not ["storage", PickledGlobal { Name: var type }, string key, _, long and >= 0 and <= 1L << 48, ..])
            throw Wrong("a storage has no type, key and length");
        if (parts is [_, _, _, _, _, not null, ..])
            throw Wrong("a storage is a part of another, as PyTorch before 0.4 wrote it; load and save it with a newer one");
        var storage = new PickledStorage(ElementTypeOf(type), key, (long)parts[4]!);
        if (storages.TryAdd(key, storage))
            return storage;
        return storages[key] == storage ? storages[key] : throw Wrong($"storage '{Shortened(key)}' is of two types or lengths");
    }

    private static string Shortened(string text) => text.Length <= 80 ? text : string.Create(CultureInfo.InvariantCulture, $"{text.AsSpan(0, 80)}...");
}
