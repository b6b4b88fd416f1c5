namespace TransferEngine.Engine.Tests;

public class RandomTests
{
    [Fact]
    public void The_same_seed_gives_the_same_tensors_and_the_state_resumes()
    {
        Generator first = new(5), second = new(5);
        Assert.Equal(Tensor.Uniform([40], generator: first).ToArray<float>(), Tensor.Uniform([40], generator: second).ToArray<float>());
        var state = first.State;
        float[] next = Tensor.Uniform([3], generator: first).ToArray<float>();
        int[] order = first.Permutation(50);
        Assert.NotEqual(next, Tensor.Uniform([3], generator: first).ToArray<float>());
        var resumed = new Generator { State = state };
        Assert.Equal(next, Tensor.Uniform([3], generator: resumed).ToArray<float>());
        Assert.Equal(order, resumed.Permutation(50));
        Assert.NotEqual(new Generator(6).NextDouble(), new Generator(7).NextDouble());
        Assert.NotEqual(first.Fork().State.Seed, first.Fork().State.Seed);
    }

    [Theory, InlineData(ElementType.Float32), InlineData(ElementType.Float64)]
    public void Dropout_sends_the_gradient_through_the_mask_of_the_forward(ElementType type)
    {
        var x = Tensor.Ones([500], type: type);
        x.RequiresGrad = true;
        var y = x.Dropout(0.25, generator: new(9));
        var first = Tensor.Gradients(y.Sum(), [x], createGraph: true)[0];
        double[] kept = Doubles(y);
        Assert.Equal(kept, Doubles(first));
        Assert.All(kept, v => Assert.True(v == 0 || Math.Abs(v - 4.0 / 3) < 1e-6));
        Assert.InRange(kept.Count(v => v == 0), 85, 165);
    }

    [Fact]
    public void Bad_arguments_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.Ones([2]).Dropout(1.5));
        Assert.Throws<ElementTypeException>(() => Tensor.Uniform([2], type: ElementType.Int32));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.RandomIntegers([2], 3, 3));
    }

    private static double[] Doubles(Tensor x) => x.ElementType == ElementType.Float64 ? x.ToArray<double>() : Array.ConvertAll(x.ToArray<float>(), v => (double)v);
}
