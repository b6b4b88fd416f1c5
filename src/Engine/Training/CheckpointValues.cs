using System.Globalization;
using TransferEngine.Serialization;

namespace TransferEngine.Training;

/// <summary>The numbers of a checkpoint as the texts that a safetensors file keeps; doubles come back with the same bits.</summary>
internal sealed class CheckpointValues : Dictionary<string, string>
{
    public const string Kind = "TransferEngine training 1";

    public CheckpointValues()
    {
    }

    public CheckpointValues(IReadOnlyDictionary<string, string> values) : base(values)
    {
    }

    /// <summary>The file, for messages.</summary>
    public string Path { get; init; } = "";

    public void Set(string name, double value) => this[name] = value.ToString("R", CultureInfo.InvariantCulture);

    public void Set(string name, GeneratorState[] states) =>
        this[name] = string.Join(';', states.Select(state => string.Create(CultureInfo.InvariantCulture, $"{state.Seed}:{state.Position}")));

    public string Text(string name) => TryGetValue(name, out string? text) ? text : throw new DataFormatException(Path, $"the checkpoint lacks '{name}'.");

    public double Number(string name) => double.TryParse(Text(name), NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
        ? value
        : throw new DataFormatException(Path, $"the checkpoint's '{name}' is '{this[name]}', no number.");

    public int[] Integers(string name) => [.. Text(name).Split(';', StringSplitOptions.RemoveEmptyEntries).Select(text =>
        int.TryParse(text, CultureInfo.InvariantCulture, out int value) ? value : throw new DataFormatException(Path, $"the checkpoint's '{name}' is '{this[name]}', no integers."))];

    public GeneratorState[] Generators(string name) => [.. Text(name).Split(';', StringSplitOptions.RemoveEmptyEntries).Select(text =>
    {
        string[] parts = text.Split(':');
        return parts.Length == 2 && ulong.TryParse(parts[0], CultureInfo.InvariantCulture, out ulong seed) && ulong.TryParse(parts[1], CultureInfo.InvariantCulture, out ulong position)
            ? new GeneratorState(seed, position)
            : throw new DataFormatException(Path, $"the checkpoint's '{name}' is '{this[name]}', no states of generators.");
    })];
}
