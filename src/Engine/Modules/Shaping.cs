namespace TransferEngine.Modules;

/// <summary>Joins axes into one.</summary>
/// <param name="first">The first of them.</param>
/// <param name="last">The last of them.</param>
public sealed class Flatten(int first = 1, int last = -1) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Flatten(first, last);
}

/// <summary>Passes its input through: what a layer is replaced by to leave it out.</summary>
public sealed class Identity : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input;
}

/// <summary>
/// Adds zeros around images as TensorFlow's SAME padding does for the layer that follows: as many that ceil(size / stride) windows fit, half of them on each
/// side, an odd one at the bottom and the right. PyTorch's padding has the same number on both sides, which at stride 2 puts every window one pixel elsewhere.
/// </summary>
/// <param name="kernelSize">The window of the layer that follows.</param>
/// <param name="stride">Its step.</param>
public sealed class SamePad2d(Size2d kernelSize, Size2d stride) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input)
    {
        Check.Rank("SamePad2d", "the input", input, 4, "[N, C, H, W]");
        int rows = Missing(input.Shape[2], kernelSize.Height, stride.Height), columns = Missing(input.Shape[3], kernelSize.Width, stride.Width);
        return rows == 0 && columns == 0 ? input : input.Pad([columns / 2, columns - columns / 2, rows / 2, rows - rows / 2]);
    }

    private static int Missing(int size, int kernel, int stride) => Math.Max(0, ((size + stride - 1) / stride - 1) * stride + kernel - size);
}

/// <summary>Any function of one tensor as a module, such as <c>new Function(x => x.Relu() * 2)</c>.</summary>
/// <param name="function">The function.</param>
public sealed class Function(Func<Tensor, Tensor> function) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => function(input);
}
