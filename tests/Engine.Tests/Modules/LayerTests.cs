using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Modules;

public sealed class LayerTests
{
    public static TheoryData<string, Module, string> Names => new()
    {
        { "Linear", new Linear(4, 3), "weight[3, 4] bias[3]" },
        { "Linear without bias", new Linear(4, 3, bias: false), "weight[3, 4]" },
        { "WeightNormLinear", new WeightNormLinear(4, 3), "weight_g[3, 1] weight_v[3, 4] bias[3]" },
        { "Conv2d", new Conv2d(4, 6, (3, 5), groups: 2), "weight[6, 2, 3, 5] bias[6]" },
        { "ConvTranspose2d", new ConvTranspose2d(4, 6, (3, 5), groups: 2), "weight[4, 3, 3, 5] bias[6]" },
        { "Conv1d", new Conv1d(4, 6, 5, groups: 2), "weight[6, 2, 5] bias[6]" },
        { "BatchNorm1d", new BatchNorm1d(4), "weight[4] bias[4] running_mean[4] running_var[4] num_batches_tracked[]" },
        { "BatchNorm2d", new BatchNorm2d(4), "weight[4] bias[4] running_mean[4] running_var[4] num_batches_tracked[]" },
        { "LayerNorm", new LayerNorm([2, 3]), "weight[2, 3] bias[2, 3]" },
        { "GroupNorm", new GroupNorm(2, 4), "weight[4] bias[4]" },
        { "Embedding", new Embedding(5, 3), "weight[5, 3]" },
        { "MultiheadAttention", new MultiheadAttention(6, 2), "qkv.weight[18, 6] qkv.bias[18] proj.weight[6, 6] proj.bias[6]" },
        { "MultiheadAttention without bias", new MultiheadAttention(6, 2, bias: false), "qkv.weight[18, 6] proj.weight[6, 6] proj.bias[6]" },
        { "Activation", Activation.Relu(), "" },
    };

    [Theory, MemberData(nameof(Names))]
    public void Names_And_Shapes_Are_Those_Of_PyTorch(string name, Module module, string expected) =>
        Assert.Equal((name, expected), (name, string.Join(" ", module.StateDict().Select(item => item.Key + item.Value.Shape))));

    public static TheoryData<Module, int[], int[]> Outputs => new()
    {
        { new Conv2d(2, 3, 3, stride: 2, padding: 1), [5, 2, 7, 9], [5, 3, 4, 5] },
        { new ConvTranspose2d(2, 3, 3, stride: 2, padding: 1, outputPadding: 1), [5, 2, 4, 5], [5, 3, 8, 10] },
        { new Conv1d(2, 3, 3, stride: 2, padding: 1), [5, 2, 9], [5, 3, 5] },
        { new MaxPool1d(2), [1, 2, 9], [1, 2, 4] },
        { new AvgPool1d(3, 2, 1), [1, 2, 8], [1, 2, 4] },
        { new AdaptiveAvgPool1d(3), [1, 2, 8], [1, 2, 3] },
        { new AdaptiveMaxPool1d(1), [1, 2, 8], [1, 2, 1] },
        { new MaxPool2d(2), [1, 2, 6, 8], [1, 2, 3, 4] },
        { new AvgPool2d(3, 2, 1), [1, 2, 6, 8], [1, 2, 3, 4] },
        { new AdaptiveAvgPool2d((2, 3)), [1, 2, 6, 8], [1, 2, 2, 3] },
        { new AdaptiveMaxPool2d(1), [1, 2, 6, 8], [1, 2, 1, 1] },
        { new LayerNorm([8]), [3, 8], [3, 8] },
        { new GroupNorm(2, 4), [3, 4, 2, 2], [3, 4, 2, 2] },
        { new Flatten(), [3, 4, 2, 2], [3, 16] },
        { new Identity(), [3, 4], [3, 4] },
        { new SamePad2d(3, 2), [1, 2, 6, 7], [1, 2, 7, 9] },
        { new SamePad2d((2, 5), (2, 1)), [1, 2, 6, 7], [1, 2, 6, 11] },
        { new MultiheadAttention(6, 2), [3, 4, 6], [3, 4, 6] },
        { new Dropout2d(), [3, 4, 2, 2], [3, 4, 2, 2] },
        { new WeightNormLinear(6, 2), [3, 4, 6], [3, 4, 2] },
    };

    [Theory, MemberData(nameof(Outputs))]
    public void Outputs_Have_The_Shapes_That_Are_Documented(Module module, int[] input, int[] output)
    {
        var x = Tensor.Uniform(input, -1, 1, new(1));
        x.RequiresGrad = true;
        var y = module.Forward(x);
        Assert.Equal(output, y.Shape.ToArray());
        y.Sum().Backward();
        Assert.Equal(x.Shape, x.Grad!.Shape);
    }

    [Fact]
    public void Activations_Are_Their_Operators()
    {
        var x = Tensor.Uniform([2, 9], -4, 4, new(1));
        (Activation Module, Func<Tensor, Tensor> Operator)[] pairs =
        [
            (Activation.Relu(), x => x.Relu()), (Activation.Relu6(), x => x.Relu6()), (Activation.LeakyRelu(0.2), x => x.LeakyRelu(0.2)), (Activation.Elu(2), x => x.Elu(2)),
            (Activation.Gelu(), x => x.Gelu()), (Activation.Silu(), x => x.Silu()), (Activation.Sigmoid(), x => x.Sigmoid()), (Activation.LogSigmoid(), x => x.LogSigmoid()),
            (Activation.Tanh(), x => x.Tanh()), (Activation.HardTanh(), x => x.HardTanh()), (Activation.HardSigmoid(), x => x.HardSigmoid()), (Activation.HardSwish(), x => x.HardSwish()),
            (Activation.Softplus(), x => x.Softplus()), (Activation.Softmax(0), x => x.Softmax(0)), (Activation.LogSoftmax(), x => x.LogSoftmax()),
        ];
        Assert.All(pairs, pair => Assert.Equal(pair.Operator(x).ToArray<float>(), pair.Module.Forward(x).ToArray<float>()));
        Assert.Equal("LeakyRelu", Activation.LeakyRelu().ToString());
    }

    [Fact]
    public void A_Weight_Normalised_Map_Starts_As_A_Plain_One_And_Takes_Only_Directions_From_Its_Weights()
    {
        var x = Tensor.Uniform([5, 4], -1, 1, new(1), type: ElementType.Float64);
        var plain = new Linear(4, 3, generator: new(2), type: ElementType.Float64);
        var module = new WeightNormLinear(4, 3, generator: new(2), type: ElementType.Float64);
        Close(plain.Forward(x), module.Forward(x));
        module.LoadStateDict(new Dictionary<string, Tensor> { ["weight_g"] = module.Length * 2, ["weight_v"] = module.Direction * 7, ["bias"] = module.Bias! * 2 });
        Close(plain.Forward(x) * 2, module.Forward(x));

        // Longer v changes nothing, so its gradient has no part along v, and g's gradient is that part: of the plain weight's gradient along the direction.
        (module.Forward(x) * module.Forward(x)).Sum().Backward();
        Close(Tensor.Zeros([3], type: ElementType.Float64), (module.Direction.Grad! * module.Direction).Sum([1]));
        var doubled = new Linear(plain.Weight.Detach() * 2, plain.Bias!.Detach() * 2);
        (doubled.Forward(x) * doubled.Forward(x)).Sum().Backward();
        Close((doubled.Weight.Grad! * plain.Weight).Sum([1], keepDim: true) / plain.Weight.Norm(2, [1], keepDim: true), module.Length.Grad!);

        static void Close(Tensor expected, Tensor actual) => Assert.All(expected.ToArray<double>().Zip(actual.ToArray<double>()), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
    }

    [Fact]
    public void Batch_Norm_Tracks_In_Training_And_Holds_In_Evaluation()
    {
        var norm = new BatchNorm1d(2);
        var x = Tensor.From([1f, 10, 3, 30], [2, 2]);
        Assert.Equal(-1, norm.Forward(x).ToArray<float>()[0], 1e-4);
        norm.Forward(x);
        Assert.Equal(2, norm.StateDict()["num_batches_tracked"].Item());
        Assert.Equal([2 * 0.19f, 20 * 0.19f], norm.RunningMean.ToArray<float>(), Near);
        Assert.Equal([0.81f + 2 * 0.19f, 0.81f + 200 * 0.19f], norm.RunningVar.ToArray<float>(), Near);
        float[] held = norm.RunningMean.ToArray<float>();
        float y = norm.Eval().Forward(x).ToArray<float>()[0];
        Assert.Equal((1 - 0.38) / Math.Sqrt(1.19 + 1e-5), y, 1e-4);
        Assert.Equal(held, norm.RunningMean.ToArray<float>());
        Assert.Equal(2, norm.StateDict()["num_batches_tracked"].Item());
        norm.LoadStateDict(new Dictionary<string, Tensor> { ["num_batches_tracked"] = Tensor.Scalar(40) }, strict: false);
        norm.Train().Forward(x);
        Assert.Equal(41, norm.StateDict()["num_batches_tracked"].Item());
        Assert.Throws<ShapeException>(() => norm.Forward(Tensor.Zeros([2, 2, 2, 2])));
    }

    [Fact]
    public void Layers_Begin_As_PyTorchs_Do()
    {
        Within(new Linear(100, 400, generator: new(1)), 0.1);
        Within(new Conv2d(4, 64, 5, generator: new(1)), 0.1);
        Within(new Conv1d(4, 64, 25, generator: new(1)), 0.1);
        Within(new ConvTranspose2d(64, 4, 5, generator: new(1)), 0.1);
        float[] table = new Embedding(100, 100, new(1)).Weight.ToArray<float>();
        Assert.Equal(0, table.Average(), 0.03);
        Assert.Equal(1, Math.Sqrt(table.Average(v => v * v)), 0.03);
        Assert.Equal(new Linear(5, 5, generator: new(3)).Weight.ToArray<float>(), new Linear(5, 5, generator: new(3)).Weight.ToArray<float>());

        static void Within(Module module, double bound)
        {
            float[] weight = module.StateDict()["weight"].ToArray<float>();
            Assert.All(weight, v => Assert.InRange(v, -bound, bound));
            Assert.Equal(bound / Math.Sqrt(3), Math.Sqrt(weight.Average(v => v * v)), 0.03 * bound);
            Assert.All(module.StateDict()["bias"].ToArray<float>(), v => Assert.InRange(v, -bound, bound));
        }
    }

    [Fact]
    public void Initialisations_Have_The_Deviations_Of_Their_Papers()
    {
        var weight = Tensor.Zeros([60, 30, 2, 2]);
        Assert.Equal((120, 240), Initialization.Fans(weight.Shape));
        Assert.Equal(Math.Sqrt(2.0 / 360), Deviation(Initialization.XavierUniform(weight, generator: new(1))), 0.001);
        Assert.Equal(Math.Sqrt(2.0 / 360), Deviation(Initialization.XavierNormal(weight, generator: new(1))), 0.001);
        Assert.Equal(Math.Sqrt(2.0 / 120), Deviation(Initialization.KaimingUniform(weight, generator: new(1))), 0.002);
        Assert.Equal(Math.Sqrt(2.0 / 240), Deviation(Initialization.KaimingNormal(weight, fanOut: true, generator: new(1))), 0.002);
        Assert.Equal(Math.Sqrt(1.0 / 360), Deviation(Initialization.KaimingUniform(weight, Initialization.ReluGain(Math.Sqrt(5)), generator: new(1))), 0.001);
        Assert.All(Initialization.Constant(weight, 3).ToArray<float>(), v => Assert.Equal(3, v));
        Assert.Throws<ShapeException>(() => Initialization.XavierUniform(Tensor.Zeros([4])));

        static double Deviation(Tensor x) => Math.Sqrt(x.ToArray<float>().Average(v => v * v));
    }

    [Fact]
    public void Wrong_Sizes_Are_Refused()
    {
        Assert.Throws<ArgumentException>(() => new ConvTranspose2d(3, 4, 3, groups: 2));
        Assert.Throws<ArgumentException>(() => new Conv2d(3, 4, 3, groups: 2));
        Assert.Throws<ArgumentException>(() => new Conv1d(3, 4, 3, groups: 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Conv1d(3, 4, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Embedding(0, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Linear(0, 4));
    }

    private static bool Near(float a, float b) => Math.Abs(a - b) <= 1e-4 * (1 + Math.Abs(a));

    [Fact]
    public void Dropout2d_Drops_Whole_Channels_In_Training()
    {
        var module = new Dropout2d(0.25, new(1));
        float[] y = module.Forward(Tensor.Ones([40, 50, 2, 3])).ToArray<float>();
        var channels = y.Chunk(6).Select(channel => channel.Distinct().ToArray()).ToArray();
        Assert.All(channels, channel => Assert.True(channel is [0f] or [1 / 0.75f]));
        Assert.Equal(0.25, channels.Count(channel => channel[0] == 0) / 2000.0, 0.04);
        module.Eval();
        var x = Tensor.Ones([1, 2, 3, 4]);
        Assert.Same(x, module.Forward(x));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Dropout2d(1.5));
    }

    [Fact]
    public void SamePad2d_Puts_The_Odd_Zero_At_The_End()
    {
        var y = new SamePad2d(3, 2).Forward(Tensor.Ones([1, 1, 4, 5]));
        Assert.Equal([1, 1, 5, 7], y.Shape);
        Assert.Equal([0f, 1, 1, 1, 1, 1, 0], y.ToArray<float>()[..7]);
        Assert.Equal(new float[7], y.ToArray<float>()[28..]);
    }

    [Fact]
    public void Heads_Attend_Apart()
    {
        var module = new MultiheadAttention(4, 2, generator: new(1), type: ElementType.Float64);
        var x = Tensor.Uniform([1, 3, 4], -1, 1, new(2), type: ElementType.Float64);
        var state = module.StateDict();
        var parts = x.Linear(state["qkv.weight"], state["qkv.bias"]).Split(2, 2);
        var heads = Tensor.Concat([parts[0].ScaledDotProductAttention(parts[2], parts[4]), parts[1].ScaledDotProductAttention(parts[3], parts[5])], 2);
        var expected = heads.Linear(state["proj.weight"], state["proj.bias"]);
        Assert.All(module.Forward(x).ToArray<double>().Zip(expected.ToArray<double>()), pair => Assert.Equal(pair.Second, pair.First, 1e-12));
        Assert.Throws<ArgumentException>(() => new MultiheadAttention(5, 2));
    }
}
