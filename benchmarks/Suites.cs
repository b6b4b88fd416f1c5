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
