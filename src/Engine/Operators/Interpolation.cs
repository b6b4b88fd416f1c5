namespace TransferEngine;

/// <summary>How an image is resized.</summary>
public enum Interpolation
{
    /// <summary>Between the nearest two pixels in each direction.</summary>
    Bilinear,

    /// <summary>Among the nearest four pixels in each direction, by cubic polynomials.</summary>
    Bicubic,
}
