namespace TransferEngine.Tests;

/// <summary>What the operator table does not show of attention: its memory, its bits on several threads, closed rows, wrong masks.</summary>
public sealed class AttentionTests
{
    [SkippableTheory, InlineData("direct", 2048), InlineData("opencl", 512)]
    public void Memory_Grows_With_The_Tokens_And_Not_With_Their_Square(string machine, int tokens)
    {
        var device = EngineDevices.Get(machine);
        var mask = Tensor.Zeros([tokens], device);
        Tensor[] inputs = [.. Enumerable.Range(0, 3).Select(seed => Tensor.Normal([tokens, 8], generator: new((ulong)seed), device: device))];
        long composed = Peak((q, k, v) => (q.MatMul(k.Transpose()) * 0.3 + mask).Softmax().MatMul(v)), fused = Peak((q, k, v) => q.ScaledDotProductAttention(k, v, mask, 0.3));
        Assert.True(composed > 4L * tokens * tokens, $"the composed form took {composed:N0} bytes");
        Assert.True(fused < 4L * tokens * tokens / (machine == "direct" ? 5 : 4), $"attention took {fused:N0} bytes of {4L * tokens * tokens:N0}");

        long Peak(Func<Tensor, Tensor, Tensor, Tensor> attention)
        {
            using var scope = new TensorScope();
            Tensor[] leaves = [.. inputs.Select(x => x.Clone())];
            foreach (var leaf in leaves)
                leaf.RequiresGrad = true;
            device.ResetPeakBytes();
            long before = device.LiveBytes;
            attention(leaves[0], leaves[1], leaves[2]).Sum().Backward();
            return device.PeakBytes - before;
        }
    }

    [Fact]
    public void The_Number_Of_Threads_Changes_No_Bit()
    {
        using var device = Device.Open(DeviceKind.Cpu);
        float[][] results = [.. new[] { 1, 2, 5 }.Select(threads =>
        {
            device.MaxDegreeOfParallelism = threads;
            Tensor[] leaves = [.. new[] { 700, 900, 900 }.Select((rows, seed) => Tensor.Normal([2, rows, 24], generator: new((ulong)seed), device: device))];
            foreach (var leaf in leaves)
                leaf.RequiresGrad = true;
            var y = leaves[0].ScaledDotProductAttention(leaves[1], leaves[2]);
            y.Backward(leaves[0].Detach());
            return leaves.SelectMany(leaf => leaf.Grad!.ToArray<float>()).Concat(y.ToArray<float>()).ToArray();
        })];
        Assert.Equal(results[0], results[1]);
        Assert.Equal(results[0], results[2]);
    }

    [SkippableTheory, MemberData(nameof(Machines))]
    public void A_Query_That_May_Look_Nowhere_Gives_NaN_And_Leaves_The_Others_Alone(string machine)
    {
        var device = EngineDevices.Get(machine);
        var mask = Tensor.From([0, float.NegativeInfinity, 0, float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity], [2, 3], device);
        Tensor[] leaves = [.. new[] { 2, 3, 3 }.Select((rows, seed) => Tensor.Normal([rows, 4], generator: new((ulong)seed), device: device))];
        foreach (var leaf in leaves)
            leaf.RequiresGrad = true;
        var y = leaves[0].ScaledDotProductAttention(leaves[1], leaves[2], mask);
        Assert.All(y.ToArray<float>(), (value, i) => Assert.Equal(i >= 4, float.IsNaN(value)));
        y.Select(0, 0).Sum().Backward();
        Assert.All(leaves[0].Grad!.ToArray<float>(), (value, i) => Assert.Equal(i >= 4, float.IsNaN(value)));
    }

    [Fact]
    public void A_Mask_Of_Another_Shape_Is_Refused()
    {
        Tensor query = Tensor.Zeros([2, 4, 3]), key = Tensor.Zeros([2, 5, 3]);
        string message = Assert.Throws<ShapeException>(() => query.ScaledDotProductAttention(key, key, Tensor.Zeros([5, 4]))).Message;
        Assert.Contains("[5, 4]", message);
        Assert.Contains("[2, 4, 5]", message);
        Assert.Throws<ShapeException>(() => query.ScaledDotProductAttention(key, key, Tensor.Zeros([3, 1, 4, 5])));
        Assert.Throws<ShapeException>(() => query.ScaledDotProductAttention(Tensor.Zeros([3, 5, 3]), Tensor.Zeros([3, 5, 3])));
    }

    public static TheoryData<string> Machines => TestDevices.All;
}
