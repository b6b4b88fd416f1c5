namespace TransferEngine;

/// <summary>
/// Convolution and pooling of sequences [N, C, L], such as the channels of a sensor over time. A sequence is an image of one row: the kernels and the
/// gradients, of any order, are those of <see cref="Conv2d"/> and of the poolings of images, and no element is copied to get there.
/// </summary>
public sealed partial class Tensor
{
    /// <summary>Slides filters over sequences: y[n, o, i] = bias[o] + Σ x[n, c, i·stride - padding + k·dilation] weight[o, c, k].</summary>
    /// <param name="weight">[O, C / groups, K] for this [N, C, L].</param>
    /// <param name="bias">[O], or null for none.</param>
    /// <param name="stride">Places from one output to the next.</param>
    /// <param name="padding">Zeros at each end.</param>
    /// <param name="dilation">Places from one tap to the next.</param>
    /// <param name="groups">Parts of the channels that are convolved apart; both C and O are multiples of it.</param>
    /// <returns>[N, O, (L + 2 padding - dilation (K - 1) - 1) / stride + 1].</returns>
    /// <exception cref="ShapeException">The sizes do not fit, or the filter is longer than the padded sequence.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The stride, dilation or number of groups is below 1, or the padding below 0.</exception>
    /// <remarks>Gradient: of this the transposed convolution of g, of the weight the correlation of this with g, of the bias the sum of g over N and places.</remarks>
    public Tensor Conv1d(Tensor weight, Tensor? bias = null, int stride = 1, int padding = 0, int dilation = 1, int groups = 1)
    {
        const string Operation = "Conv1d";
        ArgumentNullException.ThrowIfNull(weight);
        CheckSequence(Operation, "the input", this, "[N, C, L]");
        CheckSequence(Operation, "the weight", weight, "[O, C / groups, K]");
        return Rowwise(x =>
        {
            var filters = weight.Unsqueeze(2);
            return Convolved(Operation, x.ShapeOfConv2d(Operation, filters, bias, (1, stride), (0, padding), (1, dilation), groups), x, filters, bias);
        });
    }

    /// <summary>Takes the largest element of each window; NaN if the window has one.</summary>
    /// <param name="kernelSize">The length of a window.</param>
    /// <param name="stride">Places from one window to the next; the length of a window if null.</param>
    /// <param name="padding">Places at each end that never win, at most half of the window.</param>
    /// <param name="dilation">Places from one tap of a window to the next.</param>
    /// <param name="ceilMode">Whether a last window that is only partly inside counts.</param>
    /// <returns>[N, C, (L + 2 padding - dilation (kernel - 1) - 1) / stride + 1].</returns>
    /// <exception cref="ShapeException">This is no [N, C, L], or the window is longer than the padded sequence.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size or step is too small, or the padding more than half of the window.</exception>
    /// <remarks>Gradient: g goes to the element that won, the first of equal ones.</remarks>
    public Tensor MaxPool1d(int kernelSize, int? stride = null, int padding = 0, int dilation = 1, bool ceilMode = false)
    {
        CheckSequence("MaxPool1d", "the input", this, "[N, C, L]");
        return Rowwise(x =>
        {
            var (rows, columns) = x.Windows("MaxPool1d", (1, kernelSize), (1, stride ?? kernelSize), (0, padding), (1, dilation), ceilMode, true);
            return x.Largest("MaxPool1d", rows, columns, x.Output(rows, columns), false).Values;
        });
    }

    /// <summary>Averages the elements of each window.</summary>
    /// <param name="kernelSize">The length of a window.</param>
    /// <param name="stride">Places from one window to the next; the length of a window if null.</param>
    /// <param name="padding">Zeros at each end, at most half of the window.</param>
    /// <param name="ceilMode">Whether a last window that is only partly inside counts.</param>
    /// <param name="countIncludePad">Whether the zeros count in the number that a sum is divided by.</param>
    /// <returns>[N, C, (L + 2 padding - kernel) / stride + 1].</returns>
    /// <exception cref="ShapeException">This is no [N, C, L], or the window is longer than the padded sequence.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size or step is too small, or the padding more than half of the window.</exception>
    /// <remarks>Gradient: g / divisor to each element of the window.</remarks>
    public Tensor AvgPool1d(int kernelSize, int? stride = null, int padding = 0, bool ceilMode = false, bool countIncludePad = true)
    {
        CheckSequence("AvgPool1d", "the input", this, "[N, C, L]");
        return Rowwise(x =>
        {
            var (rows, columns) = x.Windows("AvgPool1d", (1, kernelSize), (1, stride ?? kernelSize), (0, padding), null, ceilMode, countIncludePad);
            return Averaged("AvgPool1d", x, rows, columns, 0, x.Output(rows, columns));
        });
    }

    /// <summary>Averages over windows that divide the sequence into a given number of parts, as evenly as whole places allow.</summary>
    /// <param name="outputSize">The length of the result.</param>
    /// <returns>[N, C, outputSize]; output i averages the elements from ⌊i L / outputSize⌋ to ⌈(i + 1) L / outputSize⌉.</returns>
    /// <exception cref="ShapeException">This is no [N, C, L], or a sequence has no element.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The size is negative.</exception>
    /// <remarks>Gradient: g divided by the length of the window to each of its elements.</remarks>
    public Tensor AdaptiveAvgPool1d(int outputSize)
    {
        CheckSequence("AdaptiveAvgPool1d", "the input", this, "[N, C, L]");
        return Rowwise(x => x.AdaptiveAvgPool2d((1, outputSize)));
    }

    /// <summary>Takes the largest elements of windows that divide the sequence as those of <see cref="AdaptiveAvgPool1d"/> do.</summary>
    /// <returns>[N, C, outputSize].</returns>
    /// <remarks>Gradient: g goes to the element that won, the first of equal ones.</remarks>
    /// <inheritdoc cref="AdaptiveAvgPool1d"/>
    public Tensor AdaptiveMaxPool1d(int outputSize)
    {
        CheckSequence("AdaptiveMaxPool1d", "the input", this, "[N, C, L]");
        return Rowwise(x => x.AdaptiveMaxPool2d((1, outputSize)));
    }

    /// <summary>What an operator of images makes of the sequences as images of one row.</summary>
    private Tensor Rowwise(Func<Tensor, Tensor> operation) => operation(Unsqueeze(2)).Squeeze(2);

    private static void CheckSequence(string operation, string role, Tensor x, string wanted)
    {
        Check.Floating(operation, x);
        Check.Rank(operation, role, x, 3, wanted);
    }
}
