namespace TransferEngine.Tests.Autograd;

/// <summary>What is recorded, what is refused, hooks, and functions of the user's own.</summary>
public class AutogradTests
{
    private static Tensor Leaf(params double[] values)
    {
        var x = Tensor.From(values);
        x.RequiresGrad = true;
        return x;
    }

    [Fact]
    public void Gradients_accumulate_over_uses_and_passes()
    {
        var x = Leaf(2, 3);
        (x * x + x).Sum().Backward();
        Assert.Equal([5.0, 7], x.Grad!.ToArray<double>());
        (x * 2).Sum().Backward();
        Assert.Equal([7.0, 9], x.Grad.ToArray<double>());
    }

    [Fact]
    public void Gradients_of_gradients()
    {
        var x = Leaf(2);
        var first = Tensor.Gradients(x.Pow(4).Sum(), [x], createGraph: true)[0];
        var second = Tensor.Gradients(first.Sum(), [x], createGraph: true)[0];
        var third = Tensor.Gradients(second.Sum(), [x])[0];
        Assert.Equal((32.0, 48.0, 48.0), (Rounded(first), Rounded(second), Rounded(third)));
        Assert.Null(x.Grad);

        static double Rounded(Tensor value) => Math.Round(value.Item(), 9);
    }

    [Fact]
    public void NoGrad_records_and_saves_nothing()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var w = Tensor.Ones([100, 100], device);
        w.RequiresGrad = true;
        long live = device.LiveBytes;
        using (new NoGrad())
        using (new TensorScope())
        {
            var y = w.Exp().MatMul(w);
            Assert.False(y.RequiresGrad);
            Assert.Throws<AutogradException>(() => y.Sum().Backward());
            using (new EnableGrad())
                Assert.True(w.Relu().RequiresGrad);
            Assert.False(w.Relu().RequiresGrad);
        }
        Assert.True(device.LiveBytes <= live + (100 * 100 * 5), "something was saved under NoGrad"); // EnableGrad's Relu saves its output
        Assert.True((w * 2).RequiresGrad);
    }

    [Fact]
    public void What_needs_no_gradient_is_neither_recorded_nor_saved()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        var x = Tensor.Ones([1000], device);
        var hidden = x.Exp();
        long live = device.LiveBytes;
        var y = hidden.Exp();
        hidden.Dispose();
        Assert.False(y.RequiresGrad);
        Assert.True(device.LiveBytes <= live, "an operator without gradient held its input");
        Assert.False((x.Detach() * 2).RequiresGrad);
    }

    [Fact]
    public void Detach_cuts_the_graph()
    {
        var x = Leaf(3);
        (x * x.Detach()).Sum().Backward();
        Assert.Equal(3, x.Grad!.Item());
    }

    [Fact]
    public void A_saved_tensor_changed_in_place_is_an_error_that_names_the_operator()
    {
        var x = Leaf(1, 2);
        var scale = Tensor.From([3.0, 4]);
        var y = (x * scale).Sum();
        scale.AddInPlace(scale);
        var e = Assert.Throws<AutogradException>(() => y.Backward());
        Assert.Contains("Multiply", e.Message, StringComparison.Ordinal);
        Assert.Contains("[2]", e.Message, StringComparison.Ordinal);
        Assert.Contains("Clone", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_change_through_a_view_counts()
    {
        var x = Leaf(1, 2);
        var output = x.Exp();
        output.Detach().Reshape(2, 1).FillInPlace(0);
        Assert.Contains("Exp", Assert.Throws<AutogradException>(() => output.Sum().Backward()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_backward_pass_wants_the_graph_retained()
    {
        var x = Leaf(2);
        var y = x.Square().Sum();
        y.Backward(retainGraph: true);
        y.Backward();
        Assert.Equal(8, x.Grad!.Item());
        Assert.Contains("retainGraph", Assert.Throws<AutogradException>(() => y.Backward()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_seeds_and_wrong_leaves_are_refused()
    {
        var x = Leaf(1, 2);
        Assert.Throws<ShapeException>(() => (x * 2).Backward());
        Assert.Throws<ShapeException>(() => (x * 2).Backward(Tensor.From([1.0])));
        Assert.Throws<AutogradException>(() => Tensor.From([1.0]).Backward());
        Assert.Throws<AutogradException>(() => Tensor.Gradients((x * 2).Sum(), [Tensor.From([1.0])]));
        Assert.Throws<AutogradException>(() => (x * 2).RequiresGrad = false);
        Assert.Throws<ElementTypeException>(() => Tensor.From([1]).RequiresGrad = true);
    }

    [Fact]
    public void Hooks_see_and_replace_gradients_until_removed()
    {
        var x = Leaf(1, 2);
        var hidden = x * 3;
        double[]? seen = null;
        hidden.RegisterHook(g => { seen = g.ToArray<double>(); return null; });
        var doubled = hidden.RegisterHook(g => g * 2);
        hidden.Sum().Backward(retainGraph: true);
        Assert.Equal([1.0, 1], seen!);
        Assert.Equal([6.0, 6], x.Grad!.ToArray<double>());
        doubled.Dispose();
        x.Grad = null;
        using var onLeaf = x.RegisterHook(g => -g);
        hidden.Sum().Backward();
        Assert.Equal([-3.0, -3], x.Grad!.ToArray<double>());
        Assert.Throws<AutogradException>(() => Tensor.From([1.0]).RegisterHook(g => g));
    }

    [Fact]
    public void A_custom_functions_gradients_are_its_own()
    {
        double[] values = [0.3, -1.2, 2.5];
        var x = Leaf(values);
        var y = new Cubed().Apply(x, Tensor.From([2.0, 3, 4]));
        Assert.Equal(values.Zip([2.0, 3, 4], (v, w) => v * v * v * w), y.ToArray<double>().Select(v => v), (a, b) => Math.Abs(a - b) < 1e-12);
        var first = Tensor.Gradients(y.Sum(), [x], createGraph: true)[0];
        var second = Tensor.Gradients(first.Sum(), [x])[0];
        for (int i = 0; i < values.Length; i++)
        {
            const double H = 1e-5;
            double[] up = [.. values], down = [.. values];
            (up[i], down[i]) = (up[i] + H, down[i] - H);
            Assert.Equal((Value(up) - Value(down)) / (2 * H), first.ToArray<double>()[i], 1e-7);
            Assert.Equal((Value(up) - 2 * Value(values) + Value(down)) / (H * H), second.ToArray<double>()[i], 1e-3);
        }

        static double Value(double[] at) => new Cubed().Apply(Tensor.From(at), Tensor.From([2.0, 3, 4])).Sum().Item();
    }

    [Fact]
    public void A_custom_function_is_not_recorded_without_need_and_its_mistakes_are_named()
    {
        Assert.False(new Cubed().Apply(Tensor.From([1.0]), Tensor.From([1.0])).RequiresGrad);
        var x = Leaf(1, 2);
        var wrong = new WrongShape().Apply(x);
        var e = Assert.Throws<AutogradException>(() => wrong.Sum().Backward());
        Assert.Contains("WrongShape", e.Message, StringComparison.Ordinal);
        Assert.Contains("[2]", e.Message, StringComparison.Ordinal);
    }

    /// <summary>x³ w.</summary>
    private sealed class Cubed : CustomFunction
    {
        protected override Tensor Forward(IReadOnlyList<Tensor> inputs)
        {
            Save(inputs[0], inputs[1]);
            return inputs[0] * inputs[0] * inputs[0] * inputs[1];
        }

        protected override Tensor?[] Backward(Tensor gradient, IReadOnlyList<Tensor> saved) => [gradient * saved[0].Square() * saved[1] * 3, null];
    }

    private sealed class WrongShape : CustomFunction
    {
        protected override Tensor Forward(IReadOnlyList<Tensor> inputs) => inputs[0] * 2;

        protected override Tensor?[] Backward(Tensor gradient, IReadOnlyList<Tensor> saved) => [gradient.Sum()];
    }
}
