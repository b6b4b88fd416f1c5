namespace TransferEngine.Conformance;

internal sealed class ComparisonRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. Compare("Equal", (a, b) => a.Equal(b), x => x.Equal(1), (a, b) => a == b),
        .. Compare("NotEqual", (a, b) => a.NotEqual(b), x => x.NotEqual(1), (a, b) => a != b),
        .. Compare("Less", (a, b) => a.Less(b), x => x.Less(1), (a, b) => a < b),
        .. Compare("LessOrEqual", (a, b) => a.LessOrEqual(b), x => x.LessOrEqual(1), (a, b) => a <= b),
        .. Compare("Greater", (a, b) => a.Greater(b), x => x.Greater(1), (a, b) => a > b),
        .. Compare("GreaterOrEqual", (a, b) => a.GreaterOrEqual(b), x => x.GreaterOrEqual(1), (a, b) => a >= b),
        .. OperatorRow.Unary("IsNaN", x => x.IsNaN(), v => double.IsNaN(v) ? 1 : 0, row => row with { Differentiable = false, Domain = (value, _) => value > 1 ? double.NaN : value }),
        .. OperatorRow.Unary("LogicalNot", x => x.LogicalNot(), v => v == 0 ? 1 : 0, Whole),
        .. OperatorRow.Binary("LogicalAnd", (a, b) => a.LogicalAnd(b), (a, b) => a != 0 && b != 0 ? 1 : 0, Whole),
        .. OperatorRow.Binary("LogicalOr", (a, b) => a.LogicalOr(b), (a, b) => a != 0 || b != 0 ? 1 : 0, Whole),
        .. OperatorRow.Binary("Maximum", Tensor.Maximum, Math.Max),
        .. OperatorRow.Binary("Minimum", Tensor.Minimum, Math.Min),
        Where([3, 5], [3, 5], [3, 5]), Where([3, 1], [5], [2, 1, 5]), Where([], [7], [7]), Where([0, 2], [1, 2], [2]), Where([150, 223], [150, 223], [223]),
    ];

    // Values are whole numbers, so that equal ones occur.
    private static IEnumerable<OperatorRow> Compare(string name, Func<Tensor, Tensor, Tensor> two, Func<Tensor, Tensor> one, Func<double, double, bool> reference) =>
    [
        .. OperatorRow.Binary(name, two, (a, b) => reference(a, b) ? 1 : 0, Whole),
        .. OperatorRow.Unary(name, one, v => reference(v, 1) ? 1 : 0, Whole),
    ];

    private static OperatorRow Whole(OperatorRow row) => row with { Differentiable = false, Domain = (value, _) => Math.Round(value) };

    private static OperatorRow Where(int[] mask, int[] then, int[] otherwise) => new(
        "Where", "", [then, otherwise, mask], x => Tensor.Where(x[2].Detach(), x[0], x[1]), r => r[2].Zip(r[0].Zip(r[1], (a, _) => a), (m, a) => m != 0 ? a : 0).Zip(r[2].Zip(r[1], (m, b) => m != 0 ? 0 : b), (a, b) => a + b))
    {
        Domain = (value, input) => input == 2 ? value > 0 ? 1 : 0 : value,
        Still = [2],
    };
}
