using TransferEngine.Adaptation;
using TransferEngine.Kernels;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;
using Xunit.Abstractions;

namespace TransferEngine.Tests.Autograd;

/// <summary>Where autocast holds, what it leaves alone, and what it saves.</summary>
public sealed class AutocastTests(ITestOutputHelper output)
{
    private const ElementType F16 = ElementType.Float16, BF16 = ElementType.BFloat16, F32 = ElementType.Float32;

    private static readonly float[] Fine = [1.00390625f, 3.0009765625f]; // between two numbers of bfloat16; the first is one of float16

    [Fact]
    public void Scopes_Nest_And_Belong_To_Their_Thread()
    {
        Assert.Equal(F32, Autocast.Current);
        using (new Autocast())
        {
            Assert.Equal(BF16, Autocast.Current);
            using (new Autocast(F32))
                Assert.Equal(F32, Autocast.Current);
            using (new Autocast(F16))
                Assert.Equal(F16, Autocast.Current);
            Assert.Equal(BF16, Autocast.Current);
            var elsewhere = F16;
            var thread = new Thread(() => elsewhere = Autocast.Current);
            thread.Start();
            thread.Join();
            Assert.Equal(F32, elsewhere);
            foreach (var wrong in new[] { ElementType.Float64, ElementType.Int32 })
                Assert.Contains("BFloat16 or Float16", Assert.Throws<ElementTypeException>(() => new Autocast(wrong)).Message, StringComparison.Ordinal);
            Assert.Equal(BF16, Autocast.Current);
        }
        Assert.Equal(F32, Autocast.Current);
    }

    [Fact]
    public void Operands_Are_Rounded_And_All_Else_Is_Not()
    {
        Tensor x = Tensor.From(Fine, [1, 2]), one = Tensor.Eye(2);
        using (new Autocast(BF16))
        {
            Assert.Equal([1f, 3f], x.MatMul(one).ToArray<float>()); // halfway, to even; and below it
            Assert.Equal([1f, 3f], x.Linear(one).ToArray<float>());
            Assert.Equal([1f + 1 / 1024f, 3f], x.Linear(one, Tensor.From([1 / 1024f, 0])).ToArray<float>()); // neither the bias nor the sum is rounded
            Assert.Equal(Fine, (x * 1).ToArray<float>());
            Assert.Equal(Fine[0] + Fine[1], (float)x.Sum().Item());
            Assert.Equal(Fine[0] * Fine[0] + Fine[1] * Fine[1], (float)x.Flatten().Dot(x.Flatten()).Item());
            Assert.Equal([(double)Fine[0], Fine[1]], x.To(ElementType.Float64).MatMul(one.To(ElementType.Float64)).ToArray<double>());
        }
        using (new Autocast(F16))
            Assert.Equal([Fine[0], 3f], x.MatMul(one).ToArray<float>());
        using (new Autocast(F16))
            Assert.Equal([float.PositiveInfinity], Tensor.From([70000f], [1, 1]).MatMul(Tensor.Ones([1, 1])).Flatten().ToArray<float>());
        Assert.Equal(Fine, x.MatMul(one).ToArray<float>());
    }

    [Fact]
    public void Backward_Goes_By_The_Forward_Wherever_It_Runs()
    {
        Tensor one = Tensor.Eye(2), g = Tensor.From(Fine, [1, 2]);
        float[] Gradient(ElementType forward, ElementType backward)
        {
            var x = Tensor.Ones([1, 2]);
            x.RequiresGrad = true;
            Tensor y;
            using (new Autocast(forward))
                y = x.MatMul(one);
            using (new Autocast(backward))
            {
                y.Backward(g);
                Assert.Equal(backward, Autocast.Current);
            }
            return x.Grad!.ToArray<float>();
        }
        Assert.Equal([1f, 3f], Gradient(BF16, F32));
        Assert.Equal([1f, 3f], Gradient(BF16, F16));
        Assert.Equal(Fine, Gradient(F32, BF16));
    }

    [Fact]
    public void Losses_Have_The_Bits_That_They_Have_Without()
    {
        var draw = new Generator(4);
        Tensor source = Tensor.Normal([12, 6], generator: draw), target = Tensor.Normal([12, 6], generator: draw) + 0.3, labels = Tensor.RandomIntegers([12], 0, 3, draw);
        source.RequiresGrad = true;
        foreach (var (name, loss) in new (string, Func<Tensor>)[]
        {
            ("coral", () => new DeepCoral().Forward(source, target)), ("mmd", () => new MaximumMeanDiscrepancy().Forward(source, target)), ("swd", () => new SlicedWasserstein(projections: 8, generator: new(3)).Forward(source, target)),
            ("mcc", () => new MinimumClassConfusion().Forward(source)), ("log-coral", () => new LogEuclideanCoral().Forward(source, target)), ("cross-entropy", () => source.CrossEntropy(labels)),
            ("cmd", () => new CentralMomentDiscrepancy().Forward(source, target)), ("bnm", () => new BatchNuclearNorm().Forward(source)), ("distance", () => source.PairwiseSquaredDistances(target).Sum()),
        })
        {
            float[] Bits(ElementType type)
            {
                Tensor value;
                using (new Autocast(type))
                    value = loss();
                return [(float)value.Item(), .. Tensor.Gradients(value, [source])[0].ToArray<float>()];
            }
            Assert.True(Bits(F32).AsSpan().SequenceEqual(Bits(BF16)), name);
        }
    }

    [Theory, InlineData(F16), InlineData(BF16)]
    public void Activations_Take_About_Half_The_Memory(ElementType type)
    {
        var (plain, _) = Peak(F32);
        var (halved, lives) = Peak(type);
        output.WriteLine($"{type}: {halved:N0} bytes at the most, {plain:N0} in Float32");
        Assert.InRange((double)halved / plain, 0.4, 0.65);
        Assert.True(lives.Distinct().Count() == 1, $"live bytes after each step: {string.Join(", ", lives)}");
    }

    /// <summary>The most bytes of a training step beside the weights, and those live after each.</summary>
    private static (long Peak, long[] Lives) Peak(ElementType type)
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var draw = new Generator(1);
        var layers = new List<Module>();
        for (int i = 0; i < 30; i++)
            layers.AddRange([new Conv2d(i == 0 ? 1 : 8, 8, 3, padding: 1, generator: draw, device: device), Activation.Relu()]);
        var model = new Sequential([.. layers, new AdaptiveAvgPool2d(1), new Flatten(), new Linear(8, 3, generator: draw, device: device)]);
        Tensor x = Tensor.Normal([8, 1, 32, 32], generator: draw, device: device), y = Tensor.RandomIntegers([8], 0, 3, draw, device);
        long weights = device.LiveBytes, peak = 0;
        var lives = new long[5];
        for (int step = 0; step < lives.Length; step++)
        {
            device.ResetPeakBytes();
            using (new TensorScope())
            {
                Tensor loss;
                using (new Autocast(type))
                    loss = model.Forward(x).CrossEntropy(y);
                loss.Backward();
            }
            peak = device.PeakBytes - weights;
            model.ZeroGrad();
            lives[step] = device.LiveBytes;
        }
        return (peak, lives);
    }

    [Theory, InlineData(F32), InlineData(BF16)]
    public void Saved_Values_In_16_Bits_Outlive_What_They_Were_Made_Of_And_Changes_In_Place(ElementType type)
    {
        var w = Tensor.Full([1, 1], 2);
        w.RequiresGrad = true;
        var x = Tensor.Full([1, 1], 3);
        x.RequiresGrad = true;
        Tensor y;
        using (new Autocast(type))
        {
            var h = x * 1;
            y = h.MatMul(w);
            if (type == BF16)
            {
                using (new NoGrad())
                    h.FillInPlace(100); // what was saved is a copy
                using (new NoGrad())
                    Assert.Equal(200, h.MatMul(w).Item());
            }
            h.Dispose();
        }
        y.Backward();
        Assert.Equal(3, w.Grad!.Item());
        Assert.Equal(2, x.Grad!.Item());
    }

    [Theory, InlineData(F32), InlineData(BF16), InlineData(F16)]
    public void A_Captured_Step_Has_The_Bits_Of_An_Ordinary_One(ElementType type) =>
        Assert.Equal(Train(type, captures: false), Train(type, captures: true));

    private static float[] Train(ElementType type, bool captures)
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var draw = new Generator(5);
        var model = new LeNet(4, size: 16, dropout: 0.3, generator: draw, device: device);
        var frozen = Tensor.Normal([16, 16], generator: draw, device: device);
        var optimizer = new Adam(model.Parameters(), 2e-3);
        var scaler = new GradScaler(initialScale: 1024, growthInterval: 3);
        var losses = new List<float>();
        Tensor Loss(IReadOnlyList<Tensor> inputs)
        {
            using var cast = new Autocast(type);
            // A product that needs no gradient, of weights that never change, and one by a view of a parameter.
            var x = inputs[0].MatMul(frozen.Transpose());
            return scaler.Scale(model.Forward(x).CrossEntropy(inputs[1]) + model.Parameters().Last().Reshape(1, -1).MatMul(model.Parameters().Last().Reshape(-1, 1)).Sum() * 0.1);
        }
        using var step = new CapturedStep(model, Loss);
        for (int i = 0; i < 10; i++)
        {
            using Tensor x = Tensor.Normal([4, 1, 16, 16], generator: draw, device: device), y = Tensor.RandomIntegers([4], 0, 4, draw, device);
            if (i == 6)
                x.MultiplyInPlace(float.MaxValue); // a step that is left out
            if (captures)
            {
                losses.Add((float)step.Run(x, y).Item());
            }
            else
            {
                using var scope = new TensorScope();
                var loss = Loss([x, y]);
                loss.Backward();
                losses.Add((float)loss.Item());
            }
            scaler.Step(optimizer);
            scaler.Update();
            optimizer.ZeroGrad();
        }
        Assert.Equal(!captures, !step.IsCaptured);
        Assert.Equal(1, scaler.SkippedSteps);
        return [.. losses, .. model.Parameters().SelectMany(parameter => parameter.ToArray<float>())];
    }

    [Fact]
    public void Tensor_Cores_Of_The_Type_Are_Chosen_Where_Tuned_Products_Are_Allowed()
    {
        Assert.Equal(MatMulPrecision.BFloat16, TunedMatMul.Precision(MatMulPrecision.Float32, true, BF16));
        Assert.Equal(MatMulPrecision.Float16, TunedMatMul.Precision(MatMulPrecision.TensorFloat32, true, F16));
        Assert.Equal(MatMulPrecision.Float32, TunedMatMul.Precision(MatMulPrecision.Float32, false, BF16));
        Assert.Equal(MatMulPrecision.TensorFloat32, TunedMatMul.Precision(MatMulPrecision.TensorFloat32, true, F32));
    }
}
