using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Tests.Serialization;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class LoraTests
{
    private const string Pattern = "conv*|fc";

    private static readonly Tensor Images = Waves.Images();

    private static double[] Answers(Module model)
    {
        model.Eval();
        using var noGrad = new NoGrad();
        return model.Forward(Images).ToArray<double>();
    }

    private static void Close(double[] wanted, double[] got, double tolerance = 1e-12) => Assert.All(wanted.Zip(got), pair => Waves.Near(pair.First, pair.Second, tolerance));

    /// <summary>Adapters whose second matrix is no longer zero.</summary>
    private static Lora Trained(Module model, ulong seed = 5)
    {
        var lora = Lora.Apply(model, Pattern, rank: 2, alpha: 3, generator: new Generator(seed));
        using var noGrad = new NoGrad();
        int i = 0;
        foreach (var parameter in lora.Parameters())
            parameter.AddInPlace(Waves.Of(20 + i++, [.. parameter.Shape.Span]), 0.3);
        return lora;
    }

    [Fact]
    public void The_First_Output_Is_Unchanged_And_Removing_Leaves_No_Trace()
    {
        var model = Waves.Network(1);
        string[] names = [.. model.StateDict().Keys];
        double[] before = Answers(model);
        var lora = Lora.Apply(model, Pattern, rank: 2, alpha: 3);
        Assert.Equal(["conv1", "conv2", "fc"], lora.Modules);
        Close(before, Answers(model));
        Assert.Contains("conv2.lora.a", model.StateDict().Keys);
        Assert.Equal(new Shape(4, 2, 3, 3), model.StateDict()["conv2.lora.a"].Shape); // two groups of rank 2
        lora.Remove();
        Assert.Equal(names, model.StateDict().Keys);
        Assert.Equal(before, Answers(model));
    }

    [Fact]
    public void An_Adapter_Adds_The_Scaled_Product()
    {
        var model = new Sequential(new Linear(4, 3, generator: new Generator(1), type: ElementType.Float64));
        var x = Waves.Of(3, 5, 4);
        double[] before = model.Forward(x).ToArray<double>();
        var lora = Lora.Apply(model, "0", rank: 2, alpha: 3);
        var parameters = lora.Parameters().ToArray();
        using (new NoGrad())
            parameters[1].CopyInPlace(Waves.Of(9, 3, 2));
        double[] a = parameters[0].ToArray<double>(), b = parameters[1].ToArray<double>(), at = x.ToArray<double>(), y = model.Forward(x).ToArray<double>();
        for (int row = 0; row < 5; row++)
        {
            for (int o = 0; o < 3; o++)
            {
                double sum = 0;
                for (int r = 0; r < 2; r++)
                {
                    for (int i = 0; i < 4; i++)
                        sum += b[o * 2 + r] * a[r * 4 + i] * at[row * 4 + i];
                }
                Waves.Near(before[row * 3 + o] + sum * 1.5, y[row * 3 + o]);
            }
        }
        Waves.CheckGradient(() => model.Forward(x).Square().Sum(), [.. model.Parameters()]);
    }

    [Fact]
    public void Merged_Weights_Compute_The_Same_And_Unmerge_Bit_For_Bit()
    {
        var model = Waves.Network(1);
        double[] weights = model.GetModule("conv2").Parameters().First().ToArray<double>(), plain = Answers(model);
        var lora = Trained(model);
        double[] adapted = Answers(model);
        Assert.NotEqual(plain, adapted);
        lora.Merge();
        lora.Merge();
        Assert.NotEqual(weights, model.GetModule("conv2").Parameters().First().ToArray<double>());
        Close(adapted, Answers(model));
        lora.Unmerge();
        Assert.Equal(weights, model.GetModule("conv2").Parameters().First().ToArray<double>());
        Assert.Equal(adapted, Answers(model));
        lora.Merge();
        lora.Remove();
        Close(adapted, Answers(model));
        Assert.DoesNotContain(model.StateDict().Keys, name => name.Contains("lora", StringComparison.Ordinal));
    }

    [Fact]
    public void Changed_Weights_Do_Not_Unmerge()
    {
        var model = Waves.Network(1);
        var lora = Trained(model);
        lora.Merge();
        using (new NoGrad())
            model.GetModule("fc").Parameters().First().MultiplyInPlace(2);
        Assert.Contains("'fc'", Assert.Throws<InvalidOperationException>(lora.Unmerge).Message);
        Assert.True(lora.IsMerged);
    }

    [Fact]
    public void Only_Adapters_And_Head_Train_And_Are_Saved()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.Path, "adapter.safetensors");
        var model = Waves.Network(1);
        var lora = Trained(model);
        var optimizer = new Sgd(model.Parameters(), 0.1);
        using (lora.FreezeRest("head").Apply(model, optimizer))
        {
            Assert.Equal(
                ["conv1.lora.a", "conv1.lora.b", "conv2.lora.a", "conv2.lora.b", "fc.lora.a", "fc.lora.b", "head.weight", "head.bias"],
                model.NamedParameters().Where(item => item.Tensor.RequiresGrad).Select(item => item.Name));
            model.Train();
            model.Forward(Images).CrossEntropy(Waves.Classes(6, 3)).Backward();
            optimizer.Step();
        }
        double[] wanted = Answers(model);
        lora.Save(path, "head");

        var other = Waves.Network(1);
        var loaded = Lora.Apply(other, Pattern, rank: 2, alpha: 3);
        loaded.Load(path);
        Assert.Equal(wanted, Answers(other));
        Assert.Equal(8, TransferEngine.Serialization.Safetensors.Load(path).Tensors.Count);

        var third = Waves.Network(3);
        double[] before = Answers(third);
        Assert.Contains("lora.alpha", Assert.Throws<ArgumentException>(() => Lora.Apply(third, Pattern, rank: 2, alpha: 4).Load(path)).Message);
        third = Waves.Network(3);
        Assert.Contains("conv1.lora.a", Assert.Throws<ArgumentException>(() => Lora.Apply(third, "conv2|fc", rank: 2, alpha: 3).Load(path)).Message);
        third = Waves.Network(3);
        Assert.Contains("head.lora.a is missing", Assert.Throws<ArgumentException>(() => Lora.Apply(third, "conv*|fc|head", rank: 2, alpha: 3).Load(path)).Message);
        Close(before, Answers(third));
    }

    [Fact]
    public void A_Residual_Network_Takes_Adapters_Inside_Its_Blocks()
    {
        var model = ResNet.ResNet18(4, new Generator(1));
        var x = Tensor.Uniform([2, 3, 32, 32], -1, 1, new Generator(2));
        model.Eval();
        float[] before = model.Forward(x).ToArray<float>();
        var lora = Lora.Apply(model, "layer4.**.conv?", rank: 2);
        Assert.Equal(4, lora.Modules.Count);
        Assert.Equal(before, model.Forward(x).ToArray<float>());
        using (lora.FreezeRest("fc").Apply(model))
        {
            model.Forward(x).CrossEntropy(Tensor.From([0, 1])).Backward();
            // The first matrix waits for the second, which is zero.
            Assert.All(lora.Parameters().Where((_, i) => i % 2 == 1), b => Assert.Contains(b.Grad!.ToArray<float>(), value => value != 0));
            using (new NoGrad())
            {
                foreach (var parameter in lora.Parameters())
                    parameter.AddInPlace(Tensor.Scalar(0.05f));
            }
            float[] adapted = model.Forward(x).ToArray<float>();
            Assert.NotEqual(before, adapted);
            lora.Merge();
            float[] merged = model.Forward(x).ToArray<float>();
            float scale = adapted.Max(Math.Abs);
            Assert.All(adapted.Zip(merged), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 1e-4f * scale));
        }
    }

    [Fact]
    public void Mistakes_Are_Named_And_Change_Nothing()
    {
        var model = Waves.Network(1);
        int names = model.StateDict().Count;
        Assert.Contains("conv1, conv2, fc, head", Assert.Throws<ArgumentException>(() => Lora.Apply(model, "qkv")).Message);
        Assert.Contains("'norm1' is a BatchNorm2d", Assert.Throws<ArgumentException>(() => Lora.Apply(model, "conv1|norm1")).Message);
        Assert.Equal(names, model.StateDict().Count);
        var lora = Lora.Apply(model, "fc");
        Assert.Contains("already", Assert.Throws<ArgumentException>(() => Lora.Apply(model, "conv1|fc")).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => Lora.Apply(model, "conv1", rank: 0));
        Assert.Equal(names + 2, model.StateDict().Count);
        lora.Remove();
    }
}
