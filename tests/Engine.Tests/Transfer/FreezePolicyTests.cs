using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class FreezePolicyTests
{
    private readonly Device device = Device.Open(DeviceKind.Cpu);
    private readonly Sequential model;

    public FreezePolicyTests()
    {
        var seed = new Generator(3);
        model = new Sequential(
            ("features", new Sequential(
                ("conv1", new Conv2d(1, 4, 3, padding: 1, generator: seed, device: device)), ("norm1", new BatchNorm2d(4, device: device)), ("act1", new Function(x => x.Relu())),
                ("conv2", new Conv2d(4, 8, 3, generator: seed, device: device)), ("norm2", new BatchNorm2d(8, device: device)), ("drop", new Dropout(0.5, seed)))),
            ("flat", new Flatten()),
            ("head", new Linear(8 * 6 * 6, 3, generator: seed, device: device)));
    }

    private Tensor Images(int n = 4) => Tensor.Uniform([n, 1, 8, 8], -1, 1, new Generator(9), device);

    private static Tensor Loss(Tensor output) => (output * output).Sum();

    private Dictionary<string, float[]> Values() => model.StateDict().ToDictionary(item => item.Key, item => item.Value.To(ElementType.Float32).ToArray<float>());

    [Fact]
    public void Frozen_Modules_Compute_A_Fixed_Function_Whatever_The_Mode()
    {
        var optimizer = new Sgd(model.Parameters(), 0.01, 0.9);
        FreezePolicy.Named("features").Apply(model, optimizer);
        model.Train();
        Assert.True(model.IsTraining);
        Assert.All(model.NamedModules().Where(item => item.Name.StartsWith("features", StringComparison.Ordinal)), item => Assert.False(item.Module.IsTraining));
        var before = Values();
        for (int i = 0; i < 3; i++)
        {
            Loss(model.Forward(Images())).Backward();
            optimizer.Step();
            optimizer.ZeroGrad();
        }
        var after = Values();
        Assert.All(before, item => Assert.True(item.Key.StartsWith("head", StringComparison.Ordinal) != item.Value.SequenceEqual(after[item.Key]), item.Key));
        Assert.Equal(2, optimizer.Groups[0].Parameters.Count);
    }

    [Fact]
    public void Undoing_Restores_Everything()
    {
        var optimizer = new Adam(model.Parameters());
        Loss(model.Forward(Images())).Backward();
        optimizer.Step();
        optimizer.ZeroGrad();
        var state = optimizer.StateDict().ToDictionary(item => item.Key, item => item.Value.ToString());
        bool hooked = false;
        model.NamedParameters().First().Tensor.RegisterHook(gradient =>
        {
            hooked = true;
            return null;
        });
        var handle = FreezePolicy.First(1).Apply(model, optimizer);
        Assert.Equal(8, handle.Parameters.Count);
        Assert.DoesNotContain("state.2.step", optimizer.StateDict().Keys);
        model.Eval();
        model.Train();
        handle.Undo();
        handle.Undo();
        Assert.All(model.NamedModules(), item => Assert.True(item.Module.IsTraining));
        Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad));
        Assert.Equal(state, optimizer.StateDict().ToDictionary(item => item.Key, item => item.Value.ToString()));
        Loss(model.Forward(Images())).Backward();
        Assert.True(hooked);
        Assert.All(model.Parameters(), parameter => Assert.NotNull(parameter.Grad));
    }

    /// <summary>A network that was frozen, ran folded in both modes and was unfrozen, and its twin that never was: the same bits in a step and after it.</summary>
    [Theory]
    [InlineData("resnet20")]
    [InlineData("squeezenet1_1")]
    [InlineData("mobilenet_v2")]
    public void Unfreezing_Restores_Exactly_The_Unfrozen_Numbers(string name)
    {
        Classifier was = Backbone.Create(name, 3, new Generator(5), device), twin = Backbone.Create(name, 3, new Generator(5), device);
        var images = Tensor.Normal([4, 3, 64, 64], generator: new Generator(6), device: device);
        Sgd optimizer = new(was.Parameters(), 0.01, 0.9), other = new(twin.Parameters(), 0.01, 0.9);
        foreach (var policy in (FreezePolicy[])[FreezePolicy.All(), FreezePolicy.First(1) with { Dropout = FrozenDropout.On }])
        {
            using (policy.Apply(was, optimizer))
            {
                was.Eval();
                using var silent = new NoGrad();
                was.Forward(images);
            }
        }
        using (FreezePolicy.All().Apply(was, optimizer))
        {
            was.Train();
            was.Forward(images);
        }
        twin.Train();
        for (int step = 0; step < 2; step++)
        {
            Tensor output = was.Forward(images), wanted = twin.Forward(images);
            Assert.Equal(wanted.ToArray<float>(), output.ToArray<float>());
            Loss(output).Backward();
            Loss(wanted).Backward();
            foreach (var (ours, theirs) in was.Parameters().Zip(twin.Parameters()))
                Assert.Equal(theirs.Grad!.ToArray<float>(), ours.Grad!.ToArray<float>());
            optimizer.Step();
            optimizer.ZeroGrad();
            other.Step();
            other.ZeroGrad();
        }
        was.Eval();
        twin.Eval();
        Assert.Equal(twin.Forward(images).ToArray<float>(), was.Forward(images).ToArray<float>());
        foreach (var (key, value) in twin.StateDict())
            Assert.Equal(value.To(ElementType.Float64).ToArray<double>(), was.StateDict()[key].To(ElementType.Float64).ToArray<double>());
    }

    [Fact]
    public void Nothing_Is_Recorded_Saved_Or_Run_Backwards_Below_The_Cut()
    {
        FreezePolicy.Named("features").Apply(model);
        using var scope = new TensorScope();
        var images = Images();
        long live = device.LiveBytes;
        Tensor features;
        using (var inner = new TensorScope())
            features = inner.Keep(model.Children[0].Module.Forward(images));
        // Only the features themselves are left: no saved input of a convolution or normalisation.
        Assert.InRange(device.LiveBytes - live, features.Elements * 4, features.Elements * 4 + 4096);
        Assert.Null(features.Edge);

        long withPrefix = BackwardLaunches(() => Loss(model.Forward(images)));
        long headAlone = BackwardLaunches(() => Loss(model.Children[2].Module.Forward(features.Flatten(1))));
        Assert.Equal(headAlone, withPrefix);

        long BackwardLaunches(Func<Tensor> forward)
        {
            var loss = forward();
            long before = device.Launches;
            loss.Backward();
            long launches = device.Launches - before;
            model.ZeroGrad();
            return launches;
        }
    }

    [Fact]
    public void Options_Say_What_Goes_On()
    {
        var handle = (FreezePolicy.All() with
        {
            Weights = FrozenWeights.AllButNormalization,
            Normalization = FrozenNormalization.UpdateStatistics,
            Dropout = FrozenDropout.On,
            Except = ["head"],
        }).Apply(model);
        Assert.Equal(["features.conv1.weight", "features.conv1.bias", "features.conv2.weight", "features.conv2.bias"],
            model.NamedParameters().Where(item => !item.Tensor.RequiresGrad).Select(item => item.Name));
        Assert.Equal(["", "features", "features.conv1", "features.act1", "features.conv2", "flat"], model.NamedModules().Where(item => !item.Module.IsTraining).Select(item => item.Name));
        handle.Undo();
        using ((FreezePolicy.All() with { Weights = FrozenWeights.None }).Apply(model))
            Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad));
        using ((FreezePolicy.All() with { Weights = FrozenWeights.AllButBiases }).Apply(model))
            Assert.All(model.NamedParameters(), item => Assert.Equal(item.Name.EndsWith("bias", StringComparison.Ordinal), item.Tensor.RequiresGrad));
    }

    [Theory]
    [InlineData("features.conv?", "features.conv1,features.conv2")]
    [InlineData("*.norm*", "features.norm1,features.norm2")]
    [InlineData("**2", "features.conv2,features.norm2")]
    [InlineData("head", "head")]
    public void Patterns_Choose_By_Name(string pattern, string wanted)
    {
        using var handle = FreezePolicy.Named(pattern).Apply(model);
        Assert.Equal(wanted.Split(','), handle.Modules);
    }

    [Fact]
    public void Depth_And_Modules_Choose()
    {
        using (var handle = FreezePolicy.First(-1).Apply(model))
            Assert.Equal(8, handle.Parameters.Count);
        using (var handle = FreezePolicy.Modules(model.Children[2].Module).Apply(model))
            Assert.Equal(["head"], handle.Modules);
        Assert.Contains("features.conv1", Assert.Throws<ArgumentException>(() => FreezePolicy.Named("layer*").Apply(model)).Message);
        Assert.Throws<ArgumentException>(() => FreezePolicy.First(0).Apply(model));
    }
}
