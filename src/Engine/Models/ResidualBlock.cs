using System.Globalization;
using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>Convolutions beside a short cut, each normalised, with ReLU between them and after the sum (He et al., CVPR 2016).</summary>
internal sealed class ResidualBlock : Module
{
    private readonly Module[] path, last, lastWithRelu;
    private readonly Module relu = Activation.Relu();
    private readonly Module? shortcut;

    /// <param name="make">Makes the layers.</param>
    /// <param name="inputs">The channels that come in.</param>
    /// <param name="layers">The convolutions: outputs, size, stride.</param>
    /// <param name="shortcutName">What the short cut is called.</param>
    /// <param name="shortcut">What the input passes beside them; null leaves it as it is.</param>
    /// <param name="fanOut">Whether first values keep the variance of gradients rather than that of outputs.</param>
    public ResidualBlock(LayerMaker make, int inputs, ReadOnlySpan<(int Outputs, int Size, int Stride)> layers, string shortcutName, Module? shortcut, bool fanOut = true)
    {
        var path = new List<Module>();
        for (int i = 0; i < layers.Length; i++)
        {
            string place = (i + 1).ToString(CultureInfo.InvariantCulture);
            if (i > 0)
                path.Add(relu);
            path.Add(Add("conv" + place, make.Conv(inputs, layers[i].Outputs, layers[i].Size, layers[i].Stride, fanOut: fanOut)));
            path.Add(Add("bn" + place, make.Norm(layers[i].Outputs)));
            inputs = layers[i].Outputs;
        }
        Add("relu", relu);
        this.path = [.. path.SkipLast(2)];
        last = [.. path.TakeLast(2)];
        lastWithRelu = [.. last, relu];
        if (shortcut is not null)
            this.shortcut = Add(shortcutName, shortcut);
    }

    internal override bool IsTransparent => !HasHooks && path.All(module => module.IsTransparent) && last.All(module => module.IsTransparent) && shortcut is null or { IsTransparent: true };

    protected override Tensor Compute(Tensor input)
    {
        var inner = Chain(input, path);
        var beside = shortcut is null ? input : shortcut.Forward(input);
        Tensor? y = null, sum = null;
        if (FusedConvolution.TryRun(inner, lastWithRelu, 0, beside, out var output) == 0)
        {
            y = Chain(inner, last);
            sum = y + beside;
            output = relu.Forward(sum);
        }
        if (IsTransparent)
        {
            inner.Dispose();
            y?.Dispose();
            sum?.Dispose();
            if (!ReferenceEquals(beside, input))
                beside.Dispose();
        }
        return output;
    }
}

/// <summary>The short cut without weights (option A of He et al., CVPR 2016): every second pixel, between as many channels of zeros on both sides.</summary>
internal sealed class PaddedShortcut(int inputs, int outputs) : Module
{
    internal override bool IsTransparent => !HasHooks;

    protected override Tensor Compute(Tensor input)
    {
        int more = (outputs - inputs) / 2;
        using var rows = input.Narrow(2, 0, (input.Shape[2] + 1) / 2, 2);
        using var pixels = rows.Narrow(3, 0, (input.Shape[3] + 1) / 2, 2);
        return pixels.Pad([0, 0, 0, 0, more, outputs - inputs - more]);
    }
}
