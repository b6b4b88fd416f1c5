namespace TransferEngine.Conformance;

internal sealed class ComparisonRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. OperatorRow.Unary("Greater", x => x.Greater(0.5), v => v > 0.5 ? 1 : 0, row => row with { Differentiable = false }),
    ];
}
