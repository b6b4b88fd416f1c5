using TransferEngine.Modules;
using Xunit;

namespace TransferEngine.Tests.Modules;

public sealed class ModuleTests
{
    private sealed class Scaled : Module
    {
        private readonly Tensor scale, count;
        private readonly Linear inner;

        public Scaled()
        {
            scale = AddParameter("scale", Tensor.From([2f]));
            count = AddBuffer("count", Tensor.From([0]));
            inner = Add("inner", new Linear(Tensor.From([1f, 0, 0, 1], [2, 2]), Tensor.From([1f, -1])));
            Add("again", inner);
        }

        protected override Tensor Compute(Tensor input) => inner.Forward(input) * scale;
    }

    [Fact]
    public void Names_Join_By_Dots_And_Shared_Parts_Appear_Once()
    {
        var model = new Sequential(new Scaled(), new Linear(2, 3, bias: false));
        Assert.Equal(["", "0", "0.inner", "1"], model.NamedModules().Select(item => item.Name));
        Assert.Equal(["0.scale", "0.inner.weight", "0.inner.bias", "1.weight"], model.NamedParameters().Select(item => item.Name));
        Assert.Equal(["0.scale", "0.count", "0.inner.weight", "0.inner.bias", "1.weight"], model.StateDict().Keys);
        Assert.All(model.Parameters(), parameter => Assert.True(parameter.RequiresGrad));
    }

    [Fact]
    public void A_State_Is_Loaded_Whole_Or_Not_At_All()
    {
        Sequential from = new(new Scaled(), new Linear(2, 3, generator: new(1))), to = new(new Scaled(), new Linear(2, 3, generator: new(2)));
        float[] before = to[1].StateDict()["weight"].ToArray<float>();
        var broken = new Dictionary<string, Tensor>(from.StateDict());
        broken.Remove("0.scale");
        broken["1.bias"] = Tensor.Zeros([4]);
        broken["extra"] = Tensor.Zeros([4]);
        string message = Assert.Throws<ArgumentException>(() => to.LoadStateDict(broken)).Message;
        Assert.Contains("0.scale is missing", message);
        Assert.Contains("1.bias is Float32[4], wanted Float32[3]", message);
        Assert.Contains("extra is unknown", message);
        Assert.Equal(before, to[1].StateDict()["weight"].ToArray<float>());
        to.LoadStateDict(from.StateDict());
        Assert.All(from.StateDict(), item => Assert.Equal(item.Value.ToString(), to.StateDict()[item.Key].ToString()));
    }

    [Fact]
    public void Modes_Reach_All_Below()
    {
        var model = new Sequential(new Sequential(new Dropout(1)));
        var x = Tensor.Ones([4]);
        Assert.Equal(0, model.Forward(x).Sum().Item());
        Assert.Equal(4, model.Eval().Forward(x).Sum().Item());
        Assert.Equal(0, model.Train().Forward(x).Sum().Item());
    }

    [Fact]
    public void Hooks_See_And_Replace_Outputs()
    {
        var model = new Scaled();
        Tensor? seen = null;
        using (model.RegisterForwardHook((_, _, output) =>
        {
            seen = output;
            return output * 0;
        }))
            Assert.Equal(0, model.Forward(Tensor.Ones([1, 2])).Sum().Item());
        Assert.Equal([4f, 0], seen!.ToArray<float>());
        Assert.Equal(4, model.Forward(Tensor.Ones([1, 2])).Sum().Item());
    }

    [Fact]
    public void Names_Are_Checked()
    {
        Assert.Throws<ArgumentException>(() => new Sequential(("a.b", new Flatten())));
        Assert.Throws<ArgumentException>(() => new Sequential(("a", new Flatten()), ("a", new Flatten())));
    }
}
