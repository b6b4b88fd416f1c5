using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Training;
using Xunit;

namespace TransferEngine.Tests.Training;

public sealed class CapturedStepTests
{
    private const int Steps = 7;

    /// <summary>Trains for some steps with new batches, the last of which is smaller, and returns the losses and all that the model holds, in bits.</summary>
    private static (float[] Losses, float[] State, long Live) Train(string kind, bool captures, int workers = 2)
    {
        using var device = Device.Open(DeviceKind.Cpu);
        device.MaxDegreeOfParallelism = workers;
        var draw = new Generator(5);
        var (model, shape) = kind switch
        {
            "mlp" => ((Module)new Mlp(20, [32, 16], 4, draw, device), (int[])[8, 20]),
            "lenet" => (new LeNet(4, size: 16, dropout: 0.3, generator: draw, device: device), [4, 1, 16, 16]),
            _ => (ResNet.ResNet18(4, draw, device), [2, 3, 40, 40]),
        };
        Optimizer optimizer = kind == "mlp" ? new Sgd(model.Parameters(), 0.05, 0.9, nesterov: true) : new AdamW(model.Parameters(), 2e-3);
        var schedule = new OneCycleSchedule(optimizer, 0.01, Steps);
        using var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).CrossEntropy(inputs[1]));
        var losses = new List<float>();
        long live = 0;
        for (int i = 0; i < Steps; i++)
        {
            int[] size = i == Steps - 2 ? [shape[0] - 1, .. shape[1..]] : shape;
            using Tensor x = Tensor.Normal(size, generator: draw, device: device), y = Tensor.RandomIntegers([size[0]], 0, 4, draw, device);
            if (captures)
            {
                losses.Add((float)step.Run(x, y).Item());
            }
            else
            {
                using var scope = new TensorScope();
                var loss = model.Forward(x).CrossEntropy(y);
                loss.Backward();
                losses.Add((float)loss.Item());
            }
            optimizer.Step();
            optimizer.ZeroGrad();
            schedule.Step();
            Assert.Equal(captures && i >= 2, step.IsCaptured);
        }
        float[] state = [.. model.StateDict().Values.SelectMany(tensor => tensor.To(ElementType.Float32).ToArray<float>())];
        step.Dispose();
        live = device.LiveBytes;
        return ([.. losses], state, live);
    }

    [Theory, InlineData("mlp"), InlineData("lenet"), InlineData("resnet18")]
    public void Replayed_Steps_Have_The_Bits_Of_Ordinary_Ones(string kind)
    {
        var (losses, state, _) = Train(kind, captures: false);
        var (captured, capturedState, _) = Train(kind, captures: true);
        Assert.DoesNotContain(losses, float.IsNaN);
        Assert.Equal(losses, captured);
        Assert.Equal(state, capturedState);
    }

    [Fact]
    public void The_Number_Of_Workers_Changes_Nothing()
    {
        var (losses, state, _) = Train("lenet", captures: true, workers: 1);
        var (others, otherState, _) = Train("lenet", captures: true, workers: 4);
        Assert.Equal(losses, others);
        Assert.Equal(state, otherState);
    }

    [Fact]
    public void Gradients_Add_Up_As_Those_Of_Backward_Do()
    {
        var w = Leaf([1, 2, 3]);
        var model = new Holder(w);
        using var step = new CapturedStep(model, inputs => (w * inputs[0]).Sum());
        var sum = new float[3];
        for (int i = 1; i <= 6; i++)
        {
            Assert.Equal(i * (1 + 4 + 9), step.Run(Tensor.From([(float)i, 2 * i, 3 * i])).Item());
            for (int j = 0; j < 3; j++)
                sum[j] += (j + 1) * i;
            Assert.Equal(sum, w.Grad!.ToArray<float>());
        }
        // What has been handed over stays with who has it when the step is gone.
        step.Dispose();
        Tensor.Full([3], 7);
        Assert.Equal(sum, w.Grad!.ToArray<float>());
    }

    [Fact]
    public void Running_Statistics_And_Their_Counts_Go_On()
    {
        var norm = new BatchNorm1d(3);
        using var step = new CapturedStep(norm, inputs => norm.Forward(inputs[0]).Square().Mean());
        var other = new BatchNorm1d(3);
        var draw = new Generator(2);
        for (int i = 0; i < 6; i++)
        {
            var x = Tensor.Normal([5, 3], generator: draw);
            step.Run(x);
            other.Forward(x);
        }
        Assert.Equal(6, norm.StateDict()["num_batches_tracked"].Item());
        Assert.Equal(other.RunningMean.ToArray<float>(), norm.RunningMean.ToArray<float>());
        Assert.Equal(other.RunningVar.ToArray<float>(), norm.RunningVar.ToArray<float>());
    }

    [Fact]
    public void A_Change_Of_The_Model_Is_Recorded_Anew()
    {
        var draw = new Generator(3);
        var dropout = new Dropout(0.5, draw);
        var linear = new Linear(4, 2, generator: draw);
        var model = new Sequential(linear, dropout);
        using var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).Sum());
        var x = Tensor.Ones([2, 4]);
        Changed(() => model.Eval());
        Changed(() => linear.Bias!.RequiresGrad = false);
        Assert.Null(linear.Bias!.Grad);
        Changed(() => model.To(ElementType.Float64).To(ElementType.Float32));
        var seen = 0;
        using (linear.RegisterForwardHook((_, _, output) =>
        {
            seen++;
            return output * 2;
        }))
        {
            Changed(() => { });
            Assert.Equal(4, seen); // in the first three runs, and in the forward pass that is compared with
        }

        void Changed(Action change)
        {
            change();
            Run(5);
            Assert.True(step.IsCaptured);
            double replayed = step.Run(x).Item();
            model.ZeroGrad();
            if (!model.IsTraining)
                Assert.Equal(model.Forward(x).Sum().Item(), replayed);
        }

        void Run(int times)
        {
            for (int i = 0; i < times; i++)
            {
                step.Run(x);
                model.ZeroGrad();
            }
        }
    }

    [Fact]
    public void Reading_The_Device_Is_Refused_By_Name_And_Leaves_Gradients_And_Streams()
    {
        var w = Leaf([1, 2, 3]);
        var draw = new Generator(9);
        foreach (var (text, reads) in new (string, Func<Tensor, Tensor>)[]
        {
            ("Reading 1 element(s)", x => x * x.Sum().Item()),
            ("Reading 3 element(s) of [3]", x => x * x.ToArray<float>()[0]),
            ("Generator.NextDouble", x => x * draw.NextDouble()),
            ("Generator.Permutation", x => x.IndexSelect(0, Tensor.RandomPermutation(3, draw))),
        })
        {
            using var step = new CapturedStep(new Holder(w), inputs => reads((w * inputs[0]).Dropout(0.5, true, draw)).Sum());
            step.Run(Tensor.Ones([3]));
            var (state, gradient) = (draw.State, w.Grad!.ToArray<float>());
            Assert.Contains(text, Assert.Throws<CaptureException>(() => step.Run(Tensor.Ones([3]))).Message);
            Assert.Equal(state, draw.State);
            Assert.Equal(gradient, w.Grad!.ToArray<float>());
            step.Run(Tensor.Ones([3])); // an ordinary run again
            w.Grad = null;
        }
    }

    [Fact]
    public void A_Number_Of_The_Host_That_Changes_Is_Refused_By_The_Kernel_It_Goes_To()
    {
        var w = Leaf([1, 2, 3]);
        double factor = 1;
        int calls = 0;
        Refused("MapKernel<", x => x * factor++);
        Refused("a copy of numbers of the host", x => x * Tensor.Scalar((float)factor++));
        Refused(", and was MapKernel<Single, Exp>", x => ++calls % 2 == 1 ? x : x.Exp());
        int hooked = 0;
        using (w.RegisterHook(g => ++hooked % 2 == 1 ? g.MultiplyInPlace(2) : null))
            Refused("comes after the last", x => x);
        using (w.RegisterHook(g => ++hooked % 2 == 1 ? g.MultiplyInPlace(2) : null))
            Refused("ended before", x => x);
        Refused("memory of another size", x => Tensor.Concat([x, Tensor.Zeros([200 * ++calls])]));
        Refused("another random stream", x => x.Dropout(0.5, true, new Generator(1)));

        void Refused(string text, Func<Tensor, Tensor> changes)
        {
            calls = 0;
            using var step = new CapturedStep(new Holder(w), inputs => changes(w * inputs[0]).Sum());
            step.Run(Tensor.Ones([3]));
            step.Run(Tensor.Ones([3]));
            Assert.Contains(text, Assert.Throws<CaptureException>(() => step.Run(Tensor.Ones([3]))).Message);
            Assert.False(step.IsCaptured);
        }
    }

    [Fact]
    public void What_Can_Not_Be_Is_Said()
    {
        var w = Leaf([1, 2, 3]);
        using var step = new CapturedStep(new Holder(w), inputs => w * inputs[0]);
        Assert.Throws<ShapeException>(() => step.Run(Tensor.Ones([3])));
        Assert.Throws<ArgumentException>(() => step.Run(Leaf([1, 1, 1])));
        using var device = Device.Open(DeviceKind.Cpu);
        using var elsewhere = new CapturedStep(new Holder(w), inputs => (w * inputs[0].To(w.Device)).Sum());
        var x = Tensor.Ones([3], device);
        elsewhere.Run(x);
        Assert.Throws<CaptureException>(() => elsewhere.Run(x));
    }

    [Fact]
    public void Memory_Is_Held_As_Long_As_The_Step_And_Given_Back()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var draw = new Generator(1);
        var model = new LeNet(10, generator: draw, device: device);
        Tensor x = Tensor.Normal([4, 1, 28, 28], generator: draw, device: device), y = Tensor.RandomIntegers([4], 0, 10, draw, device);
        long before = device.LiveBytes;
        for (int round = 0; round < 3; round++)
        {
            using (var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).CrossEntropy(inputs[1])))
            {
                for (int i = 0; i < 5; i++)
                {
                    step.Run(x, y).Dispose();
                    model.ZeroGrad();
                }
                Assert.True(device.LiveBytes > before);
            }
            Assert.Equal(before, device.LiveBytes);
        }
    }

    private static Tensor Leaf(float[] values)
    {
        var leaf = Tensor.From(values);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private sealed class Holder : Module
    {
        public Holder(Tensor weight) => AddParameter("weight", weight);

        protected override Tensor Compute(Tensor input) => input;
    }
}
