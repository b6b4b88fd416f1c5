namespace TransferEngine.Modules;

/// <summary>Joins axes into one.</summary>
/// <param name="first">The first of them.</param>
/// <param name="last">The last of them.</param>
public sealed class Flatten(int first = 1, int last = -1) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Flatten(first, last);
}

/// <summary>The greatest element of each window, [N, C, H, W] to [N, C, H', W'].</summary>
/// <param name="kernelSize">The window.</param>
/// <param name="stride">The step of the window; its size if null.</param>
/// <param name="padding">Places added on each side; 0 if null.</param>
public sealed class MaxPool2d(Size2d kernelSize, Size2d? stride = null, Size2d? padding = null) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.MaxPool2d(kernelSize, stride, padding);
}

/// <summary>Any function of one tensor as a module, such as <c>new Function(x => x.Relu())</c>.</summary>
/// <param name="function">The function.</param>
public sealed class Function(Func<Tensor, Tensor> function) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => function(input);
}
