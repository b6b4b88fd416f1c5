namespace TransferEngine.Kernels;

/// <summary>Which inputs of one axis each output pools over.</summary>
internal interface IWindows
{
    int Input { get; }

    int Output { get; }

    /// <summary>Positions from one window to the next; 0 where that varies.</summary>
    int Stride { get; }

    /// <summary>Positions from one tap to the next.</summary>
    int Step { get; }

    /// <summary>The first position of a window, in the padding where negative.</summary>
    int Start(int output);

    /// <summary>The taps of a window, those in the padding included.</summary>
    int Taps(int output);

    /// <summary>What an average divides by on this axis.</summary>
    int Divisor(int output);

    /// <summary>The first output whose window may hold a position.</summary>
    int FirstOutput(int input);

    /// <summary>One past the last output whose window may hold a position.</summary>
    int EndOutput(int input);
}

/// <summary>Windows of one size at equal distances. Padding never wins a maximum and counts in an average where <c>includePadding</c> is 1.</summary>
internal readonly struct StridedWindows(ConvAxis axis, int includePadding) : IWindows
{
    private readonly ConvAxis axis = axis;
    private readonly int includePadding = includePadding;

    public int Input => axis.Input;

    public int Output => axis.Output;

    public int Stride => axis.Stride;

    public int Step => axis.Dilation;

    public int Start(int output) => output * axis.Stride - axis.Padding;

    public int Taps(int output) => axis.Kernel;

    // A window may reach past the padding where the number of outputs was rounded up: what lies there is never counted.
    public int Divisor(int output) => includePadding != 0
        ? Math.Min(Start(output) + axis.Kernel, axis.Input + axis.Padding) - Start(output)
        : Math.Min(Start(output) + axis.Kernel, axis.Input) - Math.Max(Start(output), 0);

    public int FirstOutput(int input) => Math.Max(0, (input + axis.Padding - axis.Span + axis.Stride) / axis.Stride);

    public int EndOutput(int input) => Math.Min(axis.Output, (input + axis.Padding) / axis.Stride + 1);

    /// <summary>PyTorch's number of outputs: rounded up, the last window must still start inside the input or the padding before it.</summary>
    public static int OutputSize(int input, int kernel, int stride, int padding, int dilation, bool roundUp)
    {
        int free = input + 2 * padding - (kernel - 1) * dilation - 1;
        if (free < 0)
            return 0;
        int output = (free + (roundUp ? stride - 1 : 0)) / stride + 1;
        return roundUp && (output - 1) * stride >= input + padding ? output - 1 : output;
    }
}

/// <summary>Windows that divide the input as evenly as whole positions allow; neighbours may share a position.</summary>
internal readonly struct AdaptiveWindows(int input, int output) : IWindows
{
    private readonly int input = input, output = output;

    public int Input => input;

    public int Output => output;

    public int Stride => 0;

    public int Step => 1;

    public int Start(int position) => (int)((long)position * input / output);

    public int Taps(int position) => (int)(((position + 1L) * input + output - 1) / output) - Start(position);

    public int Divisor(int position) => Taps(position);

    public int FirstOutput(int position) => (int)((long)position * output / input);

    public int EndOutput(int position) => (int)(((position + 1L) * output + input - 1) / input);
}
