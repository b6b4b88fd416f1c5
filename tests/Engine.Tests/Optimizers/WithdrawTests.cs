using Xunit;

namespace TransferEngine.Tests.Optimizers;

public sealed class WithdrawTests
{
    private static Tensor Parameter(float value)
    {
        var p = Tensor.From([value, value]);
        p.RequiresGrad = true;
        return p;
    }

    private static void Step(Optimizer optimizer, params Tensor[] parameters)
    {
        foreach (var p in parameters)
            p.Grad = Tensor.Ones([2]);
        optimizer.Step();
    }

    [Fact]
    public void What_Was_Taken_Out_Returns_To_Its_Place_With_Its_State()
    {
        Tensor a = Parameter(1), b = Parameter(2), c = Parameter(3), d = Parameter(4);
        var optimizer = new Sgd([new ParameterGroup([a, b]), new ParameterGroup([c])], 0.1, momentum: 0.9);
        Step(optimizer, a, b, c);
        float[] velocity = optimizer.StateDict()["state.0.momentum_buffer"].ToArray<float>();
        var putBack = optimizer.Withdraw(new HashSet<Tensor>([a, c], ReferenceEqualityComparer.Instance));
        Assert.Same(b, Assert.Single(optimizer.Groups[0].Parameters));
        Assert.Empty(optimizer.Groups[1].Parameters);
        optimizer.AddGroup(new ParameterGroup([d]));
        float before = a.ToArray<float>()[0];
        Step(optimizer, a, b, c, d);
        Assert.Equal(before, a.ToArray<float>()[0]);
        putBack();
        Assert.Equal([a, b], optimizer.Groups[0].Parameters);
        Assert.Equal([c], optimizer.Groups[1].Parameters);
        Assert.Equal(velocity, optimizer.StateDict()["state.0.momentum_buffer"].ToArray<float>());
    }
}
