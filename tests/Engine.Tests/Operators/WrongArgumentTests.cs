using FsCheck.Xunit;

namespace TransferEngine.Tests.Operators;

/// <summary>
/// Operators with tensors of random shapes, types and devices: each call succeeds, backward too, or throws an exception that is documented.
/// What argument checks let through would be an index out of range in a kernel, or worse, a write outside the memory.
/// </summary>
public sealed class WrongArgumentTests : IDisposable
{
    private readonly Device elsewhere = Device.Open("cpu");

    public void Dispose() => elsewhere.Dispose();

    /// <summary>What a call may draw: tensors, mostly of one device, type and few sizes, so that some calls succeed.</summary>
    private sealed class Draw(int seed, Device elsewhere)
    {
        private readonly Random random = new(seed);

        public Tensor Tensor(int rank = -1, bool integer = false)
        {
            if (rank < 0 || random.Next(8) == 0)
                rank = random.Next(6);
            int[] sizes = [.. Enumerable.Range(0, rank).Select(_ => Size)];
            Shape shape = sizes;
            int kind = random.Next(10);
            var device = random.Next(12) == 0 ? elsewhere : Device.Cpu;
            var tensor = integer ^ (kind == 0)
                ? TransferEngine.Tensor.From([.. Enumerable.Range(0, shape.Elements).Select(_ => random.Next(10) == 0 ? random.Next(-9, 9) : random.Next(2))], shape, device)
                : kind == 1
                    ? TransferEngine.Tensor.From([.. Enumerable.Range(0, shape.Elements).Select(_ => random.NextDouble() * 4 - 2)], shape, device)
                    : TransferEngine.Tensor.From([.. Enumerable.Range(0, shape.Elements).Select(_ => random.NextSingle() * 4 - 2)], shape, device);
            if (tensor.ElementType != ElementType.Int32)
                tensor.RequiresGrad = random.Next(2) == 0;
            return rank >= 2 && random.Next(4) == 0 ? tensor.Transpose() : tensor;
        }

        public int Size => random.Next(10) switch { 0 => 0, 1 => 1, < 5 => 2, < 8 => 3, _ => 4 };

        public int Number => random.Next(14) switch { 0 => int.MinValue, 1 => int.MaxValue, 2 => -7, 3 => 7, 4 => -1, 5 => -2, 6 or 7 => 0, < 11 => 1, 11 => 3, _ => 2 };

        public int Axis => random.Next(6) == 0 ? Number : random.Next(-2, 2);

        public int[] Numbers(int count) => [.. Enumerable.Range(0, random.Next(6) == 0 ? random.Next(6) : count).Select(_ => Number)];

        public int[] Axes => [.. Enumerable.Range(0, random.Next(3)).Select(_ => Axis)];

        public double Real => random.Next(8) switch { 0 => double.NaN, 1 => double.PositiveInfinity, 2 => -1, 3 => 0, _ => random.NextDouble() };

        public bool Flag => random.Next(2) == 0;

        public Size2d Window => random.Next(5) == 0 ? new(Number, Number) : new(random.Next(1, 3), random.Next(1, 3));

        public LossReduction Reduction => (LossReduction)random.Next(3);

        public Tensor? Maybe(int rank) => Flag ? Tensor(rank) : null;
    }

    private static readonly (string Name, Func<Draw, Tensor> Call)[] Calls =
    [
        ("Add", d => d.Tensor() + d.Tensor()), ("Divide", d => d.Tensor(2) / d.Tensor(1)), ("Pow", d => d.Tensor(1).Pow(d.Tensor(1))), ("Maximum", d => Tensor.Maximum(d.Tensor(), d.Tensor())),
        ("Where", d => Tensor.Where(d.Tensor(2), d.Tensor(2), d.Tensor(1))), ("Less", d => d.Tensor().Less(d.Tensor())), ("Gelu", d => d.Tensor().Gelu(d.Flag)), ("Clamp", d => d.Tensor().Clamp(d.Real, d.Real)),
        ("MatMul", d => d.Tensor(2).MatMul(d.Tensor(2))), ("MatMul of batches", d => d.Tensor(3).MatMul(d.Tensor(3))), ("Dot", d => d.Tensor(1).Dot(d.Tensor(1))), ("Outer", d => d.Tensor(1).Outer(d.Tensor(1))),
        ("Linear", d => d.Tensor(2).Linear(d.Tensor(2), d.Maybe(1))),
        ("Conv2d", d => d.Tensor(4).Conv2d(d.Tensor(4), d.Maybe(1), d.Window, d.Window, d.Window, d.Number)), ("Conv2d by defaults", d => d.Tensor(4).Conv2d(d.Tensor(4))),
        ("ConvTranspose2d", d => d.Tensor(4).ConvTranspose2d(d.Tensor(4), d.Maybe(1), d.Window, d.Window)),
        ("Conv1d", d => d.Tensor(3).Conv1d(d.Tensor(3), d.Maybe(1), d.Number, d.Number, d.Number, d.Number)), ("Conv1d by defaults", d => d.Tensor(3).Conv1d(d.Tensor(3))),
        ("MaxPool1d", d => d.Tensor(3).MaxPool1d(d.Number, d.Number, d.Number, d.Number, d.Flag)), ("AvgPool1d", d => d.Tensor(3).AvgPool1d(d.Number, d.Flag ? d.Number : null, d.Number)),
        ("AdaptiveAvgPool1d", d => d.Tensor(3).AdaptiveAvgPool1d(d.Number % 5)), ("AdaptiveMaxPool1d", d => d.Tensor(3).AdaptiveMaxPool1d(d.Number % 5)),
        ("MaxPool2d", d => d.Tensor(4).MaxPool2d(d.Window, d.Flag ? d.Window : null, d.Flag ? d.Window : null, d.Flag ? d.Window : null, d.Flag)),
        ("AvgPool2d", d => d.Tensor(4).AvgPool2d(d.Window, d.Flag ? d.Window : null, d.Flag ? d.Window : null)), ("AdaptiveAvgPool2d", d => d.Tensor(4).AdaptiveAvgPool2d(d.Window)),
        ("AdaptiveMaxPool2d", d => d.Tensor(4).AdaptiveMaxPool2d(d.Window)),
        ("Sum", d => d.Tensor().Sum(d.Axes, d.Flag)), ("Mean", d => d.Tensor().Mean(d.Axes, d.Flag)), ("Prod", d => d.Tensor(2).Prod(d.Axes, d.Flag)), ("Max", d => d.Tensor(2).Max(d.Axes, d.Flag)),
        ("ArgMax", d => d.Tensor(2).ArgMax(d.Flag ? null : d.Axis, d.Flag)), ("Norm", d => d.Tensor(2).Norm(d.Real, d.Axes)), ("Var", d => d.Tensor(2).Var(d.Axes, d.Number)), ("LogSumExp", d => d.Tensor(2).LogSumExp(d.Axes)),
        ("Softmax", d => d.Tensor().Softmax(d.Axis)), ("LogSoftmax", d => d.Tensor().LogSoftmax(d.Axis)),
        ("CrossEntropy", d => d.Tensor(2).CrossEntropy(d.Tensor(1, integer: true), d.Maybe(1), d.Number, d.Real, d.Reduction)), ("CrossEntropy of shares", d => d.Tensor(2).CrossEntropy(d.Tensor(2), d.Maybe(1), d.Number, d.Real, d.Reduction)),
        ("NllLoss", d => d.Tensor(2).NllLoss(d.Tensor(1, integer: true), d.Maybe(1), d.Number, d.Reduction)), ("MseLoss", d => d.Tensor(2).MseLoss(d.Tensor(2), d.Reduction)),
        ("SmoothL1Loss", d => d.Tensor(2).SmoothL1Loss(d.Tensor(2), d.Real, d.Reduction)), ("BinaryCrossEntropyWithLogits", d => d.Tensor(2).BinaryCrossEntropyWithLogits(d.Tensor(2), d.Maybe(1), d.Reduction)),
        ("KlDiv", d => d.Tensor(2).KlDiv(d.Tensor(2), d.Reduction)),
        ("BatchNorm", d => d.Tensor(4).BatchNorm(d.Maybe(1)?.Detach(), d.Maybe(1)?.Detach(), d.Maybe(1), d.Maybe(1), d.Flag)), ("LayerNorm", d => d.Tensor(2).LayerNorm([d.Size], d.Maybe(1), d.Maybe(1))),
        ("GroupNorm", d => d.Tensor(4).GroupNorm(d.Number, d.Maybe(1), d.Maybe(1))), ("Dropout", d => d.Tensor().Dropout(d.Real, d.Flag)),
        ("PairwiseSquaredDistances", d => d.Tensor(2).PairwiseSquaredDistances(d.Tensor(2))), ("GaussianKernel", d => d.Tensor(2).GaussianKernel(d.Tensor(1))),
        ("Gather", d => d.Tensor(2).Gather(d.Axis, d.Tensor(2, integer: true))), ("ScatterAdd", d => d.Tensor(2).ScatterAdd(d.Axis, d.Tensor(2, integer: true), d.Tensor(2))),
        ("IndexSelect", d => d.Tensor(2).IndexSelect(d.Axis, d.Tensor(1, integer: true))), ("IndexAdd", d => d.Tensor(2).IndexAdd(d.Axis, d.Tensor(1, integer: true), d.Tensor(2))),
        ("Embedding", d => d.Tensor(2).Embedding(d.Tensor(integer: true))), ("OneHot", d => d.Tensor(integer: true).OneHot(d.Number % 100)),
        ("Reshape", d => d.Tensor().Reshape(d.Numbers(2))), ("Permute", d => d.Tensor(2).Permute(d.Numbers(2))), ("Transpose", d => d.Tensor(2).Transpose(d.Axis, d.Axis)), ("Expand", d => d.Tensor(2).Expand([d.Size, d.Size, d.Size])),
        ("SumTo", d => d.Tensor(2).SumTo([d.Size])), ("Concat", d => Tensor.Concat([d.Tensor(2), d.Tensor(2)], d.Axis)), ("Stack", d => Tensor.Stack([d.Tensor(2), d.Tensor(2)], d.Axis)),
        ("Narrow", d => d.Tensor(2).Narrow(d.Axis, d.Number, d.Number, d.Number)), ("Select", d => d.Tensor(2).Select(d.Axis, d.Number)), ("Split", d => d.Tensor(2).Split(d.Numbers(2), d.Axis).FirstOrDefault() ?? Tensor.Scalar(0f)),
        ("Split by size", d => d.Tensor(2).Split(d.Number, d.Axis).FirstOrDefault() ?? Tensor.Scalar(0f)), ("Chunk", d => d.Tensor(2).Chunk(d.Number, d.Axis).FirstOrDefault() ?? Tensor.Scalar(0f)),
        ("Pad", d => d.Tensor(2).Pad(d.Numbers(4).Select((n, i) => n == int.MaxValue && i % 2 == 0 ? int.MinValue : n).ToArray())), ("Flip", d => d.Tensor(2).Flip(d.Numbers(1))), ("Repeat", d => d.Tensor(2).Repeat([.. d.Numbers(2).Select(n => n == int.MaxValue ? -1 : n)])),
        ("Flatten", d => d.Tensor(3).Flatten(d.Axis, d.Axis)), ("Squeeze", d => d.Tensor(2).Squeeze(d.Axis)), ("Unsqueeze", d => d.Tensor(2).Unsqueeze(d.Axis)),
        ("AddInPlace", d => d.Tensor(2).Detach().AddInPlace(d.Tensor(2).Detach())), ("CopyInPlace", d => d.Tensor(2).Detach().CopyInPlace(d.Tensor(2).Detach())),
        ("From", d => Tensor.From([1f, 2], d.Numbers(1))), ("Arange", d => Tensor.Arange(d.Real, d.Real, d.Real)), ("Item", d => Tensor.Scalar(d.Tensor().Item())), ("CopyOut", d => Tensor.From(d.Tensor().ToArray<float>())),
    ];

    [Fact]
    public void Numbers_At_The_Ends_Of_Their_Range_Are_Refused()
    {
        using var x = Tensor.Zeros([2, 3]);
        Assert.Throws<ShapeException>(() => x.Pad([int.MaxValue, int.MaxValue]));
        Assert.Throws<ShapeException>(() => x.Pad([int.MinValue, int.MinValue]));
        Assert.Throws<ShapeException>(() => x.Split([int.MaxValue, int.MaxValue, 4]));
        Assert.Throws<ShapeException>(() => x.Reshape(65536, 65536, -1));
        Assert.Throws<ShapeException>(() => x.Repeat(int.MaxValue, int.MaxValue));
        Assert.Throws<ShapeException>(() => x.Narrow(0, 1, int.MaxValue, int.MaxValue));
        Assert.Throws<ShapeException>(() => Tensor.Eye(65536));
        Assert.Throws<ShapeException>(() => Tensor.Eye(-1));
        Assert.Throws<ShapeException>(() => Tensor.Arange(0, 1e12));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.Arange(0, double.PositiveInfinity));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.Arange(double.NaN, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tensor.Arange(0, 1, 0));
        Assert.Equal([1, 1, 2, 0], Tensor.Zeros([1, 1, 3, 3]).AdaptiveAvgPool2d(new(2, 0)).Shape);
        Assert.Equal([1, 1, 0, 2], Tensor.Zeros([1, 1, 3, 3]).AdaptiveMaxPool2d(new(0, 2)).Shape);
        Assert.Equal([2, 0], Tensor.Zeros([2, 3, 0]).Sum([1]).Shape);
    }

    [Property(MaxTest = 150)]
    public void Each_Call_Succeeds_Or_Says_Why_Not(int seed)
    {
        for (int i = 0; i < Calls.Length; i++)
        {
            using var scope = new TensorScope();
            try
            {
                var result = Calls[i].Call(new Draw(unchecked(seed * 397 + i), elsewhere));
                _ = result.ToString();
                if (result.RequiresGrad)
                    result.Backward(Tensor.Ones(result.Shape, result.Device, result.ElementType));
            }
            catch (ArgumentException)
            {
                // ShapeException, DeviceMismatchException, ElementTypeException and what .NET throws for numbers out of range.
            }
            catch (Exception e)
            {
                Assert.Fail($"{Calls[i].Name}, seed {seed}: {e}");
            }
        }
    }
}
