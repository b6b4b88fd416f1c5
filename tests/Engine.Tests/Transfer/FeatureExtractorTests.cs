using TransferEngine.Modules;
using TransferEngine.Transfer;
using Xunit;

namespace TransferEngine.Tests.Transfer;

public sealed class FeatureExtractorTests
{
    /// <summary>Not sequential: a sum of two branches, and a part that is never run.</summary>
    private sealed class Branches : Module
    {
        private readonly Linear left, right, after;

        public Branches()
        {
            left = Add("left", new Linear(2, 2, generator: new(1)));
            right = Add("right", new Linear(2, 2, generator: new(2)));
            after = Add("after", new Linear(2, 1, generator: new(3)));
            Add("unused", new Linear(2, 1));
        }

        public int Finished { get; private set; }

        protected override Tensor Compute(Tensor input)
        {
            var sum = left.Forward(input) + right.Forward(input);
            Finished++;
            return after.Forward(sum);
        }
    }

    [Fact]
    public void Takes_What_A_Module_Puts_Out_And_Runs_Nothing_After_It()
    {
        var model = new Branches();
        var x = Tensor.From([1f, 2, 3, 4], [2, 2]);
        var both = new FeatureExtractor(model, "right", "left").ExtractAll(x);
        Assert.Equal(0, model.Finished);
        Assert.Equal(model.Children[1].Module.Forward(x).ToArray<float>(), both[0].ToArray<float>());
        Assert.Equal(model.Children[0].Module.Forward(x).ToArray<float>(), both[1].ToArray<float>());
        Assert.True(both[0].RequiresGrad);
        model.Forward(x); // no hook is left
        Assert.Equal(1, model.Finished);
    }

    [Fact]
    public void Mistakes_Are_Named()
    {
        var model = new Branches();
        Assert.Contains("left, right, after", Assert.Throws<ArgumentException>(() => new FeatureExtractor(model, "layer3")).Message);
        Assert.Throws<ArgumentException>(() => new FeatureExtractor(model));
        Assert.Contains("'unused'", Assert.Throws<InvalidOperationException>(() => new FeatureExtractor(model, "unused").Extract(Tensor.Ones([1, 2]))).Message);
    }
}
