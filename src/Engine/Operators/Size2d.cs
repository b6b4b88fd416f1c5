namespace TransferEngine;

/// <summary>A number for each of the two axes of an image: one for both, or a pair <c>(height, width)</c>.</summary>
/// <param name="Height">Along the rows' axis, the last but one.</param>
/// <param name="Width">Along the columns' axis, the last.</param>
public readonly record struct Size2d(int Height, int Width)
{
    /// <summary>One number serves both axes.</summary>
    /// <param name="both">The number.</param>
    public static implicit operator Size2d(int both) => new(both, both);

    /// <summary>A pair (height, width).</summary>
    /// <param name="pair">The pair.</param>
    public static implicit operator Size2d((int Height, int Width) pair) => new(pair.Height, pair.Width);

    /// <summary>(height, width).</summary>
    public override string ToString() => $"({Height}, {Width})";

    /// <summary>Throws unless both numbers are at least <paramref name="least"/>.</summary>
    internal Size2d AtLeast(int least, string operation, string name)
    {
        if (Height < least || Width < least)
            throw new ArgumentOutOfRangeException(name, this, $"{operation}: {name} is {this}, wanted {least} or more on each axis.");
        return this;
    }
}
