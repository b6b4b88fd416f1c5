using TransferEngine.Models;
using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Models;

public sealed class ModelTests
{
    private static long Count(Module model) => model.Parameters().Sum(parameter => (long)parameter.Elements);

    [Fact]
    public void ResNet18_Has_The_Names_Of_Torchvision()
    {
        var model = ResNet.ResNet18(generator: new(1));
        Assert.Equal(11_689_512, Count(model));
        var state = model.StateDict();
        Assert.Equal(122, state.Count);
        Assert.Equal(["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked", "layer1.0.conv1.weight"], state.Keys.Take(7));
        Assert.Equal(["fc.weight", "fc.bias"], state.Keys.TakeLast(2));
        Assert.Equal([64, 3, 7, 7], state["conv1.weight"].Shape.ToArray());
        Assert.Equal([128, 64, 3, 3], state["layer2.0.conv1.weight"].Shape.ToArray());
        Assert.Equal([128, 64, 1, 1], state["layer2.0.downsample.0.weight"].Shape.ToArray());
        Assert.Equal([128], state["layer2.0.downsample.1.running_var"].Shape.ToArray());
        Assert.Equal([512, 512, 3, 3], state["layer4.1.conv2.weight"].Shape.ToArray());
        Assert.Equal([1000, 512], state["fc.weight"].Shape.ToArray());
        Assert.DoesNotContain("layer1.0.downsample.0.weight", state.Keys);
        float[] stem = state["conv1.weight"].ToArray<float>();
        Assert.Equal(Math.Sqrt(2.0 / (64 * 49)), Math.Sqrt(stem.Average(v => v * v)), 0.001);
    }

    [Fact]
    public void ResNet50_Is_Made_Of_Bottlenecks()
    {
        var model = ResNet.ResNet50(7, new(1));
        Assert.Equal(25_557_032 - (2048 * 993 + 993), Count(model));
        var state = model.StateDict();
        Assert.Equal([256, 64, 1, 1], state["layer1.0.downsample.0.weight"].Shape.ToArray());
        Assert.Equal([128, 128, 3, 3], state["layer2.0.conv2.weight"].Shape.ToArray());
        Assert.Equal([2048, 512, 1, 1], state["layer4.2.conv3.weight"].Shape.ToArray());
        Assert.Equal(2048, model.FeatureCount);
    }

    [Fact]
    public void ResNet18_Runs_And_Learns_And_Gives_Its_Features()
    {
        var model = ResNet.ResNet18(3, new(1));
        var x = Tensor.Uniform([2, 3, 32, 32], -1, 1, new(2));
        var seen = new List<Tensor>();
        using (new NoGrad())
        {
            model.Eval();
            var plain = model.Forward(x);
            Assert.Equal([2, 3], plain.Shape.ToArray());
            Assert.Equal([2, 512], model.Features(x).Shape.ToArray());
            using (model.GetModule("layer1.0.bn2").RegisterForwardHook((_, _, output) => { seen.Add(output); return null; }))
            using (model.GetModule("layer2").RegisterForwardHook((_, _, output) => { seen.Add(output); return null; }))
                Assert.All(plain.ToArray<float>().Zip(model.Forward(x).ToArray<float>()), pair => Assert.Equal(pair.First, pair.Second, 1e-4f)); // hooks keep layers from running as one
            Assert.All(seen, tensor => Assert.NotEmpty(tensor.ToArray<float>()));
            Assert.Equal([2, 128, 4, 4], seen[1].Shape.ToArray());
        }
        model.Train();
        var optimizer = new Sgd(model.Parameters(), 0.01);
        var y = Tensor.From([0, 2]);
        double first = double.NaN, last = double.NaN;
        for (int step = 0; step < 4; step++)
        {
            using var scope = new TensorScope();
            optimizer.ZeroGrad();
            var loss = model.Forward(x).CrossEntropy(y);
            loss.Backward();
            optimizer.Step();
            last = loss.Item();
            first = step == 0 ? last : first;
        }
        Assert.All(model.Parameters(), parameter => Assert.NotNull(parameter.Grad));
        Assert.True(last < first, $"{first} to {last}");
    }

    [Fact]
    public void A_Block_Is_Its_Formula()
    {
        var model = new ResNet([1, 1, 1, 1], bottleneck: false, 2, new(1), type: ElementType.Float64);
        var x = Tensor.Uniform([2, 64, 6, 6], -1, 1, new(2), type: ElementType.Float64);
        Sequential first = (Sequential)model.GetModule("layer2");
        var state = first.StateDict();
        var y = x.Conv2d(state["0.conv1.weight"], stride: 2, padding: 1).BatchNorm(null, null, training: true).Relu()
            .Conv2d(state["0.conv2.weight"], padding: 1).BatchNorm(null, null, training: true);
        var expected = (y + x.Conv2d(state["0.downsample.0.weight"], stride: 2).BatchNorm(null, null, training: true)).Relu();
        Assert.All(first.Forward(x).ToArray<double>().Zip(expected.ToArray<double>()), pair => Assert.Equal(pair.Second, pair.First, 1e-9));
    }

    [Fact]
    public void LeNet_And_Mlp_Are_Features_And_A_Head()
    {
        var lenet = new LeNet(4, generator: new(1));
        Assert.Equal(20 * 25 + 20 + 50 * 20 * 25 + 50 + 800 * 500 + 500 + 500 * 4 + 4, Count(lenet));
        Assert.Equal("features.0.weight", lenet.NamedParameters().First().Name);
        Assert.Equal([3, 4], lenet.Forward(Tensor.Zeros([3, 1, 28, 28])).Shape.ToArray());
        Assert.Equal([3, 500], lenet.Features(Tensor.Zeros([3, 1, 28, 28])).Shape.ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => new LeNet(size: 30));

        var mlp = new Mlp(784, [512, 256], 10, new(1));
        Assert.Equal(784 * 512 + 512 + 512 * 256 + 256 + 2560 + 10, Count(mlp));
        Assert.Equal([3, 10], mlp.Forward(Tensor.Zeros([3, 1, 28, 28])).Shape.ToArray());
        mlp.ReplaceHead(new Linear(mlp.FeatureCount, 2, generator: new(2)));
        Assert.Equal([3, 2], mlp.Forward(Tensor.Zeros([3, 784])).Shape.ToArray());
        Assert.Equal(["head.weight", "head.bias"], mlp.NamedParameters().TakeLast(2).Select(item => item.Name));
    }
}
