namespace TransferEngine.Serialization;

/// <summary>A file that is not what its format demands: truncated, oversized, contradictory or of another kind. Nothing was changed by reading it.</summary>
/// <param name="file">The file.</param>
/// <param name="message">What was found and what was wanted, and where.</param>
/// <param name="inner">What was thrown below, if anything.</param>
public sealed class DataFormatException(string file, string message, Exception? inner = null) : IOException($"{file}: {message}", inner)
{
    /// <summary>The file's path.</summary>
    public string File { get; } = file;
}
