namespace TransferEngine.Modules;

/// <summary>An element-wise or softmax function without parameters as a module; made by the factory of its name, such as <c>Activation.Relu()</c>.</summary>
public sealed class Activation : Module
{
    private readonly string name;
    private readonly Func<Tensor, Tensor> function;

    private Activation(string name, Func<Tensor, Tensor> function) => (this.name, this.function) = (name, function);

    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <summary>Where the function does nothing but keep its argument between two numbers: these.</summary>
    internal (double Low, double High)? Bounds { get; private init; }

    /// <inheritdoc cref="Tensor.Relu"/>
    public static Activation Relu() => new(nameof(Relu), static x => x.Relu()) { Bounds = (0, double.PositiveInfinity) };

    /// <inheritdoc cref="Tensor.Relu6"/>
    public static Activation Relu6() => new(nameof(Relu6), static x => x.Relu6()) { Bounds = (0, 6) };

    /// <inheritdoc cref="Tensor.LeakyRelu"/>
    public static Activation LeakyRelu(double slope = 0.01) => new(nameof(LeakyRelu), x => x.LeakyRelu(slope));

    /// <inheritdoc cref="Tensor.Elu"/>
    public static Activation Elu(double alpha = 1) => new(nameof(Elu), x => x.Elu(alpha));

    /// <inheritdoc cref="Tensor.Gelu"/>
    public static Activation Gelu(bool approximate = false) => new(nameof(Gelu), x => x.Gelu(approximate));

    /// <inheritdoc cref="Tensor.Silu"/>
    public static Activation Silu() => new(nameof(Silu), static x => x.Silu());

    /// <inheritdoc cref="Tensor.Sigmoid"/>
    public static Activation Sigmoid() => new(nameof(Sigmoid), static x => x.Sigmoid());

    /// <inheritdoc cref="Tensor.LogSigmoid"/>
    public static Activation LogSigmoid() => new(nameof(LogSigmoid), static x => x.LogSigmoid());

    /// <inheritdoc cref="Tensor.Tanh"/>
    public static Activation Tanh() => new(nameof(Tanh), static x => x.Tanh());

    /// <inheritdoc cref="Tensor.HardTanh"/>
    public static Activation HardTanh(double low = -1, double high = 1) => new(nameof(HardTanh), x => x.HardTanh(low, high));

    /// <inheritdoc cref="Tensor.HardSigmoid"/>
    public static Activation HardSigmoid() => new(nameof(HardSigmoid), static x => x.HardSigmoid());

    /// <inheritdoc cref="Tensor.HardSwish"/>
    public static Activation HardSwish() => new(nameof(HardSwish), static x => x.HardSwish());

    /// <inheritdoc cref="Tensor.Softplus"/>
    public static Activation Softplus(double beta = 1, double threshold = 20) => new(nameof(Softplus), x => x.Softplus(beta, threshold));

    /// <inheritdoc cref="Tensor.Softmax"/>
    public static Activation Softmax(int axis = -1) => new(nameof(Softmax), x => x.Softmax(axis));

    /// <inheritdoc cref="Tensor.LogSoftmax"/>
    public static Activation LogSoftmax(int axis = -1) => new(nameof(LogSoftmax), x => x.LogSoftmax(axis));

    /// <summary>The name of the function.</summary>
    public override string ToString() => name;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => function(input);
}
