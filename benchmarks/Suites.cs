using BenchmarkDotNet.Attributes;
using TransferEngine.Models;

namespace TransferEngine.Benchmarks;

/// <summary>Products of square and skinny matrices.</summary>
public class MatMulSuite
{
    private Tensor a = null!, b = null!;

    /// <summary>Rows, columns and inner size.</summary>
    [Params("64x64x64", "1024x1024x1024", "1x1000x512", "1000x33x517")]
    public string Shape { get; set; } = "";

    /// <summary>Makes the operands.</summary>
    [GlobalSetup]
    public void Setup()
    {
        int[] sizes = [.. Shape.Split('x').Select(int.Parse)];
        (a, b) = (Tensor.Normal([sizes[0], sizes[2]]), Tensor.Normal([sizes[2], sizes[1]]));
    }

    /// <summary>One product.</summary>
    [Benchmark]
    public void Product() => a.MatMul(b).Dispose();
}

/// <summary>Convolutions of ResNet's kind, forward.</summary>
public class ConvolutionSuite
{
    private Tensor x = null!, weight = null!;

    /// <summary>Channels in and out; the image is smaller the more there are.</summary>
    [Params(64, 128, 256, 512)]
    public int Channels { get; set; }

    /// <summary>Makes the operands.</summary>
    [GlobalSetup]
    public void Setup() => (x, weight) = (Tensor.Normal([8, Channels, 3584 / Channels, 3584 / Channels]), Tensor.Normal([Channels, Channels, 3, 3]));

    /// <summary>One convolution.</summary>
    [Benchmark]
    public void Forward() => x.Conv2d(weight, padding: 1).Dispose();
}

/// <summary>Attention of ViT-Base's size, and of a long sequence, with its gradient: fused, and composed of the operators that it stands for.</summary>
public class AttentionSuite
{
    private Tensor query = null!, key = null!, value = null!, gradient = null!;

    /// <summary>Batch, heads, tokens and the width of a head.</summary>
    [Params("8x12x197x64", "1x2x4096x64")]
    public string Shape { get; set; } = "";

    /// <summary>Makes the operands: views of one tensor, as MultiheadAttention has them.</summary>
    [GlobalSetup]
    public void Setup()
    {
        int[] sizes = [.. Shape.Split('x').Select(int.Parse)];
        var parts = Tensor.Normal([sizes[0], sizes[2], 3, sizes[1], sizes[3]]).Permute(2, 0, 3, 1, 4);
        (query, key, value) = (parts.Select(0, 0), parts.Select(0, 1), parts.Select(0, 2));
        gradient = Tensor.Normal(query.Shape);
        query.RequiresGrad = key.RequiresGrad = value.RequiresGrad = true;
    }

    /// <summary>One pass forward and backward, block by block.</summary>
    [Benchmark]
    public void Fused() => Run(static (q, k, v) => q.ScaledDotProductAttention(k, v));

    /// <summary>The same through a matrix of all scores.</summary>
    [Benchmark(Baseline = true)]
    public void Composed() => Run(static (q, k, v) => (q * (1 / Math.Sqrt(q.Shape[-1]))).MatMul(k.Transpose()).Softmax().MatMul(v));

    private void Run(Func<Tensor, Tensor, Tensor, Tensor> attention)
    {
        using var scope = new TensorScope();
        attention(query, key, value).Backward(gradient);
        query.Grad = key.Grad = value.Grad = null;
    }
}

/// <summary>Element-wise operators, small and large.</summary>
public class ElementwiseSuite
{
    private Tensor x = null!, y = null!;

    /// <summary>The number of elements.</summary>
    [Params(1_000, 1_000_000)]
    public int Size { get; set; }

    /// <summary>Makes the operands.</summary>
    [GlobalSetup]
    public void Setup() => (x, y) = (Tensor.Normal([Size]), Tensor.Normal([Size]));

    /// <summary>A sum.</summary>
    [Benchmark]
    public void Add() => (x + y).Dispose();

    /// <summary>An exponential.</summary>
    [Benchmark]
    public void Exp() => x.Exp().Dispose();
}

/// <summary>Whole training steps.</summary>
public class TrainingSuite
{
    private readonly Mlp model = new(784, [512, 256], 10);
    private readonly Tensor x = Tensor.Normal([128, 784]), target = Tensor.RandomIntegers([128], 0, 10);
    private Sgd optimizer = null!;

    /// <summary>Makes the optimiser.</summary>
    [GlobalSetup]
    public void Setup() => optimizer = new Sgd(model.Parameters(), 0.01, momentum: 0.9);

    /// <summary>One step of a multi-layer perceptron.</summary>
    [Benchmark]
    public void Mlp()
    {
        using var scope = new TensorScope();
        optimizer.ZeroGrad();
        model.Forward(x).CrossEntropy(target).Backward();
        optimizer.Step();
    }
}
