namespace TransferEngine.Conformance;

/// <summary>Random operators at settings at which nothing is left to chance; what they draw otherwise is tested beside their kernels.</summary>
internal sealed class RandomRows : RowFamily
{
    private static readonly Generator Stream = new(1);

    public override IEnumerable<OperatorRow> Rows =>
    [
        new("Dropout", "not in training", [[4, 5]], x => x[0].Dropout(0.5, training: false) * 1, r => r[0]),
        new("Dropout", "of all", [[70]], x => x[0].Dropout(1), r => r[0].Map(_ => 0)),
        new("Dropout", "of a view", [[5, 7]], x => x[0].Dropout(1), r => r[0].Map(_ => 0)) { Transposed = true },
        Constant("Uniform", 2, x => Tensor.Uniform(x.Shape, 2, 2, Stream, x.Device, x.ElementType)),
        Constant("Normal", 3, x => Tensor.Normal(x.Shape, 3, 0, Stream, x.Device, x.ElementType)),
        Constant("Bernoulli", 1, x => Tensor.Bernoulli(x.Shape, 1, Stream, x.Device, x.ElementType)),
        Constant("RandomIntegers", -7, x => Tensor.RandomIntegers(x.Shape, -7, -6, Stream, x.Device)),
        new("RandomPermutation", "", [[1]], x => Tensor.RandomPermutation(1, device: x[0].Device), r => new NdArray(1)) { Differentiable = false },
    ];

    private static OperatorRow Constant(string name, double value, Func<Tensor, Tensor> draw) =>
        new(name, "", [[3, 70]], x => draw(x[0]), r => r[0].Map(_ => value)) { Differentiable = false };
}
