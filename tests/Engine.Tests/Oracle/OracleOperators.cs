using System.Text.Json;

namespace TransferEngine.Tests.Oracle;

/// <summary>PyTorch's names of operators and optimisers, and what they are here. A name without a row is an error.</summary>
internal static class OracleOperators
{
    public static Tensor Apply(string name, OracleArguments a, Tensor[] x, Tensor[] i) => name switch
    {
        "matmul" => x[0].MatMul(x[1]),
        "linear" => x[0].Linear(x[1], x[2]),
        "conv2d" => x[0].Conv2d(x[1], x[2], a.Pair("stride"), a.Pair("padding"), a.Pair("dilation"), a.Int("groups")),
        "conv_transpose2d" => x[0].ConvTranspose2d(
            x[1], x[2], stride: a.Pair("stride"), padding: a.Pair("padding"), outputPadding: a.Pair("output_padding"), dilation: a.Pair("dilation"), groups: a.Int("groups")),
        "max_pool2d" => x[0].MaxPool2d(a.Pair("kernel_size"), a.Pair("stride"), a.Pair("padding"), ceilMode: a.Flag("ceil_mode")),
        "avg_pool2d" => x[0].AvgPool2d(
            a.Pair("kernel_size"), a.Pair("stride"), a.Pair("padding"), ceilMode: a.Flag("ceil_mode"), countIncludePad: a.Flag("count_include_pad")),
        "adaptive_avg_pool2d" => x[0].AdaptiveAvgPool2d(a.Pair("output_size")),
        "adaptive_max_pool2d" => x[0].AdaptiveMaxPool2d(a.Pair("output_size")),
        "batch_norm" => x[0].BatchNorm(null, null, x[1], x[2], training: true, eps: a.Number("eps")),
        "layer_norm" => x[0].LayerNorm(a.Ints("normalized_shape"), x[1], x[2], a.Number("eps")),
        "group_norm" => x[0].GroupNorm(a.Int("num_groups"), x[1], x[2], a.Number("eps")),
        "softmax" => x[0].Softmax(a.Int("dim")),
        "log_softmax" => x[0].LogSoftmax(a.Int("dim")),
        "logsumexp" => x[0].LogSumExp([a.Int("dim")]),
        "cross_entropy" => x[0].CrossEntropy(i[0], a.Tensor("weight"), a.Int("ignore_index"), a.Number("label_smoothing"), a.Reduction),
        "nll_loss" => x[0].NllLoss(i[0], reduction: a.Reduction),
        "mse_loss" => x[0].MseLoss(x[1], a.Reduction),
        "l1_loss" => x[0].L1Loss(x[1], a.Reduction),
        "smooth_l1_loss" => x[0].SmoothL1Loss(x[1], a.Number("beta"), a.Reduction),
        "binary_cross_entropy_with_logits" => x[0].BinaryCrossEntropyWithLogits(a.Tensor("target")!.Reshape(3, 4), a.Tensor("pos_weight"), a.Reduction),
        "kl_div" => x[0].KlDiv(a.Tensor("target")!.Reshape(3, 4), a.Reduction),
        "relu" => x[0].Relu(),
        "gelu" => x[0].Gelu(),
        "gelu_tanh" => x[0].Gelu(approximate: true),
        "silu" => x[0].Silu(),
        "elu" => x[0].Elu(),
        "softplus" => x[0].Softplus(),
        "sigmoid" => x[0].Sigmoid(),
        "tanh" => x[0].Tanh(),
        "leaky_relu" => x[0].LeakyRelu(),
        "hardswish" => x[0].HardSwish(),
        "hardsigmoid" => x[0].HardSigmoid(),
        "relu6" => x[0].Relu6(),
        "logsigmoid" => x[0].LogSigmoid(),
        "exp" => x[0].Exp(),
        "sin" => x[0].Sin(),
        "cos" => x[0].Cos(),
        "erf" => x[0].Erf(),
        "expm1" => x[0].Expm1(),
        "abs" => x[0].Abs(),
        "square" => x[0].Square(),
        "log" => x[0].Log(),
        "sqrt" => x[0].Sqrt(),
        "rsqrt" => x[0].Rsqrt(),
        "log1p" => x[0].Log1p(),
        "reciprocal" => x[0].Reciprocal(),
        "sum" => x[0].Sum([a.Int("dim")], a.Flag("keepdim")),
        "mean" => x[0].Mean([a.Int("dim")], a.Flag("keepdim")),
        "var" => x[0].Var([a.Int("dim")], keepDim: a.Flag("keepdim")),
        "std" => x[0].Std([a.Int("dim")], keepDim: a.Flag("keepdim")),
        "amax" => x[0].Max([a.Int("dim")], a.Flag("keepdim")),
        "amin" => x[0].Min([a.Int("dim")], a.Flag("keepdim")),
        "prod" => x[0].Prod([a.Int("dim")], a.Flag("keepdim")),
        "norm" => x[0].Norm(a.Number("p"), [a.Int("dim")]),
        "gather" => x[0].Gather(a.Int("dim"), i[0]),
        "index_select" => x[0].IndexSelect(a.Int("dim"), i[0]),
        "embedding" => x[0].Embedding(i[0]),
        _ => throw new ArgumentException($"The oracle has cases of '{name}', which has no row here. Add one.", nameof(name)),
    };

    public static Optimizer Optimizer(string name, OracleArguments a, Tensor parameter, double rate) => name switch
    {
        "SGD" => new Sgd([parameter], rate, a.Number("momentum", 0), a.Number("dampening", 0), a.Number("weight_decay", 0), a.Flag("nesterov")),
        "Adam" => new Adam([parameter], rate, a.Number("betas", 0.9, 0), a.Number("betas", 0.999, 1), a.Number("eps", 1e-8), a.Number("weight_decay", 0), a.Flag("amsgrad")),
        "AdamW" => new AdamW([parameter], rate, weightDecay: a.Number("weight_decay", 0.01), amsGrad: a.Flag("amsgrad")),
        "RMSprop" => new RmsProp(
            [parameter], rate, a.Number("alpha", 0.99), weightDecay: a.Number("weight_decay", 0), momentum: a.Number("momentum", 0), centered: a.Flag("centered")),
        _ => throw new ArgumentException($"The oracle has the optimiser '{name}', which has no row here. Add one.", nameof(name)),
    };
}

/// <summary>The arguments of a case, by PyTorch's names.</summary>
internal sealed class OracleArguments(JsonElement arguments, ElementType type)
{
    public LossReduction Reduction => arguments.GetProperty("reduction").GetString() switch
    {
        "none" => LossReduction.None,
        "sum" => LossReduction.Sum,
        "batchmean" => LossReduction.BatchMean,
        _ => LossReduction.Mean,
    };

    public int Int(string name) => arguments.GetProperty(name).GetInt32();

    public int[] Ints(string name) => [.. arguments.GetProperty(name).EnumerateArray().Select(v => v.GetInt32())];

    public Size2d Pair(string name) => (Ints(name)[0], Ints(name)[1]);

    public bool Flag(string name) => arguments.TryGetProperty(name, out var value) && value.GetBoolean();

    public double Number(string name) => arguments.GetProperty(name) is { ValueKind: JsonValueKind.String } ? double.PositiveInfinity : arguments.GetProperty(name).GetDouble();

    public double Number(string name, double otherwise, int? index = null) =>
        !arguments.TryGetProperty(name, out var value) ? otherwise : index is { } i ? value[i].GetDouble() : value.GetDouble();

    public Tensor? Tensor(string name)
    {
        if (!arguments.TryGetProperty(name, out var value))
            return null;
        double[] values = [.. value.EnumerateArray().Select(v => v.GetDouble())];
        return TransferEngine.Tensor.FromDoubles(values, [values.Length], Device.Cpu, type);
    }
}
