using TransferEngine.Models;
using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Modules;

/// <summary>Evaluation without recording runs convolutions, normalisations and rectifiers as one; recording runs each for itself.</summary>
public sealed class FusedConvolutionTests
{
    [Theory, InlineData("squeezenet1_1", 64), InlineData("mobilenet_v1", 32), InlineData("mobilenet_v2", 32), InlineData("resnet18", 32), InlineData("resnet50", 32), InlineData("resnet20", 32), InlineData("dtn", 32)]
    public void Gives_what_the_layers_give(string name, int size)
    {
        foreach (var (type, tolerance) in new[] { (ElementType.Float32, 2e-5), (ElementType.Float64, 1e-12) })
        {
            using var scope = new TensorScope();
            var model = Made(name, type);
            var x = Tensor.Normal([2, 3, size, size], generator: new(2), type: type);
            var plain = Doubles(model.Forward(x));
            Close(plain, Silent(model, x), tolerance);
            Assert.Equal(plain, Doubles(model.Forward(x)));
        }
    }

    [Fact]
    public void Residual_networks_are_folded_wholly()
    {
        using var scope = new TensorScope();
        var model = Made("resnet18", ElementType.Float32);
        Silent(model, Tensor.Normal([1, 3, 32, 32], generator: new(2)));
        Assert.All(model.NamedModules(), item => Assert.True(item.Module is not Conv2d convolution || !convolution.Folded.IsEmpty, item.Name));
    }

    [Fact]
    public void Follows_every_change_of_what_was_folded()
    {
        using var scope = new TensorScope();
        var model = Made("resnet20", ElementType.Float64);
        var x = Tensor.Normal([4, 3, 32, 32], generator: new(2), type: ElementType.Float64);
        Check();
        // A training step: weights, scales and shifts by the optimiser, running statistics by the pass.
        model.Train();
        var optimizer = new Sgd(model.Parameters(), 0.05);
        model.Forward(x).Square().Mean().Backward();
        optimizer.Step();
        Assert.All(model.NamedModules(), item => Assert.True(item.Module is not Conv2d convolution || convolution.Folded.IsEmpty, item.Name));
        model.Eval();
        Check();
        foreach (string part in new[] { "running_mean", "running_var", "weight", "bias" })
        {
            var tensor = model.StateDict()["layer2.1.bn1." + part];
            model.LoadStateDict(new Dictionary<string, Tensor> { ["layer2.1.bn1." + part] = tensor * 1.5 }, strict: false);
            Check();
        }
        model.LoadStateDict(new Dictionary<string, Tensor> { ["layer1.0.conv1.weight"] = model.StateDict()["layer1.0.conv1.weight"] * 1.5 }, strict: false);
        Check();
        model.To(ElementType.Float32);
        x = x.To(ElementType.Float32);
        Close(Doubles(model.Forward(x)), Silent(model, x), 2e-5);

        void Check() => Close(Doubles(model.Forward(x)), Silent(model, x), 1e-12);
    }

    [Fact]
    public void Hooks_see_every_layer()
    {
        using var scope = new TensorScope();
        var model = new Sequential(new Conv2d(3, 8, 3, generator: new(1)), new BatchNorm2d(8), Activation.Relu(), new Conv2d(8, 4, 3, generator: new(1)), Activation.Relu6());
        model.Eval();
        var x = Tensor.Normal([2, 3, 8, 8], generator: new(2));
        var plain = Doubles(model.Forward(x));
        foreach (var layer in model)
        {
            int calls = 0;
            using (layer.RegisterForwardHook((_, _, output) => { calls++; return null; }))
                Close(plain, Silent(model, x), 1e-5);
            Assert.Equal(1, calls);
        }
    }

    [Fact]
    public void A_gradient_that_is_wanted_further_down_keeps_the_layers_apart()
    {
        using var scope = new TensorScope();
        var model = new Sequential(new Conv2d(3, 8, 3, generator: new(1)), new BatchNorm2d(8), Activation.Relu());
        model.Eval().RequiresGrad(false);
        var x = Tensor.Normal([2, 3, 8, 8], generator: new(2));
        x.RequiresGrad = true;
        model.Forward(x).Sum().Backward();
        Assert.NotNull(x.Grad);
        Assert.True(((Conv2d)model[0]).Folded.IsEmpty);
        x.RequiresGrad = false;
        Assert.False(model.Forward(x).RequiresGrad);
        Assert.False(((Conv2d)model[0]).Folded.IsEmpty);
    }

    /// <summary>A network that evaluates, with normalisations that do something.</summary>
    private static Classifier Made(string name, ElementType type)
    {
        var model = Backbone.Create(name, 5, new Generator(1), type: type);
        var generator = new Generator(3);
        model.LoadStateDict(model.NamedModules().Where(item => item.Module is BatchNorm).SelectMany(item => item.Module.OwnParameters.Concat(item.Module.OwnBuffers)
            .Where(own => own.Tensor.ElementType == type).Select(own => (Name: item.Name + "." + own.Name, own.Tensor)))
            .ToDictionary(own => own.Name, own => Tensor.Uniform(own.Tensor.Shape, 0.5, 1.5, generator, type: type)), strict: false);
        model.Eval();
        return model;
    }

    private static double[] Silent(Module model, Tensor x)
    {
        using var recording = new NoGrad();
        return Doubles(model.Forward(x));
    }

    private static double[] Doubles(Tensor x) => x.ElementType == ElementType.Float64 ? x.ToArray<double>() : Array.ConvertAll(x.ToArray<float>(), v => (double)v);

    private static void Close(double[] want, double[] got, double tolerance)
    {
        double largest = want.Max(Math.Abs);
        Assert.True(largest > 1e-6);
        Assert.Equal(want.Length, got.Length);
        double worst = want.Zip(got).Max(pair => Math.Abs(pair.First - pair.Second));
        Assert.True(worst <= tolerance * largest, $"{worst / largest:E1} of the largest");
    }
}
