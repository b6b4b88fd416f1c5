namespace TransferEngine.Modules;

/// <summary>The greatest element of each window, [N, C, H, W] to [N, C, H', W'].</summary>
/// <param name="kernelSize">The window.</param>
/// <param name="stride">The step of the window; its size if null.</param>
/// <param name="padding">Places added on each side; 0 if null.</param>
/// <param name="dilation">The distance between the window's places; 1 if null.</param>
/// <param name="ceilMode">Whether windows may reach over the end.</param>
public sealed class MaxPool2d(Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, Size2d? dilation = null, bool ceilMode = false) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.MaxPool2d(kernelSize, stride, padding, dilation, ceilMode);
}

/// <summary>The mean of each window, [N, C, H, W] to [N, C, H', W'].</summary>
/// <param name="kernelSize">The window.</param>
/// <param name="stride">The step of the window; its size if null.</param>
/// <param name="padding">Places added on each side; 0 if null.</param>
/// <param name="ceilMode">Whether windows may reach over the end.</param>
/// <param name="countIncludePad">Whether added places count in the mean.</param>
public sealed class AvgPool2d(Size2d kernelSize, Size2d? stride = null, Size2d? padding = null, bool ceilMode = false, bool countIncludePad = true) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AvgPool2d(kernelSize, stride, padding, ceilMode, countIncludePad);
}

/// <summary>The means of as many windows as wanted, [N, C, H, W] to [N, C, output height, output width].</summary>
/// <param name="outputSize">The output.</param>
public sealed class AdaptiveAvgPool2d(Size2d outputSize) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AdaptiveAvgPool2d(outputSize);
}

/// <summary>The greatest elements of as many windows as wanted, [N, C, H, W] to [N, C, output height, output width].</summary>
/// <param name="outputSize">The output.</param>
public sealed class AdaptiveMaxPool2d(Size2d outputSize) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AdaptiveMaxPool2d(outputSize);
}

/// <summary>The greatest element of each window, [N, C, L] to [N, C, L'].</summary>
/// <param name="kernelSize">The length of the window.</param>
/// <param name="stride">The step of the window; its length if null.</param>
/// <param name="padding">Places added at each end.</param>
/// <param name="dilation">The distance between the window's places.</param>
/// <param name="ceilMode">Whether windows may reach over the end.</param>
public sealed class MaxPool1d(int kernelSize, int? stride = null, int padding = 0, int dilation = 1, bool ceilMode = false) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.MaxPool1d(kernelSize, stride, padding, dilation, ceilMode);
}

/// <summary>The mean of each window, [N, C, L] to [N, C, L'].</summary>
/// <param name="kernelSize">The length of the window.</param>
/// <param name="stride">The step of the window; its length if null.</param>
/// <param name="padding">Zeros added at each end.</param>
/// <param name="ceilMode">Whether windows may reach over the end.</param>
/// <param name="countIncludePad">Whether added places count in the mean.</param>
public sealed class AvgPool1d(int kernelSize, int? stride = null, int padding = 0, bool ceilMode = false, bool countIncludePad = true) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AvgPool1d(kernelSize, stride, padding, ceilMode, countIncludePad);
}

/// <summary>The means of as many windows as wanted, [N, C, L] to [N, C, output size].</summary>
/// <param name="outputSize">The output.</param>
public sealed class AdaptiveAvgPool1d(int outputSize) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AdaptiveAvgPool1d(outputSize);
}

/// <summary>The greatest elements of as many windows as wanted, [N, C, L] to [N, C, output size].</summary>
/// <param name="outputSize">The output.</param>
public sealed class AdaptiveMaxPool1d(int outputSize) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.AdaptiveMaxPool1d(outputSize);
}
