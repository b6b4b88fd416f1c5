using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class LayerGroupsTests
{
    private sealed class Tokens : Module
    {
        public Tokens()
        {
            AddParameter("position", Tensor.Zeros([4]));
            Add("embed", new Linear(4, 4));
            Add("blocks", new Sequential(new Linear(4, 4), new Linear(4, 4)));
            Add("norm", new LayerNorm([4]));
            Add("head", new Linear(4, 2));
        }

        protected override Tensor Compute(Tensor input) => input;
    }

    [Fact]
    public void Stages_Are_Found_In_Any_Model()
    {
        Assert.Equal(["conv1", "layer1", "layer2", "layer3", "layer4", "fc"], LayerGroups.Of(ResNet.ResNet18(3)).Select(group => group.Name));
        Assert.Equal(["conv1", "bn1"], LayerGroups.Of(ResNet.ResNet18(3))[0].Modules);
        Assert.Equal(["features.0", "features.3", "features.8", "head"], LayerGroups.Of(new LeNet()).Select(group => group.Name));
        var tokens = LayerGroups.Of(new Tokens());
        Assert.Equal(["embed", "blocks.0", "blocks.1,norm", "head"], tokens.Select(group => string.Join(",", group.Modules)));
        Assert.Equal(3, tokens[0].Parameters.Count);
    }

    [Fact]
    public void Every_Parameter_Is_In_One_Stage()
    {
        foreach (Module model in new Module[] { ResNet.ResNet18(3), new LeNet(), new Tokens(), Waves.Network(1) })
        {
            var parameters = LayerGroups.Of(model).SelectMany(group => group.Parameters).ToArray();
            Assert.Equal(model.Parameters().ToHashSet(ReferenceEqualityComparer.Instance).Count, parameters.Length);
            Assert.Equal(parameters.Length, parameters.ToHashSet(ReferenceEqualityComparer.Instance).Count);
        }
        Assert.Throws<ArgumentException>(() => LayerGroups.Of(new Identity()));
    }

    [Fact]
    public void Stages_Can_Be_Named()
    {
        var model = Waves.Network(1);
        var groups = LayerGroups.Of(model, "conv1|norm1", "conv2|fc", "head");
        Assert.Equal([4, 4, 2], groups.Select(group => group.Parameters.Count));
        Assert.Contains("head.weight", Assert.Throws<ArgumentException>(() => LayerGroups.Of(model, "conv*|norm1", "fc")).Message);
        Assert.Contains("fits no module", Assert.Throws<ArgumentException>(() => LayerGroups.Of(model, "layer1", "**")).Message);
    }

    [Fact]
    public void Rates_Fall_With_Depth()
    {
        var groups = LayerGroups.Of(Waves.Network(1)); // conv1 with norm1, conv2, fc, head
        Assert.Equal([1 / (2.6 * 2.6 * 2.6), 1 / (2.6 * 2.6), 1 / 2.6, 1], groups.Discriminative(1), (a, b) => Math.Abs(a - b) < 1e-15);
        Assert.Equal([1e-5, 1e-4, 1e-3, 1e-2], groups.Between(1e-5, 1e-2), (a, b) => Math.Abs(a - b) < 1e-15);
        var optimizer = new Sgd(groups.ParameterGroups(groups.Discriminative(0.1)));
        Assert.Equal(groups.Discriminative(0.1), optimizer.Groups.Select(group => group.LearningRate));
        Assert.Throws<ArgumentException>(() => groups.ParameterGroups([1]));
    }

    [Fact]
    public void The_First_Stages_Freeze()
    {
        var model = Waves.Network(1);
        using (LayerGroups.Of(model).FreezeFirst(2).Apply(model))
            Assert.Equal(["fc.weight", "fc.bias", "head.weight", "head.bias"], Trainable(model));
        var tokens = new Tokens();
        using (LayerGroups.Of(tokens).FreezeFirst(-1).Apply(tokens))
            Assert.Equal(["head.weight", "head.bias"], Trainable(tokens));
        Assert.Throws<ArgumentOutOfRangeException>(() => LayerGroups.Of(model).FreezeFirst(5));
    }

    [Fact]
    public void Partial_Tuning_Trains_Its_Part_And_The_Head()
    {
        var model = Waves.Network(1);
        using (PartialTuning.BitFit("head").Apply(model))
        {
            Assert.Equal(["conv1.bias", "norm1.bias", "conv2.bias", "fc.bias", "head.weight", "head.bias"], Trainable(model));
            Assert.True(model.GetModule("norm1").IsTraining);
        }
        using (PartialTuning.NormalizationOnly("head").Apply(model))
        {
            Assert.Equal(["norm1.weight", "norm1.bias", "head.weight", "head.bias"], Trainable(model));
            Assert.True(model.GetModule("norm1").IsTraining);
        }
    }

    private static IEnumerable<string> Trainable(Module model) => model.NamedParameters().Where(item => item.Tensor.RequiresGrad).Select(item => item.Name);
}
