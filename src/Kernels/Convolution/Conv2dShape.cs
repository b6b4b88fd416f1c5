namespace TransferEngine.Kernels;

/// <summary>One axis of a convolution: tap k of output o reads input <c>o * Stride - Padding + k * Dilation</c>, zero outside the image.</summary>
internal readonly struct ConvAxis(int input, int kernel, int stride, int padding, int dilation, int output)
{
    public readonly int Input = input, Kernel = kernel, Stride = stride, Padding = padding, Dilation = dilation, Output = output;

    /// <summary>An axis whose output is as long as the input allows.</summary>
    public ConvAxis(int input, int kernel, int stride, int padding, int dilation)
        : this(input, kernel, stride, padding, dilation, OutputSize(input, kernel, stride, padding, dilation))
    {
    }

    /// <summary>Inputs from the first tap to the last.</summary>
    public int Span => (Kernel - 1) * Dilation + 1;

    public static int OutputSize(int input, int kernel, int stride, int padding, int dilation) =>
        input + 2 * padding < (kernel - 1) * dilation + 1 ? 0 : (input + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
}

/// <summary>
/// A two-dimensional convolution: x [Batch, Channels, Y.Input, X.Input], weight [Outputs, Channels / Groups, Y.Kernel, X.Kernel],
/// y [Batch, Outputs, Y.Output, X.Output]. Its transpose has the same shape, read from y to x.
/// </summary>
internal readonly struct Conv2dShape(int batch, int channels, int outputs, int groups, ConvAxis y, ConvAxis x, ElementType operands = ElementType.Float32)
{
    public readonly int Batch = batch, Channels = channels, Outputs = outputs, Groups = groups;
    public readonly ConvAxis Y = y, X = x;

    /// <summary>As <see cref="MatMulShape.Operands"/>.</summary>
    public readonly ElementType Operands = operands;

    public int GroupChannels => Channels / Groups;

    public int GroupOutputs => Outputs / Groups;

    public int Taps => Y.Kernel * X.Kernel;

    /// <summary>Whether each output is a sum over the channels of one pixel, the one in its place.</summary>
    public bool IsPointwise => Y.Kernel == 1 && X.Kernel == 1 && Y.Stride == 1 && X.Stride == 1 && Y.Padding == 0 && X.Padding == 0;

    public int InputPlane => Y.Input * X.Input;

    public int OutputPlane => Y.Output * X.Output;

    public int InputLength => Batch * Channels * InputPlane;

    public int OutputLength => Batch * Outputs * OutputPlane;

    /// <summary>The same over operands that are all of a type of 16 bits.</summary>
    public Conv2dShape Of(ElementType operands) => new(Batch, Channels, Outputs, Groups, Y, X, operands);

    public int WeightLength => Outputs * GroupChannels * Taps;
}
