namespace TransferEngine.Kernels;

/// <summary>
/// Convolution and its gradients. The bias gradient is a sum of dy over all axes but the second. On the CPU, depthwise shapes have their own
/// SIMD kernels and all others are packed products of filters and patches; GPUs run tiled products in shared memory, or the plain kernels where axes are short.
/// </summary>
internal static class Convolution
{
    /// <summary>Work items of a weight gradient that fill a large GPU.</summary>
    private const int PlainItems = 1 << 16;

    /// <summary>y = tail(x * weight).</summary>
    public static void Forward(ComputeDevice device, in Conv2dShape shape, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y)
    {
        if (x.Type == ElementType.Float64)
            Forward<double>(device, shape, x, weight, tail, y);
        else
            Forward<float>(device, shape, x, weight, tail, y);
    }

    /// <summary>dx of <see cref="Forward"/>. Also the transposed convolution of dy, which may have a bias a channel of dx.</summary>
    public static void InputGradient(ComputeDevice device, in Conv2dShape shape, in Slice dy, in Slice weight, in Slice? bias, in Slice dx)
    {
        if (dy.Type == ElementType.Float64)
            InputGradient<double>(device, shape, dy, weight, bias, dx);
        else
            InputGradient<float>(device, shape, dy, weight, bias, dx);
    }

    /// <summary>dweight of <see cref="Forward"/>, overwritten.</summary>
    public static void WeightGradient(ComputeDevice device, in Conv2dShape shape, in Slice x, in Slice dy, in Slice dweight)
    {
        if (dy.Type == ElementType.Float64)
            WeightGradient<double>(device, shape, x, dy, dweight);
        else
            WeightGradient<float>(device, shape, x, dy, dweight);
    }

    private static void Forward<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in ConvolutionTail tail, in Slice y) where T : unmanaged
    {
        if (s.OutputLength == 0)
            return;
        if (device.IsDirect && Depthwise.Serves(s))
        {
            Depthwise.Forward<T>(device, s, x, weight, tail, y);
        }
        else if (IsFiltered<T>(device, s))
        {
            Winograd.Forward(device, s, x, weight, tail, y);
        }
        else if (device.IsDirect && s.InputLength > 0 && PatchProduct.Serves(s))
        {
            PatchProduct.Forward<T>(device, s, x, weight, tail, y);
        }
        else if (device.IsDirect && s.InputLength > 0)
        {
            ImplicitProduct.Forward<T>(device, s, x, weight, tail, y);
        }
        else
        {
            if (s.InputLength > 0 && TiledConvolution.Serves(device, s))
                TiledConvolution.Forward<T, Side16>(device, s, x, weight, tail.Bias, y);
            else
                PlainForward<T>(device, s, x, weight, tail.Bias, y);
            tail.FinishRest(device, y);
        }
    }

    private static void InputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged
    {
        if (s.InputLength == 0)
            return;
        if (device.IsDirect && s.OutputLength > 0 && Depthwise.ServesInputGradient(s))
            Depthwise.InputGradient<T>(device, s, dy, weight, bias, dx);
        else if (IsFiltered<T>(device, s))
            Winograd.InputGradient(device, s, dy, weight, bias, dx);
        else if (device.IsDirect && s.OutputLength > 0 && PatchProduct.Serves(s))
            PatchProduct.InputGradient<T>(device, s, dy, weight, bias, dx);
        else if (device.IsDirect && s.OutputLength > 0 && s.IsPointwise)
            ImplicitProduct.InputGradient<T>(device, s, dy, weight, bias, dx);
        else if (device.IsDirect && s.OutputLength > 0)
            SpreadProduct.InputGradient<T>(device, s, dy, weight, bias, dx);
        else if (s.OutputLength > 0 && s.InputLength > 0 && TiledConvolution.ServesInputGradient(device, s))
            TiledConvolution.InputGradient<T, Side16>(device, s, dy, weight, bias, dx);
        else
            PlainInputGradient<T>(device, s, dy, weight, bias, dx);
    }

    private static void WeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        if (s.WeightLength == 0)
            return;
        if (device.IsDirect && s.OutputLength > 0 && Depthwise.Serves(s))
            Depthwise.WeightGradient<T>(device, s, x, dy, dweight);
        else if (IsFiltered<T>(device, s))
            Winograd.WeightGradient(device, s, x, dy, dweight);
        else if (device.IsDirect && s.OutputLength > 0 && PatchProduct.Serves(s))
            PatchProduct.WeightGradient<T>(device, s, x, dy, dweight);
        else if (device.IsDirect && s.OutputLength > 0)
            ImplicitProduct.WeightGradient<T>(device, s, x, dy, dweight);
        else if (s.OutputLength > 0 && s.InputLength > 0 && TiledConvolution.Serves(device, s))
            TiledConvolution.WeightGradient<T, Side16>(device, s, x, dy, dweight);
        else
            PlainWeightGradient<T>(device, s, x, dy, dweight);
    }

    private static bool IsFiltered<T>(ComputeDevice device, in Conv2dShape s) => device.IsDirect && device.AllowWinograd && typeof(T) == typeof(float) && Winograd.Serves(s);

    internal static void PlainForward<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice weight, in Slice? bias, in Slice y) where T : unmanaged =>
        device.Launch<T, PlainConvolution<T>>(s.OutputLength, new(s, x.View<T>(), weight.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, y.View<T>()));

    internal static void PlainInputGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice dy, in Slice weight, in Slice? bias, in Slice dx) where T : unmanaged =>
        device.Launch<T, PlainInputGradient<T>>(s.InputLength, new(s, dy.View<T>(), weight.View<T>(), (bias ?? weight).View<T>(), bias is null ? 0 : 1, dx.View<T>()));

    internal static void PlainWeightGradient<T>(ComputeDevice device, in Conv2dShape s, in Slice x, in Slice dy, in Slice dweight) where T : unmanaged
    {
        using var pieces = new BatchPieces(device, s.Batch, PlainItems / s.WeightLength, dweight);
        device.Launch<T, PlainWeightGradient<T>>(pieces.Sums.Length, new(s, pieces.Images, x.View<T>(), dy.View<T>(), pieces.Sums.View<T>()));
        pieces.AddUp<T>();
    }
}
