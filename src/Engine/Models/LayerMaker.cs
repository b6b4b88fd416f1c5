using TransferEngine.Modules;

namespace TransferEngine.Models;

/// <summary>Makes the layers of a network on one device, of one type, from one stream, with first values by the rules that papers give.</summary>
internal sealed class LayerMaker(Generator? generator, Device? device, ElementType type)
{
    /// <summary>A convolution by He's rule with normal numbers, for outputs or, with <paramref name="fanOut"/>, for gradients; its bias is 0.</summary>
    public Conv2d Conv(int inputs, int outputs, int size, int stride = 1, int? padding = null, int groups = 1, bool bias = false, bool fanOut = true)
    {
        var conv = PlainConv(inputs, outputs, size, stride, padding ?? size / 2, groups, bias);
        Initialization.KaimingNormal(conv.Weight, fanOut: fanOut, generator: generator);
        if (conv.Bias is not null)
            Initialization.Constant(conv.Bias, 0);
        return conv;
    }

    /// <summary>A convolution by He's rule for outputs with uniform numbers; its bias is 0.</summary>
    public Conv2d UniformConv(int inputs, int outputs, int size, int stride = 1, int padding = 0)
    {
        var conv = PlainConv(inputs, outputs, size, stride, padding);
        Initialization.KaimingUniform(conv.Weight, generator: generator);
        Initialization.Constant(conv.Bias!, 0);
        return conv;
    }

    /// <summary>A convolution with PyTorch's first values.</summary>
    public Conv2d PlainConv(int inputs, int outputs, int size, int stride = 1, int padding = 0, int groups = 1, bool bias = true) =>
        new(inputs, outputs, size, stride, padding, groups: groups, bias: bias, generator: generator, device: device, type: type);

    /// <summary>A fully connected layer with PyTorch's first values.</summary>
    public Linear PlainLinear(int inputs, int outputs) => new(inputs, outputs, generator: generator, device: device, type: type);

    /// <summary>A fully connected layer with normal weights and a bias of 0.</summary>
    public Linear NormalLinear(int inputs, int outputs, double deviation)
    {
        var linear = PlainLinear(inputs, outputs);
        Initialization.Normal(linear.Weight, 0, deviation, generator);
        Initialization.Constant(linear.Bias!, 0);
        return linear;
    }

    public BatchNorm2d Norm(int channels, double eps = 1e-5) => new(channels, eps, device: device, type: type);

    public LayerNorm LayerNorm(int width, double eps) => new([width], eps, device: device, type: type);

    /// <summary>Attention whose maps have normal weights and biases of 0.</summary>
    public MultiheadAttention Attention(int width, int heads, double deviation)
    {
        var attention = new MultiheadAttention(width, heads, generator: generator, device: device, type: type);
        foreach (var parameter in attention.Parameters())
            Initialization.Normal(parameter, 0, parameter.Rank == 1 ? 0 : deviation, generator);
        return attention;
    }

    public Dropout Dropout(double probability) => new(probability, generator);

    /// <summary>Normal numbers that a network learns.</summary>
    public Tensor Normal(Shape shape, double deviation) => Tensor.Normal(shape, 0, deviation, generator, device, type);
}
