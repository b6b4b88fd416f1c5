namespace TransferEngine.Conformance;

internal sealed class ActivationRows : RowFamily
{
    public override IEnumerable<OperatorRow> Rows =>
    [
        .. OperatorRow.Unary("Relu", x => x.Relu(), v => Math.Max(v, 0), row => row with { Domain = AwayFromZero }),
    ];

    private static double AwayFromZero(double value, int input) => Math.Abs(value) < 0.01 ? value + Math.CopySign(0.01, value) : value;
}
